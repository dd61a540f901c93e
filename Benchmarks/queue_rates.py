"""Measures accepting, delivering and relaying, Martlet beside Postfix."""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "lib"))

import configuration  # noqa: E402
from instance import Instance  # noqa: E402
from postfix import Postfix, count  # noqa: E402

BOB = "bob@example.test"
PATIENCE = 300
RATES = ("accept", "end to end", "relay")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench queue")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--keep-sessions", action="store_true", help="all messages over the same connections")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    return parser.parse_args()


class Martlet:
    """An instance with one mailbox and a route to the sink."""

    name = "Martlet"

    def __init__(self, directory: Path, sink: int):
        self.instance = Instance(directory)
        changes = {
            "smtpd": {"relay-from": ["127.0.0.0/8"]},
            "remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink}"}},
        }
        values = configuration.configuration(configuration.free_ports())
        self.instance.make(configuration.merge(values, changes))
        self.instance.add_user(BOB)
        self.port = self.instance.ports["smtp"]

    def start(self) -> None:
        self.instance.start()

    def stop(self) -> None:
        self.instance.stop()

    def delivered(self) -> int:
        name, _, domain = BOB.partition("@")
        mail = self.instance.directory / "mail"
        return sum(count(path / "new") for path in (mail / domain / name, mail / BOB))

    def queued(self) -> int:
        return sum(1 for _ in (self.instance.directory / "spool" / "queue").glob("*/*"))


class Sink:
    """Postfix's smtp-sink, which says how many messages it has taken."""

    def __init__(self, port: int, address: str = "127.0.0.1"):
        command = ["smtp-sink", "-u", "nobody", "-m", "5000", "-c", f"{address}:{port}", "1000"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.messages = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        rest = b""
        while octets := self.process.stdout.read1(65536):
            rest = (rest + octets)[-200:]
            if found := re.findall(rb"mesg=(\d+)\r", rest):
                self.messages = int(found[-1])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Bench:
    def __init__(self, options: argparse.Namespace):
        self.options = options

    def send(self, system, recipient: str, messages: int) -> None:
        options = self.options
        command = ["smtp-source", "-s", str(options.sessions), "-m", str(messages), "-l", str(options.octets)]
        command += ["-d"] if options.keep_sessions else []
        command += ["-f", "someone@example.test", "-t", recipient, f"inet:127.0.0.1:{system.port}"]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)

    def measure(self, system, recipient: str, arrived, messages: int) -> tuple[float, float]:
        """Messages a second: until the last was accepted, until the last has arrived."""
        wait_for(lambda: system.queued() == 0)
        os.sync()
        before = arrived()
        start = time.monotonic()
        self.send(system, recipient, messages)
        accepted = time.monotonic() - start
        wait_for(lambda: arrived() - before >= messages)
        done = time.monotonic() - start
        return messages / accepted, messages / done


def wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE} s")
        time.sleep(0.01)


def disk(directory: Path) -> tuple[float, float]:
    """What the disk allows: files of 4 KiB a second with an fsync each, appends of 4 KiB a second with fdatasync."""
    octets, number = b"x" * 4096, 500
    probe = directory / "probe"
    probe.mkdir()
    start = time.monotonic()
    for index in range(number):
        descriptor = os.open(probe / str(index), os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, octets)
        os.fsync(descriptor)
        os.close(descriptor)
    files = number / (time.monotonic() - start)
    descriptor = os.open(probe / "log", os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, number * len(octets))
    os.fsync(descriptor)
    start = time.monotonic()
    for _ in range(number):
        os.write(descriptor, octets)
        os.fdatasync(descriptor)
    appends = number / (time.monotonic() - start)
    os.close(descriptor)
    shutil.rmtree(probe)
    return files, appends


def report(rates: dict[str, dict[str, list[float]]]) -> None:
    print(f"\n{'median':12} {'Martlet':>10} {'Postfix':>10} {'ratio':>8}")
    for rate in RATES:
        ours, theirs = (statistics.median(rates[name][rate]) for name in ("Martlet", "Postfix"))
        print(f"{rate:12} {ours:10.0f} {theirs:10.0f} {ours / theirs:8.2f}")


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for both systems use several users")
    base = Path(tempfile.mkdtemp(prefix="mlt-bench-", dir=options.directory))
    base.chmod(0o755)
    bench = Bench(options)
    files, appends = disk(base)
    print(f"disk: {files:.0f} files/s with fsync, {appends:.0f} appends/s with fdatasync; {os.cpu_count()} cores")
    print(f"load: {options.sessions} sessions, {options.messages} messages of {options.octets} octets")
    ports = list(configuration.free_ports().values())
    sink = Sink(ports[0])
    systems = [Martlet(base / "martlet", ports[0]), Postfix(base / "postfix", ports[1], ports[0])]
    rates = {system.name: {rate: [] for rate in RATES} for system in systems}
    try:
        for system in systems:
            system.start()
            bench.measure(system, BOB, system.delivered, 200)
        for number in range(options.rounds):
            for system in systems:
                mine = rates[system.name]
                accept, end_to_end = bench.measure(system, BOB, system.delivered, options.messages)
                _, relay = bench.measure(system, "someone@example.net", lambda: sink.messages, options.messages)
                for rate, value in zip(RATES, (accept, end_to_end, relay)):
                    mine[rate].append(value)
                values = ", ".join(f"{rate} {mine[rate][-1]:.0f}/s" for rate in RATES)
                print(f"round {number + 1}, {system.name}: {values}", flush=True)
        report(rates)
    finally:
        for system in systems:
            system.stop()
        sink.stop()
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
