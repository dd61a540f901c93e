"""A DNS server with the records of a master file, for programs that can't be given answers otherwise.

As a program it needs root: key_server.py ZONE COMMAND… runs a command in a network of its own, where this server is the
only one there is.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.zone


class KeyServer:
    """Answers by UDP, and by TCP what is too long for it, until it is closed."""

    def __init__(self, zone: str, port: int = 0):
        self.zone = dns.zone.from_text(zone, origin=".", relativize=False, check_origin=False)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", port))
        self.port = self.udp.getsockname()[1]
        self.tcp = socket.create_server(("127.0.0.1", self.port))
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.serve_udp, self.serve_tcp)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in (self.udp, self.tcp):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        for thread in self.threads:
            thread.join(5)

    def answer(self, wire: bytes) -> dns.message.Message:
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        records = self.zone.get_rrset(question.name, question.rdtype)
        if records is not None:
            response.answer.append(records)
        elif self.zone.get_node(question.name) is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def serve_udp(self):
        while True:
            try:
                wire, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not wire:
                return
            response = self.answer(wire)
            reply = response.to_wire()
            if len(reply) > 512:
                response.answer.clear()
                response.flags |= dns.flags.TC
                reply = response.to_wire()
            self.udp.sendto(reply, peer)

    def serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                connection.settimeout(10)
                length = file.read(2)
                if len(length) == 2:
                    reply = self.answer(file.read(struct.unpack("!H", length)[0])).to_wire()
                    connection.sendall(struct.pack("!H", len(reply)) + reply)


def bring_up_loopback():
    up, name, get_flags, set_flags = 1, b"lo", 0x8913, 0x8914
    with socket.socket() as end:
        request = fcntl.ioctl(end, get_flags, struct.pack("16sh14x", name, 0))
        flags = struct.unpack("16sh14x", request)[1]
        fcntl.ioctl(end, set_flags, struct.pack("16sh14x", name, flags | up))


def main():
    zone, *command = sys.argv[1:]
    if os.environ.get("MARTLET_KEY_SERVER_INSIDE") is None:
        os.environ["MARTLET_KEY_SERVER_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    bring_up_loopback()
    configuration = zone + ".resolv.conf"
    with open(configuration, "w") as file:
        file.write("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", configuration, os.path.realpath("/etc/resolv.conf")], check=True)
    with open(zone) as file, KeyServer(file.read(), 53):
        sys.exit(subprocess.run(command, timeout=60).returncode)


if __name__ == "__main__":
    main()
