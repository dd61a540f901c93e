"""A stand-in for local-deliver, written from docs/protocols.md alone: each message becomes a file in a directory."""

import os
import socketserver
import sys


class Deliverer(socketserver.StreamRequestHandler):
    def handle(self):
        while frame := self.read_frame():
            verb, fields = frame
            if verb != "DELIVER":
                self.answer("REJECT", fields, status="5.5.1", text="unknown verb")
                continue
            with open(f"{self.server.queue}/{fields['file'][0]}", "rb") as file:
                file.seek(int(fields["offset"][0]))
                message = file.read(int(fields["octets"][0]))
            for recipient in fields["recipient"]:
                address = recipient[1 : recipient.index(">")]
                path = f"{self.server.target}/{fields['id'][0]}.{address}"
                with open(path, "wb") as file:
                    file.write(b"Delivered-To: " + address.encode() + b"\r\n" + message)
                    os.fsync(file.fileno())
                self.answer("OK", fields, recipient=recipient, status="2.0.0", text="kept")

    def read_frame(self):
        verb = self.rfile.readline().decode().strip()
        fields = {}
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            name, value = line.split(": ", 1)
            fields.setdefault(name, []).append(value)
        return (verb, fields) if verb else None

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
    server.queue, server.target = f"{instance}/spool/queue", target
    print("ready", flush=True)
    server.serve_forever()
