"""The same for Postfix as for our queue of very many messages: start, list, flush of one destination."""

import argparse
import os
import smtplib
import subprocess
import threading
import time
from pathlib import Path

import configuration
from postfix import Postfix

PATIENCE = 3600
CONNECTIONS = 8


class PostfixQueue:
    """A Postfix whose messages for example.net were tried once, and wait."""

    def __init__(self, directory: Path, options: argparse.Namespace):
        self.options = options
        self.port = configuration.free_port()
        settings = {
            "transport_maps": "inline:{.example.net=retry:no-answer}",
            "fast_flush_domains": "example.net",
            "minimal_backoff_time": "4000s",
            "smtpd_client_connection_count_limit": "0",
        }
        self.postfix = Postfix(directory, self.port, 0, settings)

    def fill(self, count: int) -> None:
        """By SMTP, as nobody but Postfix knows its files."""

        def some(first: int) -> None:
            with smtplib.SMTP("127.0.0.1", self.port) as client:
                for number in range(first, count, CONNECTIONS):
                    recipient = f"r{number}@d{number % self.options.destinations}.example.net"
                    client.sendmail("s@example.test", [recipient], "Subject: one of many\r\n\r\nHello.\r\n")

        threads = [threading.Thread(target=some, args=(first,)) for first in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        end = time.monotonic() + PATIENCE
        while self.deferred() < count:
            if time.monotonic() > end:
                raise TimeoutError("not all messages have been tried")
            time.sleep(1)

    def deferred(self) -> int:
        return sum(1 for path in (self.postfix.directory / "queue" / "deferred").rglob("*") if path.is_file())

    def accept(self, begin: float) -> float:
        """From that moment to the 250 for a message."""
        while True:
            try:
                with smtplib.SMTP("127.0.0.1", self.port) as client:
                    client.sendmail("s@example.test", ["r@d0.example.net"], "Subject: x\r\n\r\nx\r\n")
                    return time.monotonic() - begin
            except (OSError, smtplib.SMTPException):
                pass
            if time.monotonic() > begin + 60:
                raise TimeoutError("nothing is accepted")
            time.sleep(0.002)

    def command(self, *arguments: str) -> tuple[float, int]:
        """How long postqueue takes, and how many lines it prints."""
        begin = time.monotonic()
        done = subprocess.run(
            ["postqueue", "-c", str(self.postfix.settings), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        return time.monotonic() - begin, done.stdout.count(b"\n")

    def tries(self, domain: str) -> int:
        log = self.postfix.directory / "maillog"
        return subprocess.run(["grep", "-c", f"@{domain}>.*status=deferred", log], capture_output=True, text=True).stdout.strip()

    def measure(self, count: int) -> None:
        self.postfix.start()
        try:
            begin = time.monotonic()
            self.fill(count)
            print(f"Postfix: {count} messages for {self.options.destinations} destinations, made in {time.monotonic() - begin:.0f} s", flush=True)
            self.postfix.stop()
            os.sync()
            begin = time.monotonic()
            self.postfix.start()
            print(f"Postfix, accepting: {self.accept(begin):.2f} s after the start", flush=True)
            seconds, lines = self.command("-p")
            print(f"Postfix, postqueue -p: {seconds:.2f} s ({lines} lines)", flush=True)
            before, begin = self.tries("d1.example.net"), time.monotonic()
            seconds, _ = self.command("-s", "d1.example.net")
            while self.tries("d1.example.net") == before and time.monotonic() < begin + 60:
                time.sleep(0.01)
            print(f"Postfix, postqueue -s d1.example.net: {seconds:.2f} s, first tried again after {time.monotonic() - begin:.2f} s", flush=True)
        finally:
            self.postfix.stop()
