"""Hosts and users that hand in mail: a process for each, which sends what gets 4xx again (smtp-source would give up)."""

import base64
import multiprocessing
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What clients send.

    - recipient: of the message of a number, counted from 0 over all clients.
    - text: with lines that end in CRLF, and dots stuffed.
    - keeps: all of a client's messages over one connection, else one for each.
    - pipelines: MAIL, RCPT and DATA together (RFC 2920).
    - login: a name and a password, given by AUTH PLAIN.
    - source: the address that connections come from.
    """

    sender: str
    recipient: Callable[[int], str]
    text: bytes
    helo: str
    keeps: bool = False
    pipelines: bool = False
    tls: bool = False
    login: tuple[str, str] | None = None
    source: str = "127.0.0.1"


class Client:
    """One of those who send."""

    def __init__(self, port: int, load: Load):
        self.port = port
        self.load = load
        self.text = load.text + b".\r\n"
        self.socket = None

    def say(self, octets: bytes, expected: bytes) -> bool:
        self.socket.sendall(octets)
        return self.hear(expected)

    def hear(self, expected: bytes, count: int = 1) -> bool:
        """Reads so many replies; whether all were the one expected. The last may be an intermediate one."""
        reply = b""
        while not (reply.endswith(b"\n") and sum(line[3:4] == b" " for line in reply.splitlines()) >= count):
            octets = self.socket.recv(4096)
            if not octets:
                raise ConnectionError("closed")
            reply += octets
        codes = [line[:3] for line in reply.splitlines() if line[3:4] == b" "]
        if any(not code.startswith((expected, b"3", b"4")) for code in codes):
            raise RuntimeError(reply.decode("latin-1"))
        return not any(code.startswith(b"4") for code in codes)

    def open(self) -> None:
        load = self.load
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60, source_address=(load.source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.hear(b"220")
        self.say(f"EHLO {load.helo}\r\n".encode(), b"250")
        if load.tls:
            self.say(b"STARTTLS\r\n", b"220")
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
            self.say(f"EHLO {load.helo}\r\n".encode(), b"250")
        if load.login:
            secret = base64.b64encode("\0".join(["", *load.login]).encode())
            self.say(b"AUTH PLAIN " + secret + b"\r\n", b"235")

    def close(self) -> None:
        self.say(b"QUIT\r\n", b"221")
        self.socket.close()
        self.socket = None

    def send(self, number: int) -> bool:
        if self.socket is None:
            self.open()
        load = self.load
        envelope = [b"MAIL FROM:<%s>\r\n" % load.sender.encode(), b"RCPT TO:<%s>\r\n" % load.recipient(number).encode()]
        if load.pipelines:
            self.socket.sendall(b"".join(envelope) + b"DATA\r\n")
            taken = self.hear(b"250", 3)
        else:
            taken = all(self.say(line, expected) for line, expected in zip([*envelope, b"DATA\r\n"], (b"250", b"250", b"354")))
        taken = taken and self.say(self.text, b"250")
        if not load.keeps:
            self.close()
        elif not taken:
            self.say(b"RSET\r\n", b"250")
        return taken

    def run(self, numbers: range, barrier, deferred) -> None:
        # The connections that stay are not part of what is measured.
        if self.load.keeps:
            self.open()
        barrier.wait()
        for number in numbers:
            while not self.send(number):
                with deferred.get_lock():
                    deferred.value += 1
                if deferred.value > 1000:
                    raise RuntimeError("1,000 messages were deferred")
        if self.socket:
            self.close()


def send(port: int, load: Load, messages: int, sessions: int, started: Callable[[], None] = lambda: None) -> int:
    """Sends so many messages over so many sessions at a time; returns how many were deferred and sent again.

    - started: called when all clients are about to send.
    """
    fork = multiprocessing.get_context("fork")
    barrier, deferred = fork.Barrier(sessions + 1), fork.Value("i", 0)
    clients = []
    for number in range(sessions):
        numbers = range(number, messages, sessions)
        clients.append(fork.Process(target=Client(port, load).run, args=(numbers, barrier, deferred)))
        clients[-1].start()
    try:
        barrier.wait(60)
        started()
    finally:
        for client in clients:
            client.join()
    if any(client.exitcode for client in clients):
        raise RuntimeError(f"port {port}: not all messages were taken")
    return deferred.value
