"""`martlet mime`: agrees with Python's email package about structure, decoded text and file names; stays small."""

import binascii
import email
import email.header
import email.policy
import json
import subprocess

import pytest
from instance import PROGRAMS
from mime_corpus import Corpus

MARTLET = PROGRAMS / "martlet"
COUNT = 150


def mime(command: str, message: bytes, *arguments: str, status: int = 0) -> bytes:
    done = subprocess.run([MARTLET, "mime", command, *arguments], input=message, capture_output=True, timeout=60)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout


def ours(part: dict) -> list:
    return [part["type"], [ours(child) for child in part["children"]]]


def theirs(part) -> list:
    children = part.get_payload() if part.is_multipart() else []
    return [part.get_content_type(), [theirs(child) for child in children]]


def leaves(part) -> list:
    if not part.is_multipart():
        return [part]
    return [leaf for child in part.get_payload() for leaf in leaves(child)]


def decoded_name(name: str | None) -> str | None:
    """What Python says, with encoded words decoded: Martlet does that (docs/mime.md has all differences)."""
    if name and name.startswith("=?"):
        return str(email.header.make_header(email.header.decode_header(name)))
    return name


@pytest.fixture(scope="module")
def corpus() -> list[bytes]:
    maker = Corpus()
    return [maker.message(octets=maker.random.randint(1, 1500)) for _ in range(COUNT)]


def test_structure_and_names_agree(corpus):
    for message in corpus:
        tree = json.loads(mime("show", message, "--json"))
        other = email.message_from_bytes(message)
        assert ours(tree) == theirs(other)
        parts = json.loads(mime("parts", message, "--json"))
        assert [p.get("fileName") for p in parts] == [decoded_name(leaf.get_filename()) for leaf in leaves(other)]


def test_decoded_bodies_agree(corpus):
    for message in corpus[:40]:
        other = leaves(email.message_from_bytes(message))
        lines = mime("parts", message).decode().splitlines()
        assert len(lines) == len(other)
        for line, leaf in zip(lines, other):
            body = mime("extract", message, "--part", line.split()[0])
            assert body.rstrip(b"\r\n") == leaf.get_payload(decode=True).rstrip(b"\r\n")


def test_headers_are_decoded(corpus):
    for message in corpus[:40]:
        fields = {f["name"]: f for f in json.loads(mime("headers", message, "--json"))}
        other = email.message_from_bytes(message, policy=email.policy.default)
        assert fields["Subject"]["value"] == str(other["Subject"])
        place = fields["Subject"]
        assert message[place["offset"] :][: place["octets"]].startswith(b"Subject:")


def test_extract_keeps_within_the_directory(tmp_path):
    message = b"From: a@b\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    names = ["../../outside", "/etc/passwd", ".hidden", "same.txt", "same.txt", "a\\b\\c.txt", "link"]
    for name in names:
        quoted = name.replace("\\", "\\\\")
        message += f'--b\r\nContent-Disposition: attachment; filename="{quoted}"\r\n\r\n{name}\r\n'.encode()
    message += b"--b--\r\n"
    directory = tmp_path / "to"
    directory.mkdir()
    (tmp_path / "target").write_text("untouched")
    (directory / "link").symlink_to(tmp_path / "target")
    mime("extract", message, "--to", str(directory))
    found = {p.name for p in directory.iterdir()}
    assert found == {"outside", "passwd", "hidden", "same.txt", "same-2.txt", "c.txt", "link", "link-2"}
    assert (tmp_path / "target").read_text() == "untouched"
    assert {p.name for p in tmp_path.iterdir()} == {"to", "target"}


def test_check_names_defects_and_sources():
    found = json.loads(mime("check", b"Subject: a\nSubject: b\n\nx\0y\n", "--json", status=1))
    assert {f["defect"]["name"] for f in found} == {"repeated-field", "bare-lf", "nul", "no-from", "no-date"}
    assert all("RFC" in f["defect"]["source"] for f in found)
    mime("check", b"From: a@b\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nbody\r\n")


def test_terminals_are_not_steered():
    shown = mime("show", b"Subject: \x1b[2J=?utf-8?q?=1B]0;x=07?=\r\n\r\n")
    assert b"\x1b" not in shown and b"\x07" not in shown


def test_encoded_line_ends_make_no_field():
    shown = mime("headers", b"Subject: =?utf-8?q?a=0D=0AX-Injected:_b?=\r\n\r\n").decode()
    assert shown.startswith("Subject: a") and len(shown.splitlines()) == 1


def test_decoded_text_agrees(corpus):
    for message in corpus:
        shown = json.loads(mime("text", message, "--json"))
        plain = [part["text"] for part in shown["texts"] if part["type"] == "text/plain"]
        other = [leaf for leaf in leaves(email.message_from_bytes(message)) if leaf.get_content_type() == "text/plain"]
        texts = [leaf.get_payload(decode=True).decode(leaf.get_content_charset("utf-8"), "replace") for leaf in other]
        assert [text.rstrip() for text in plain] == [text.replace("\r\n", "\n").rstrip() for text in texts]


REPORT = b"""From: Mail <mailer@mx.example>
Date: Thu, 1 Jan 2026 00:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

Sorry.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
Arrival-Date: Thu, 1 Jan 2026 00:00:00 +0000

Final-Recipient: rfc822; a@b.example
Action: failed
Status: 5.1.1 (no such user)
Diagnostic-Code: smtp; 550 no
 such user

Final-Recipient: rfc822; c@b.example
Action: delayed
Status: 4.4.1
--b--
""".replace(b"\n", b"\r\n")


def test_reports_are_read():
    (report,) = json.loads(mime("report", REPORT, "--json"))
    assert report["kind"] == "delivery"
    assert {f["name"]: f["value"] for f in report["message"]}["reporting MTA"] == "mx.example"
    first, second = ({f["name"]: f["value"] for f in fields} for fields in report["recipients"])
    assert first == {"final recipient": "a@b.example", "action": "failed", "status": "5.1.1", "diagnostic": "550 no such user"}
    assert second["action"] == "delayed"
    # Python's email package finds the same blocks.
    part = [p for p in email.message_from_bytes(REPORT).walk() if p.get_content_type() == "message/delivery-status"][0]
    assert [dict(block)["Action"] for block in part.get_payload()[1:]] == [first["action"], second["action"]]
    assert "a@b.example  failed  5.1.1  550 no such user" in mime("show", REPORT).decode()
    assert "failed" in mime("report", REPORT).decode()
    mime("report", b"Subject: x\r\n\r\nbody", status=1)


def test_files_within_text(tmp_path):
    content = bytes(range(256)) * 3
    lines = [binascii.b2a_uu(content[i : i + 45]) for i in range(0, len(content), 45)]
    coded = b"begin 644 ../cat.bin\n" + b"".join(lines) + b"`\nend\n"
    message = b"From: a@b\r\n\r\nbefore\n" + coded + b"after\n"
    (part,) = json.loads(mime("parts", message, "--json"))
    assert part["files"] == [{"name": "../cat.bin", "encoding": "uuencode", "octets": 768, "isDamaged": False}]
    written = json.loads(mime("extract", message, "--to", str(tmp_path), "--json"))
    assert [(f["part"], f["path"], f["octets"]) for f in written] == [("1", f"{tmp_path}/cat.bin", 768)]
    assert (tmp_path / "cat.bin").read_bytes() == content
    text = mime("text", message).decode()
    assert "before\nafter\n" in text and "File: ../cat.bin" in text and "begin" not in text


def test_pieces_are_joined(tmp_path):
    inner = b"Subject: whole\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" + b"a line of it\r\n" * 100
    outer = "From: a@b\r\nSubject: piece\r\nContent-Type: message/partial; id=\"i@b\"; number={}; total=3\r\n\r\n"
    files = []
    for number, (start, end) in enumerate([(0, 500), (500, 900), (900, None)], 1):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(outer.format(number).encode() + inner[start:end])
    join = [MARTLET, "mime", "join"]
    done = subprocess.run([*join, files[2], files[0], files[1]], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"From: a@b\r\n" + inner
    done = subprocess.run([*join, files[2], files[0]], capture_output=True, timeout=60)
    assert done.returncode != 0 and b"missing: [2]" in done.stderr


def test_flowed_text_and_html_for_search():
    message = b"Content-Type: text/plain; format=flowed\r\n\r\n> one \r\n> two\r\n-- \r\nme\r\n"
    assert mime("text", message) == b"> one two\n-- \nme\n\n"
    html = b"Content-Type: text/html\r\n\r\n<script>x()</script><img src='http://a.example/'><p>a &amp; b</p>"
    assert mime("text", html) == b"a & b\n"


def test_encrypted_parts_among_others_are_reported():
    message = (
        b"From: a@b\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n"
        b'\r\n--o\r\nContent-Type: text/html\r\n\r\n<img src="http://a.example/\r\n--o\r\n'
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nsecret\r\n--o\r\n"
        b'Content-Type: text/html\r\n\r\n">\r\n--o--\r\n'
    )
    found = json.loads(mime("check", message, "--json", status=1))
    assert [(f["part"], f["defect"]["name"]) for f in found] == [("2", "spliced")]
    assert b"secret" not in mime("extract", message, "--part", "1") + mime("extract", message, "--part", "3")


@pytest.mark.timeout(600)
def test_a_message_of_a_gibibyte_needs_little_memory():
    show = subprocess.Popen([MARTLET, "mime", "show", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = b"QUJD" * 19 + b"\r\n"
    block = line * (1024 * 1024 // len(line))
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    with show.stdin as pipe:
        pipe.write(head)
        for _ in range(1025):
            pipe.write(block)
        pipe.write(b"\r\n--b\r\n\r\nlast")
        pipe.flush()
        peak = next(
            int(text.split()[1])
            for text in open(f"/proc/{show.pid}/status").read().splitlines()
            if text.startswith("VmHWM")
        )
    tree = json.loads(show.stdout.read())
    assert show.wait(timeout=60) == 0
    assert tree["children"][0]["body"]["end"] > 1 << 30
    assert len(tree["children"]) == 2
    print(f"peak memory: {peak} KiB")
    assert peak < 32 * 1024
