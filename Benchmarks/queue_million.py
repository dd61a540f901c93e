"""Measures a queue of very many messages: start, scan, list, summary, flush, a restart in the middle, memory, idle time."""

import argparse
import contextlib
import multiprocessing
import os
import pwd
import random
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "lib"))

import configuration  # noqa: E402
import layout  # noqa: E402
from instance import Instance  # noqa: E402
from postfix_deferred import PostfixQueue  # noqa: E402

BOB = "bob@example.test"
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PATIENCE = 3600


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench million")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--destinations", type=int, default=10_000)
    parser.add_argument("--senders", type=int, default=20_000)
    parser.add_argument("--postfix", type=int, default=0, help="messages in the queue of a Postfix that does the same afterwards")
    parser.add_argument("--idle", type=float, default=20, help="seconds")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    return parser.parse_args()


def table() -> list[int]:
    """Of CRC-32C, by octets."""
    values = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        values.append(value)
    return values


TABLE = table()


def checksum(octets: bytes, value: int = 0) -> int:
    value ^= 0xFFFFFFFF
    for octet in octets:
        value = TABLE[(value ^ octet) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF


def identifier(time_: int, number: int) -> str:
    value = time_ << 64 | number
    return "".join(ALPHABET[value >> 5 * place & 31] for place in reversed(range(24)))


class Frames:
    """A connection to one of queue-manager's sockets."""

    def __init__(self, path: Path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, verb: str, *fields: tuple[str, str], body: bytes | None = None) -> None:
        lines = [verb, *(f"{name}: {value}" for name, value in fields)]
        if body is not None:
            lines.append(f"size: {len(body)}")
        self.socket.sendall("\n".join([*lines, "", ""]).encode() + (body or b""))

    def read(self) -> tuple[str, dict[str, str]]:
        verb, fields = self.file.readline().decode().strip(), {}
        if not verb:
            raise ConnectionError("no frame")
        while line := self.file.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        if "size" in fields:
            self.file.read(int(fields["size"]))
        return verb, fields

    def ask(self, verb: str, *fields: tuple[str, str]) -> tuple[int, dict[str, str]]:
        """How many frames came before the last one, and that one."""
        self.send(verb, *fields)
        count = 0
        while True:
            verb, answer = self.read()
            if verb in ("OK", "DEFER", "REJECT"):
                return count, answer
            count += 1


class Waits:
    """Asks for a message that isn't there, again and again, from a process of its own: the longest wait tells how long others held the loop.

    On a machine with other work beside, the loop's thread and this process wait for a processor, too; the kernel counts that, and it's told apart.
    """

    def __init__(self, path: Path, pid: int):
        self.path = path
        self.pid = pid
        self.waits: list[tuple[float, float]] = []

    def __enter__(self):
        context = multiprocessing.get_context("fork")
        self.results, ours = context.Pipe(duplex=False)
        self.stopping = context.Event()
        self.process = context.Process(target=self.run, args=(ours,), daemon=True)
        self.process.start()
        ours.close()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        if self.process.is_alive():
            self.stopping.set()
            self.waits = self.results.recv()
            self.process.join(60)

    def run(self, results) -> None:
        waits = []
        tasks = [task for task in Path(f"/proc/{self.pid}/task").iterdir() if (task / "comm").read_text().startswith("NIO-ELT")]
        files = [open(task / "schedstat") for task in tasks] + [open("/proc/thread-self/schedstat")]

        def delay() -> float:
            """Seconds that they were ready to run, and did not."""
            total = 0
            for file in files:
                file.seek(0)
                total += int(file.read().split()[1])
            return total / 1e9

        with contextlib.suppress(OSError), Frames(self.path) as frames:
            while not self.stopping.is_set():
                delayed, begin = delay(), time.perf_counter()
                frames.ask("SHOW", ("id", "0" * 24))
                wait = time.perf_counter() - begin
                waits.append((wait, wait - (delay() - delayed)))
                time.sleep(0.002)
        results.send(waits)

    def __str__(self) -> str:
        self.stop()
        if not self.waits:
            return "no waits"
        return f"others wait {self.described([wait for wait, _ in self.waits])}; for the loop alone {self.described([wait for _, wait in self.waits])}"

    @staticmethod
    def described(waits: list[float]) -> str:
        waits.sort()
        late = sum(wait > 0.005 for wait in waits)
        return (
            f"{1000 * statistics.median(waits):.1f} ms, 99 % {1000 * waits[len(waits) * 99 // 100]:.1f} ms, "
            f"at most {1000 * waits[-1]:.1f} ms, {late} of {len(waits)} longer than 5 ms"
        )


class Queue:
    """An instance whose spool is filled by hand."""

    def __init__(self, directory: Path, options: argparse.Namespace):
        self.options = options
        self.instance = Instance(directory)
        self.instance.make(configuration.configuration(configuration.free_ports()))
        self.instance.add_user(BOB)
        self.spool = self.instance.directory / "spool"
        self.control = self.instance.directory / "run" / "control.sock"

    def fill(self) -> None:
        """Messages that were tried once and wait for an hour at least."""
        user = pwd.getpwnam("mlt-queue") if layout.is_root() else None
        if user:
            os.setegid(user.pw_gid)
            os.seteuid(user.pw_uid)
        generator = random.Random(1)
        now = int(time.time())
        body = b"Subject: one of many\r\n\r\nHello.\r\n"
        of_body = checksum(body)
        for area in ("queue", "state"):
            for shard in range(1024):
                (self.spool / area / (ALPHABET[shard >> 5] + ALPHABET[shard & 31])).mkdir(mode=0o700, exist_ok=True)
        for number in range(self.options.messages):
            name = identifier((now - 7200) * 1_000_000 + number, generator.getrandbits(64))
            destination = number % self.options.destinations
            head = (
                f"id: {name}\narrived: {now - 7200}\nsender: <s{generator.randrange(self.options.senders)}@example.test>\n"
                f"recipient: <r{number}@d{destination}.example.net>\nclient: 192.0.2.7\nhelo: laptop.example.test\nprotocol: ESMTP\n"
                f"quarantined:  no\nadded: 0000000\noctets: {len(body):012}\n"
            ).encode()
            line = f"{now - 7100} 1 deferred 4.4.1 1 {now + 3600 + generator.randrange(7200)} no answer from mx{destination}.example.net"
            for area, octets in (
                ("queue", head + b"checksum: %08x\n\n" % checksum(head, of_body) + body),
                ("state", f"{checksum(line.encode()):08x} {line}\n".encode()),
            ):
                descriptor = os.open(self.spool / area / name[-2:] / name, os.O_WRONLY | os.O_CREAT, 0o600)
                os.write(descriptor, octets)
                os.close(descriptor)
        if user:
            os.seteuid(0)
            os.setegid(0)
        # What is measured is a start, and not how long the disk takes to write all of this.
        os.sync()

    def pid(self) -> int:
        end = time.monotonic() + 60
        while (pid := self.instance.supervisor.pid("queue-manager")) is None:
            if time.monotonic() > end:
                raise TimeoutError("queue-manager is not up")
            time.sleep(0.002)
        return pid

    def count(self) -> int:
        with Frames(self.control) as frames:
            return int(frames.ask("SUMMARY", ("limit", "0"), ("id", "0" * 24))[1]["messages"])

    def accept(self, begin: float) -> float:
        """From that moment to the OK for a message."""
        while True:
            try:
                with Frames(self.instance.directory / "run" / "queue.sock") as frames:
                    frames.read()
                    frames.send("SUBMIT", ("sender", "<alice@example.test>"), ("recipient", f"<{BOB}>"), body=b"Subject: x\r\n\r\nx\r\n")
                    frames.send("END")
                    if frames.read()[0] == "OK":
                        return time.monotonic() - begin
            except OSError:
                pass
            if time.monotonic() > begin + 60:
                raise TimeoutError("nothing is accepted")
            time.sleep(0.002)

    def scanned(self, count: int) -> None:
        while self.count() < count:
            time.sleep(0.1)

    def memory(self) -> str:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid()}/status").read_text().splitlines())
        return f"{int(lines['VmRSS'].split()[0]) / 1024:.0f} MiB"

    def processor(self) -> float:
        fields = Path(f"/proc/{self.pid()}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(what: str, waits: Waits, work) -> None:
    begin = time.monotonic()
    answer = work()
    print(f"{what}: {time.monotonic() - begin:.2f} s{f' ({answer})' if answer else ''}; {waits}", flush=True)


def measure(queue: Queue, options: argparse.Namespace) -> None:
    supervisor = queue.instance.supervisor
    queue.instance.start()
    supervisor.down("queue-manager")
    while supervisor.pid("queue-manager") is not None:
        time.sleep(0.05)
    begin = time.monotonic()
    queue.fill()
    print(f"{options.messages} messages for {options.destinations} destinations, made in {time.monotonic() - begin:.0f} s", flush=True)
    begin = time.monotonic()
    supervisor.up("queue-manager")
    print(f"accepting: {queue.accept(begin):.2f} s after the start", flush=True)
    time.sleep(1)
    print(f"killed with {queue.count()} known", flush=True)
    supervisor.kill("queue-manager", signal.SIGKILL)
    begin = time.monotonic()
    print(f"accepting again: {queue.accept(begin):.2f} s after the kill", flush=True)
    with Waits(queue.control, queue.pid()) as waits:
        queue.scanned(options.messages)
        print(f"scan: {time.monotonic() - begin:.1f} s; {waits}; memory {queue.memory()}", flush=True)

    def ask(verb: str, *fields: tuple[str, str]):
        with Frames(queue.control) as frames:
            count, last = frames.ask(verb, *fields)
            return f"{count} frames, count {last.get('count')}"

    for what, verb, fields in (
        ("summary", "SUMMARY", []),
        ("first page of the list", "LIST", [("limit", "1000")]),
        ("list by sender", "LIST", [("sender", "s1@example.test")]),
        ("flush of one destination", "FLUSH", [("destination", "d1.example.net")]),
        ("hold of one destination", "HOLD", [("destination", "d2.example.net")]),
        ("list of all", "LIST", []),
    ):
        with Waits(queue.control, queue.pid()) as waits:
            timed(what, waits, lambda verb=verb, fields=fields: ask(verb, *fields))
    with Waits(queue.control, queue.pid()) as waits:
        timed("martlet queue list", waits, lambda: f"{queue.instance.martlet('queue', 'list').stdout.count(chr(10))} lines")
    time.sleep(2)
    before = queue.processor()
    time.sleep(options.idle)
    print(f"idle: {100 * (queue.processor() - before) / options.idle:.2f} % of a processor, memory {queue.memory()}")


def main() -> None:
    options = arguments()
    directory = Path(tempfile.mkdtemp(prefix="mlt-million-", dir=options.directory))
    directory.chmod(0o755)
    queue = Queue(directory / "instance", options)
    try:
        measure(queue, options)
        queue.instance.stop()
        if options.postfix:
            PostfixQueue(directory / "postfix", options).measure(options.postfix)
    finally:
        queue.instance.stop()
        shutil.rmtree(directory, ignore_errors=True)


main()
