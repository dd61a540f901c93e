"""`martlet mime`: agrees with Python's email package about structure, decoded text and file names; stays small."""

import binascii
import email
import email.policy
import json
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from instance import PROGRAMS
from mime_corpus import Corpus
from mime_reading import Part, read, words

MARTLET = PROGRAMS / "martlet"
COUNT = 600


def mime(command: str, message: bytes, *arguments: str, status: int = 0) -> bytes:
    done = subprocess.run([MARTLET, "mime", command, *arguments], input=message, capture_output=True, timeout=60)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout


def structure(part: dict, depth: int = 0) -> list[tuple]:
    name = None if part["children"] else part.get("fileName")
    return [(depth, part["type"], name)] + [line for child in part["children"] for line in structure(child, depth + 1)]


def leaves(parts: list[Part]) -> list[Part]:
    return [part for part in parts if part.body is not None]


@pytest.fixture(scope="module")
def corpus() -> list[tuple[bytes, list[Part]]]:
    """Messages, and what Python's email package finds in each (scripts/bench mime --agreement compares 10,000)."""
    maker = Corpus()
    messages = [maker.message(octets=maker.random.randint(1, 600)) for _ in range(COUNT)]
    return [(message, read(email.message_from_bytes(message))) for message in messages]


def of_each(corpus: list, command: str) -> list:
    """What a command says of each message, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return [json.loads(said) for said in pool.map(lambda pair: mime(command, pair[0], "--json"), corpus)]


def test_structure_and_names_agree(corpus):
    for (_, parts), tree in zip(corpus, of_each(corpus, "show")):
        # Python leaves encoded words in names as they are, Martlet doesn't (docs/mime.md has all differences).
        other = [(p.depth, p.type, words(p.name) if p.name and p.name.startswith("=?") else p.name) for p in parts]
        assert structure(tree) == other


def test_decoded_bodies_agree(corpus):
    for message, parts in corpus[:20]:
        lines = mime("parts", message).decode().splitlines()
        assert len(lines) == len(leaves(parts))
        for line, leaf in zip(lines, leaves(parts)):
            assert mime("extract", message, "--part", line.split()[0]).rstrip(b"\r\n") == leaf.body.rstrip(b"\r\n")


def test_extracted_files_agree(corpus, tmp_path):
    for number, (message, parts) in enumerate(corpus[:150]):
        directory = tmp_path / str(number)
        directory.mkdir()
        written = json.loads(mime("extract", message, "--to", str(directory), "--json"))
        bodies = [Path(file["path"]).read_bytes().rstrip(b"\r\n") for file in written]
        assert bodies == [leaf.body.rstrip(b"\r\n") for leaf in leaves(parts) if leaf.name]


def test_headers_are_decoded(corpus):
    for message, _ in corpus[:40]:
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
    some = corpus[:250]
    for (_, parts), shown in zip(some, of_each(some, "text")):
        plain = [part["text"].rstrip() for part in shown["texts"] if part["type"] == "text/plain"]
        assert plain == [part.text.rstrip() for part in parts if part.type == "text/plain"]


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


def test_extract_writes_no_more_files_than_the_limit(tmp_path):
    message = b"From: a@b\r\n\r\n" + b"begin 644 x\n#0V%T\n`\nend\n" * 1003
    mime("extract", message, "--to", str(tmp_path), status=64)
    assert len(list(tmp_path.iterdir())) == 1000
    assert [d["name"] for d in json.loads(mime("show", message, "--json"))["defects"]].count("too-many-files") == 1


def test_pieces_are_joined(tmp_path):
    inner = b"Subject: whole\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" + b"a line of it\r\n" * 100
    outer = "From: a@b\r\nSubject: piece\r\nContent-Type: message/partial; id=\"i@b\"; number={}; total=3\r\n\r\n"
    files = []
    ends = [inner.index(b"\r\n", start) + 2 for start in (500, 900)]
    for number, (start, end) in enumerate([(0, ends[0]), (ends[0], ends[1]), (ends[1], None)], 1):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(outer.format(number).encode() + inner[start:end])
    join = [MARTLET, "mime", "join"]
    done = subprocess.run([*join, files[2], files[0], files[1]], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"From: a@b\r\n" + inner
    done = subprocess.run([*join, files[2], files[0]], capture_output=True, timeout=60)
    assert done.returncode != 0 and b"missing: [2]" in done.stderr

    # One from standard input, and what was joined into a file.
    command = [*join, files[2], "-", files[1], "--output", tmp_path / "whole", "--json"]
    done = subprocess.run(command, input=files[0].read_bytes(), capture_output=True, timeout=60, check=True)
    whole = b"From: a@b\r\n" + inner
    assert json.loads(done.stdout) == {
        "kind": "message", "pieces": 3, "path": str(tmp_path / "whole"), "octets": len(whole)
    }  # fmt: skip
    assert (tmp_path / "whole").read_bytes() == whole
    done = subprocess.run(command, input=files[0].read_bytes(), capture_output=True, timeout=60)
    assert done.returncode != 0 and b"exists" in done.stderr

    # All of them in an mbox.
    mbox = b"".join(b"From a@b Thu Jan  1 00:00:00 2026\n" + f.read_bytes().replace(b"\r\n", b"\n") + b"\n" for f in files)
    done = subprocess.run(join, input=mbox, capture_output=True, timeout=60, check=True)
    assert done.stdout == whole


def test_a_file_in_pieces_is_joined(tmp_path):
    octets = bytes(range(256)) * 4
    pieces = []
    for number, start in enumerate((0, 600), 1):
        piece = octets[start : start + 600]
        coded = b"".join(b"=%c" % ((o + 106) % 256) if (o + 42) % 256 in (0, 10, 13, 61) else b"%c" % ((o + 42) % 256) for o in piece)
        pieces.append(
            b"From: a@b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n=ybegin part=%d total=2 line=9999 size=1024 name=cat.bin\r\n"
            b"=ypart begin=%d end=%d\r\n%s\r\n=yend size=%d part=%d pcrc32=%08x crc32=%08x\r\n"
            % (number, start + 1, start + len(piece), coded, len(piece), number, zlib.crc32(piece), zlib.crc32(octets))
        )
    (tmp_path / "second").write_bytes(pieces[1])
    command = [MARTLET, "mime", "join", tmp_path / "second", "-", "--output", tmp_path / "file", "--json"]
    done = subprocess.run(command, input=pieces[0], capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {
        "kind": "file", "pieces": 2, "name": "cat.bin", "path": str(tmp_path / "file"), "octets": 1024
    }  # fmt: skip
    assert (tmp_path / "file").read_bytes() == octets


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
