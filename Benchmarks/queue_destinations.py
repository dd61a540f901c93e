"""Measures a queue with many destinations of which half hang, and a single letter behind a mailing, with real sinks."""

import argparse
import asyncio
import multiprocessing
import shutil
import smtplib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "lib"))

import configuration  # noqa: E402
from instance import Instance  # noqa: E402

PATIENCE = 600
# How long a sink takes for a message of the mailing. Seconds.
SLOW = 0.5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench destinations")
    parser.add_argument("--destinations", type=int, default=1000, help="half of them hang")
    parser.add_argument("--messages", type=int, default=3, help="for each destination")
    parser.add_argument("--mailing", type=int, default=5000, help="messages of the sender before the single letter")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    return parser.parse_args()


def address(number: int) -> str:
    return f"127.20.{number >> 8}.{number & 255}"


def is_hanging(number: int) -> bool:
    return number % 2 == 1


class Sinks:
    """One server an address, in a process of their own: even ones take mail, odd ones accept connections and say nothing."""

    def __init__(self, count: int, port: int):
        self.taken = multiprocessing.Value("q", 0)
        self.letters = multiprocessing.Value("q", 0)
        self.connections = multiprocessing.Value("q", 0)
        self.ready = multiprocessing.Event()
        self.process = multiprocessing.Process(target=self.run, args=(count, port), daemon=True)

    def __enter__(self):
        self.process.start()
        if not self.ready.wait(60):
            raise TimeoutError("the sinks are not there")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()

    def run(self, count: int, port: int) -> None:
        async def serve():
            for number in range(count):
                handler = self.hang if is_hanging(number) else self.take
                await asyncio.start_server(handler, address(number), port, backlog=64)
            self.ready.set()
            await asyncio.Event().wait()

        asyncio.run(serve())

    async def hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.value += 1
        await reader.read()
        writer.close()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 sink ESMTP\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-sink\r\n250 PIPELINING\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    message = await reader.readuntil(b"\r\n.\r\n")
                    if b"Subject: mailing" in message:
                        await asyncio.sleep(SLOW)
                    self.taken.value += 1
                    self.letters.value += b"Subject: letter" in message
                    writer.write(b"250 taken\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 fine\r\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()


def make(directory: Path, options: argparse.Namespace, port: int) -> Instance:
    instance = Instance(directory)
    routes = {f"d{number}.example.net": f"{address(number)}:{port}" for number in range(options.destinations)}
    values = configuration.configuration(configuration.free_ports())
    changes = {
        "smtpd": {"relay-from": ["127.0.0.0/8"]},
        "remote-relay": {"routes": routes},
    }
    instance.make(configuration.merge(values, changes))
    return instance


def send(port: int, envelopes: list[tuple[str, str, str]]) -> None:
    """Hands messages in over a few connections, in this order as far as several connections keep one."""

    def some(part: list[tuple[str, str, str]]) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            for sender, recipient, subject in part:
                client.sendmail(sender, [recipient], f"Subject: {subject}\r\n\r\nHello.\r\n")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(some, [envelopes[first::4] for first in range(4)]))


def until(begin: float, condition) -> float:
    while not condition():
        if time.monotonic() > begin + PATIENCE:
            raise TimeoutError(f"not within {PATIENCE} s")
        time.sleep(0.005)
    return time.monotonic() - begin


def mail_to(numbers: list[int], each: int) -> list[tuple[str, str, str]]:
    return [
        (f"s{number % 50}@example.test", f"r{copy}@d{number}.example.net", "mail")
        for copy in range(each)
        for number in numbers
    ]


def measure(instance: Instance, sinks: Sinks, options: argparse.Namespace) -> None:
    port = instance.ports["smtp"]
    living = [number for number in range(options.destinations) if not is_hanging(number)]
    expected = len(living) * options.messages

    def one_round(numbers: list[int]) -> str:
        before, begin = sinks.taken.value, time.monotonic()
        send(port, mail_to(numbers, options.messages))
        accepted = time.monotonic() - begin
        arrived = until(begin, lambda: sinks.taken.value - before >= expected)
        return f"{len(numbers) * options.messages} messages accepted in {accepted:.1f} s, {expected} for the living arrived after {arrived:.1f} s"

    print(f"{len(living)} destinations, none hangs: {one_round(living)}", flush=True)
    print(f"{options.destinations} destinations, half hang: {one_round(list(range(options.destinations)))}", flush=True)
    print(f"connections to those that hang: {sinks.connections.value}", flush=True)
    before = sinks.taken.value
    mailing = [("list@example.test", f"r{number}@d{living[0]}.example.net", "mailing") for number in range(options.mailing)]
    send(port, mailing)
    for number, where in ((living[-1], "another destination"), (living[0], "the same destination")):
        waiting = options.mailing - (sinks.taken.value - before)
        letters, begin = sinks.letters.value, time.monotonic()
        send(port, [("bob@example.test", f"carol@d{number}.example.net", "letter")])
        letter = until(begin, lambda: sinks.letters.value > letters)
        print(f"a letter to {where}, behind {waiting} messages of another sender that take {SLOW} s each: {letter:.2f} s", flush=True)


def main() -> None:
    options = arguments()
    directory = Path(tempfile.mkdtemp(prefix="mlt-destinations-", dir=options.directory))
    directory.chmod(0o755)
    port = configuration.free_port()
    instance = make(directory / "instance", options, port)
    try:
        with Sinks(options.destinations, port) as sinks:
            instance.start()
            measure(instance, sinks, options)
    finally:
        instance.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
