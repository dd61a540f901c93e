"""A stand-in for local-deliver, written from docs/protocols.md alone: each message becomes a file in a directory."""

import os
import socketserver
import sys
from collections import deque

PIECE = 65536


class Deliverer(socketserver.StreamRequestHandler):
    def setup(self):
        super().setup()
        self.waiting = deque()  # requests that came while a message was read

    def handle(self):
        while frame := self.waiting.popleft() if self.waiting else self.read_frame():
            verb, fields, body = frame
            if verb == "DELIVER":
                self.deliver(fields, body)
            elif verb != "CANCEL":
                self.answer("REJECT", fields, status="5.5.1", text="unknown verb")

    def deliver(self, fields, body):
        message = self.message(fields, body)
        for recipient in fields["recipient"]:
            if message is None:
                self.answer("DEFER", fields, recipient=recipient, status="4.3.0", action="delayed", text="no message")
                continue
            address = recipient[1 : recipient.index(">")]
            path = f"{self.server.target}/{fields['id'][0]}.{address}"
            with open(path, "wb") as file:
                file.write(b"Delivered-To: " + address.encode() + b"\r\n" + message)
                os.fsync(file.fileno())
            self.answer("OK", fields, recipient=recipient, status="2.0.0", action="delivered", text="kept")

    def message(self, fields, body):
        """What is added and the message, which may have to be read in pieces; None where it can't be had."""
        octets = int(fields["octets"][0])
        whole = int(fields["added"][0]) + octets
        while len(body) < whole:
            offset = octets - (whole - len(body))
            self.answer("READ", fields, offset=offset, length=min(PIECE, octets - offset))
            verb, _, piece = self.read_piece(fields["tag"])
            if verb != "OK":
                return None
            body += piece
        return body

    def read_piece(self, tag):
        while frame := self.read_frame():
            if frame[0] in ("OK", "DEFER", "REJECT") and frame[1]["tag"] == tag:
                return frame
            self.waiting.append(frame)
        raise EOFError

    def read_frame(self):
        verb = self.rfile.readline().decode().strip()
        fields = {}
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            name, value = line.split(": ", 1)
            fields.setdefault(name, []).append(value)
        body = self.rfile.read(int(fields.pop("size", ["0"])[0]))
        return (verb, fields, body) if verb else None

    def answer(self, verb, request, **fields):
        tag = {"tag": request["tag"][0]} if "tag" in request else {}
        lines = [verb] + [f"{name}: {value}" for name, value in {**tag, **fields}.items()]
        self.wfile.write("".join(line + "\n" for line in [*lines, ""]).encode())


if __name__ == "__main__":
    instance, target = sys.argv[1:]
    path = f"{instance}/run/deliver.sock"
    if os.path.exists(path):
        os.unlink(path)
    os.umask(0)
    server = socketserver.ThreadingUnixStreamServer(path, Deliverer)
    server.target = target
    print("ready", flush=True)
    server.serve_forever()
