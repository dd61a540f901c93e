"""An SMTP server that keeps what it is given: the other host in tests."""

import socketserver
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Accepted:
    """A message that the sink has answered with 250."""

    sender: str
    recipients: list[str]
    octets: bytes
    connection: int


@dataclass
class Session:
    sender: str = ""
    recipients: list[str] = field(default_factory=list)


class Handler(socketserver.StreamRequestHandler):
    """One connection; `server.sink.replies` maps a recipient's local part to the reply it gets at RCPT."""

    disable_nagle_algorithm = True

    def handle(self):
        try:
            self.serve()
        except OSError:
            pass

    def serve(self):
        sink = self.server.sink
        with sink.lock:
            sink.connections += 1
            number = sink.connections
        session = Session()
        self.answer("220 sink.example.net ESMTP")
        while line := self.rfile.readline(4096):
            verb, _, rest = line.decode("latin-1").strip().partition(" ")
            verb = verb.upper()
            if verb in ("EHLO", "HELO"):
                self.answer("250-sink.example.net", "250-PIPELINING", "250-8BITMIME", "250 ENHANCEDSTATUSCODES")
            elif verb == "MAIL":
                session = Session(sender=rest.partition("<")[2].partition(">")[0])
                self.answer(sink.mail_reply)
            elif verb == "RCPT":
                address = rest.partition("<")[2].partition(">")[0]
                reply = sink.replies.get(address.partition("@")[0], "250 2.1.5 ok")
                if reply.startswith("2"):
                    session.recipients.append(address)
                self.answer(reply)
            elif verb == "DATA":
                if not session.recipients:
                    self.answer("503 5.5.1 no recipient")
                    continue
                self.answer("354 go on")
                octets = self.read_data()
                if octets is None:
                    return
                with sink.lock:
                    sink.messages.append(Accepted(session.sender, session.recipients, octets, number))
                self.answer("250 2.0.0 kept")
                session = Session()
            elif verb == "QUIT":
                self.answer("221 2.0.0 bye")
                return
            elif verb in ("RSET", "NOOP"):
                self.answer("250 2.0.0 ok")
            else:
                self.answer("502 5.5.1 no such command")

    def read_data(self) -> bytes | None:
        lines = []
        while True:
            line = self.rfile.readline()
            if not line.endswith(b"\n"):
                return None
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)

    def answer(self, *lines: str):
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False


class Sink:
    """A server on a free port of the loopback address, or where it's told to be, as a context."""

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)):
        self.address = address
        self.lock = threading.Lock()
        self.messages: list[Accepted] = []
        self.connections = 0
        self.replies: dict[str, str] = {}
        self.mail_reply = "250 2.1.0 ok"

    def __enter__(self):
        self.server = Server(self.address, Handler)
        self.server.sink = self
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def find(self, token: str) -> list[Accepted]:
        """The messages that contain a text."""
        with self.lock:
            return [message for message in self.messages if token.encode() in message.octets]

    def wait_for(self, token: str, seconds: float = 30) -> Accepted:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.find(token):
                return found[0]
            time.sleep(0.02)
        raise TimeoutError(f"no message with {token} reached the sink in {seconds} s")
