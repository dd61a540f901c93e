"""Messages of many shapes, the same at every run: for comparison with other parsers, and for Benchmarks."""

import base64
import random
import sys
from email.header import Header
from pathlib import Path

WORDS = "the quick brown fox jumps over a lazy dog while mail waits in the queue for its last hop".split()
LETTERS = "Grüße naïve Ærø żółw Привет こんにちは € 😀".split()
NAMES = ["report.pdf", "a b.txt", "Rechnung Mai.pdf", "übersicht.png", "データ.csv", "quote\"d.txt", "long-" + "n" * 60 + ".zip"]


class Corpus:
    """Makes messages from a seed."""

    def __init__(self, seed: int = 1):
        self.random = random.Random(seed)
        self.boundaries = 0

    def text(self, octets: int, beyond: bool = False) -> str:
        lines = []
        size = 0
        while size < octets:
            words = [self.random.choice(WORDS) for _ in range(self.random.randint(1, 12))]
            if beyond:
                words.append(self.random.choice(LETTERS))
            lines.append(" ".join(words))
            size += len(lines[-1]) + 2
        return "\r\n".join(lines) + "\r\n"

    def plain(self, octets: int) -> bytes:
        if self.random.random() < 0.4:
            return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + self.text(octets).encode()
        charset = self.random.choice(["utf-8", "iso-8859-15"])
        subtype = self.random.choice(["plain", "html"])
        body = self.text(octets, beyond=True).encode(charset, "replace")
        head = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: ".encode()
        kind = self.random.choice(["8bit", "quoted-printable", "base64"])
        if kind == "quoted-printable":
            body = quoted_printable(body)
        elif kind == "base64":
            body = base64.encodebytes(body).replace(b"\n", b"\r\n")
        return head + kind.encode() + b"\r\n\r\n" + body

    def attachment(self, octets: int) -> bytes:
        body = base64.encodebytes(self.random.randbytes(octets)).replace(b"\n", b"\r\n")
        name = self.random.choice(NAMES)
        if name.isascii():
            escaped = name.replace('"', '\\"')
            parameter = f'filename="{escaped}"'
        elif self.random.random() < 0.5:
            parameter = "filename*=utf-8''" + "".join(f"%{octet:02X}" for octet in name.encode())
        else:
            parameter = f'filename="{Header(name, "utf-8", maxlinelen=1000).encode()}"'
        return (
            "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
            f"Content-Disposition: attachment;\r\n {parameter}\r\n\r\n"
        ).encode() + body

    def multipart(self, depth: int, octets: int) -> bytes:
        self.boundaries += 1
        # Now and then a boundary that another begins with.
        boundary = "b" if self.random.random() < 0.2 and depth == 0 else f"b{self.boundaries}=_x"
        kind = self.random.choice(["mixed", "alternative", "related", "signed", "report"])
        parts = []
        for _ in range(self.random.randint(1, 4)):
            parts.append(self.entity(depth + 1, octets))
        if self.random.random() < 0.1:
            kind = "digest"
            parts = [b"\r\n" + self.message(3, octets) for _ in range(2)]
        delimiter = b"--" + boundary.encode()
        body = b"preamble\r\n" if self.random.random() < 0.3 else b""
        for part in parts:
            body += delimiter + b"\r\n" + part + b"\r\n"
        if self.random.random() < 0.95:
            body += delimiter + b"--\r\n"
        return f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode() + body

    def entity(self, depth: int, octets: int) -> bytes:
        roll = self.random.random()
        if depth < 6 and roll < 0.25:
            return self.multipart(depth, octets)
        if depth < 5 and roll < 0.35:
            return b"Content-Type: message/rfc822\r\n\r\n" + self.message(depth + 1, octets)
        if roll < 0.6:
            return self.attachment(octets)
        return self.plain(octets)

    def message(self, depth: int = 0, octets: int = 2000) -> bytes:
        subject = Header(" ".join(self.random.sample(LETTERS, 3)), "utf-8").encode(linesep="\r\n")
        head = (
            f"From: Sender <sender@example.test>\r\nTo: reader@example.test\r\nSubject: {subject}\r\n"
            f"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{self.random.random()}@example.test>\r\n"
            "MIME-Version: 1.0\r\n"
        ).encode()
        return head + (self.entity(depth, octets) if depth else self.top(octets))

    def top(self, octets: int) -> bytes:
        return self.plain(octets) if self.random.random() < 0.3 else self.multipart(0, octets)


def quoted_printable(octets: bytes) -> bytes:
    lines = []
    for line in octets.split(b"\r\n"):
        piece = b""
        for octet in line:
            escaped = bytes([octet]) if 33 <= octet <= 126 and octet != 61 or octet == 32 else b"=%02X" % octet
            if len(piece) + len(escaped) > 73:
                lines.append(piece + b"=")
                piece = b""
            piece += escaped
        if piece.endswith(b" "):
            piece = piece[:-1] + b"=20"
        lines.append(piece)
    return b"\r\n".join(lines)


def main() -> None:
    """mime_corpus.py DIRECTORY COUNT OCTETS: writes COUNT messages whose parts have about OCTETS each."""
    directory, count, octets = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    directory.mkdir(parents=True, exist_ok=True)
    corpus = Corpus()
    for number in range(count):
        size = int(octets * corpus.random.paretovariate(1.5) / 3)
        (directory / f"{number:05}.eml").write_bytes(corpus.message(octets=min(size, octets * 20)))


if __name__ == "__main__":
    main()
