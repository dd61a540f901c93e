"""The work of `martlet mime` and `martlet auth` on hostile messages is in proportion to their size: instructions are counted,
not seconds."""

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


def instructions(program, *command, input: bytes = b"") -> int:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run([*valgrind, program, *map(str, command)], input=input, capture_output=True, timeout=300)
    return int(re.search(rb"Collected : (\d+)", done.stderr)[1])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", ["check", "text"])
def test_work_is_linear(program, command):
    start = instructions(program, "mime", command, input=message(64))
    one = instructions(program, "mime", command, input=message(12_000)) - start
    four = instructions(program, "mime", command, input=message(48_000)) - start
    print(f"{command}: {one} instructions for {len(message(12_000))} octets, {four} for {len(message(48_000))}")
    assert one > 0 and four < 5 * one


def unsigned_message(octets: int) -> bytes:
    """Each kind of trouble in a field of about so many octets, or in many fields."""
    fields = [
        b"DKIM-Signature: v=1; " + repeated(b"a=b; ", octets),
        b"DKIM-Signature: " + b"; ".join(b"t%d=x" % number for number in range(octets // 8)),
        b"DKIM-Signature: v=1; a=rsa-sha256; d=e.test; s=s; b=QQ; bh=QQ; h=from:" + repeated(b"a:", octets) + b"a",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=e.test; s=s; b=QQ; bh=QQ; h=from; z=" + repeated(b"a:b|", octets) + b"a:b",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=e.test; s=s; bh=QQ; h=from; b=" + repeated(b"Q Q\r\n ", octets),
        repeated(b"DKIM-Signature: v=1\r\n", octets).rstrip(),
        b"ARC-Authentication-Results: i=1; " + repeated(b"(", octets),
        b"ARC-Seal: i=1; " + repeated(b"a=b;", octets),
        repeated(b"ARC-Seal: i=7\r\n", octets).rstrip(),
        b"X: " + repeated(b"  \t\r\n ", octets) + b"x",
        repeated(b"Sender: b\r\n", octets).rstrip(),
        b"From: " + repeated(b"<a@b c@", octets),
    ]
    return b"\r\n".join(fields) + b"\r\n\r\n" + repeated(b" \t\r\n", octets) + repeated(b"x  ", octets)


@pytest.mark.timeout(900)
def test_work_of_checks_is_linear(program, tmp_path):
    """Four good signatures, which cover all fields that they can, stand above the trouble."""
    martlet = PROGRAMS / "martlet"
    made = [martlet, "dkim", "keygen", "--domain", "e.test", "--selector", "s", "--type", "ed25519", "--out", tmp_path / "key"]
    record = subprocess.run(made, capture_output=True, check=True, timeout=60).stdout.decode()
    (tmp_path / "zone").write_text("$TTL 300\n" + "\n".join(record.replace("s._d", f"s{n}._d") for n in range(4)))
    keys = [word for n in range(4) for word in ("--key", f"s{n}={tmp_path / 'key'}")]

    def work(octets: int) -> int:
        sign = [martlet, "dkim", "sign", "-", "--domain", "e.test", *keys, "--copy-fields"]
        unsigned = b"From: a@e.test\r\n" + unsigned_message(octets)
        signed = subprocess.run(sign, input=unsigned, capture_output=True, check=True, timeout=60).stdout
        check = ["auth", "check", "-", "--zone", tmp_path / "zone", "--client-ip", "192.0.2.1", "--mail-from", "a@e.test"]
        return instructions(program, *check, input=signed)

    start = work(64)
    one, four = work(3_000) - start, work(12_000) - start
    print(f"auth check: {one} instructions for {len(unsigned_message(3_000))} octets, {four} for {len(unsigned_message(12_000))}")
    assert one > 0 and four < 5 * one
