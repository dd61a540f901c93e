"""The work of `martlet mime` on hostile messages is in proportion to their size: instructions are counted, not seconds."""

import re
import subprocess

import pytest
from instance import PROGRAMS


def repeated(text: bytes, octets: int) -> bytes:
    return text * (octets // len(text))


def message(octets: int) -> bytes:
    """Each kind of trouble in a part of about so many octets."""
    fields = [
        b"To: " + repeated(b"(", octets),
        b"From: " + repeated(b"<@", octets),
        b"Cc: " + repeated(b"a:b@c,\"", octets),
        b"Subject: " + repeated(b"=?utf-8?q?x", octets),
        b"X: " + repeated(b"=?=?", octets),
        b"Date: " + repeated(b"(", octets),
        b"References: " + repeated(b"<(", octets),
        b"Content-Type: a/b" + repeated(b";a*0=b(", octets),
        b"Content-Type: a/b; " + repeated(b"(", octets),
        b"Content-Disposition: a; filename=" + repeated(b'"\\', octets),
        repeated(b"A: b\r\n", octets // 4),
    ]
    parts = [b"Content-Type: message/rfc822\r\n\r\n" + field + b"\r\n\r\nx\r\n" for field in fields]
    bodies = [
        (b"base64", b"text/plain", b"=*Q"),
        (b"base64", b"text/plain; charset=iso-2022-jp", b"Gy\x1b"),
        (b"quoted-printable", b"text/plain", b"= ="),
        (b"quoted-printable", b"text/plain", b"   \t"),
        (b"x-uuencode", b"text/plain", b"begin 644 x\r\n"),
        (b"7bit", b"text/plain", b"begin 644 x\r\n"),
        (b"7bit", b"text/plain", b"=ybegin size=1 name=x\r\n"),
        (b"7bit", b"text/plain; format=flowed", b"> \r\n>"),
        (b"7bit", b"text/plain; charset=utf-16", b"\xd8\x00\xd8"),
        (b"7bit", b"text/plain", b"--outer-\r\n"),
        (b"7bit", b"text/plain", b"-\r"),
        (b"7bit", b"text/html", b"<!--&a<a "),
        (b"7bit", b"text/html", b"<script></"),
    ]
    for encoding, kind, text in bodies:
        head = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n"
        parts.append(head + repeated(text, octets))
    nested = b""
    for level in range(45):
        name = b"b%d" % level + b"=" * 150
        nested += b"Content-Type: multipart/mixed; boundary=\"" + name + b"\"\r\n\r\n--" + name + b"\r\n"
    parts.append(nested + b"\r\n" + repeated(b"--b" + b"=" * 140 + b"\r\n", octets))
    head = b"From: a@b\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n"
    return head + b"".join(b"--outer\r\n" + part + b"\r\n" for part in parts) + b"--outer--\r\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """martlet without the names in it, which valgrind can't read."""
    path = tmp_path_factory.mktemp("work") / "martlet"
    subprocess.run(["strip", "-o", path, PROGRAMS / "martlet"], check=True)
    return path


def instructions(program, command: str, octets: int) -> int:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run([*valgrind, program, "mime", command], input=message(octets), capture_output=True, timeout=300)
    return int(re.search(rb"Collected : (\d+)", done.stderr)[1])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", ["check", "text"])
def test_work_is_linear(program, command):
    start = instructions(program, command, 64)
    one = instructions(program, command, 12_000) - start
    four = instructions(program, command, 48_000) - start
    print(f"{command}: {one} instructions for {len(message(12_000))} octets, {four} for {len(message(48_000))}")
    assert one > 0 and four < 5 * one
