"""A client that costs little: it sends a command and reads until the tagged response, without looking at what is in between."""

import socket
import ssl


class Client:
    """One IMAP connection by TLS."""

    def __init__(self, port: int):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", port), timeout=300)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw)
        self.number = 0
        self.finish(b"*")

    def run(self, command: str | bytes, expected: bytes = b"OK") -> bytes:
        """The whole response to a command; one that doesn't end as expected is an exception."""
        tag = self.send(command)
        answer = self.finish(tag)
        last = answer.rstrip().rpartition(b"\n")[2]
        if not last.startswith(tag + b" " + expected):
            raise RuntimeError(f"{command!r}: {last!r}")
        return answer

    def send(self, command: str | bytes) -> bytes:
        self.number += 1
        tag = b"T%d" % self.number
        octets = command.encode() if isinstance(command, str) else command
        self.socket.sendall(tag + b" " + octets + b"\r\n")
        return tag

    def finish(self, tag: bytes) -> bytes:
        """Reads to the end of a command's response."""
        pieces = []
        tail = b"\r\n"
        mark = b"\n" + tag + b" "
        while True:
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise ConnectionError("the server has closed the connection")
            pieces.append(piece)
            tail = (tail + piece)[-4096:]
            if tail.endswith(b"\n") and mark in tail:
                return b"".join(pieces)

    def append(self, mailbox: str, message: bytes) -> None:
        tag = self.send(b"APPEND %s {%d+}\r\n%s" % (mailbox.encode(), len(message), message))
        if b" OK" not in self.finish(tag).rpartition(tag)[2]:
            raise RuntimeError("APPEND failed")

    def log_in(self, user: str, password: str) -> "Client":
        self.run(f'LOGIN "{user}" "{password}"')
        return self

    def close(self) -> None:
        self.socket.close()
