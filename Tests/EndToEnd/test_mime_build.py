"""martlet mime build and text: Python's email package and mutt read what is built alike."""

import email
import email.policy
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from instance import PROGRAMS


def martlet(*arguments, check=True) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PROGRAMS / "martlet", "mime", *arguments], capture_output=True, timeout=60, check=check
    )


@pytest.fixture
def built(tmp_path):
    file = tmp_path / "Übersicht für alle.bin"
    file.write_bytes(bytes(range(256)) * 20)
    done = martlet(
        "build", "--from", "Jürgen Groß <j@example.org>", "--to", '"Doe, John" <john@example.org>, b@b.example',
        "--subject", "Grüße aus Köln " * 10, "--text", "Schöne Grüße\nFrom here\n", "--html", "<p>Sch&ouml;n</p>",
        "--attach", str(file),
    )
    return done.stdout, file


def test_python_reads_what_is_built(built):
    octets, file = built
    assert max(len(line) for line in octets.split(b"\r\n")) <= 78
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert message["Subject"] == ("Grüße aus Köln " * 10)
    assert message["From"].addresses[0].display_name == "Jürgen Groß"
    assert [(a.display_name, a.addr_spec) for a in message["To"].addresses] == [
        ("Doe, John", "john@example.org"),
        ("", "b@b.example"),
    ]
    assert message.get_body(("plain",)).get_content().replace("\r\n", "\n") == "Schöne Grüße\nFrom here\n"
    assert message.get_body(("html",)).get_content().strip() == "<p>Sch&ouml;n</p>"
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == file.name
    assert attachment.get_content() == file.read_bytes()
    assert not [part.defects for part in message.walk() if part.defects]


def test_text_shows_what_was_built(built, tmp_path):
    octets, file = built
    path = tmp_path / "message"
    path.write_bytes(octets)
    text = martlet("text", str(path)).stdout.decode()
    for wanted in ("From: Jürgen Groß <j@example.org>", "Schöne Grüße", "Schön\n", f"Attachment: {file.name}"):
        assert wanted in text


def test_what_was_built_is_told(tmp_path):
    path = tmp_path / "message"
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    command = ["build", "--from", "jörg@example.org", "--text", "Grüße", "--attach", str(tmp_path / "a.pdf")]
    told = json.loads(martlet(*command, "--output", str(path), "--json").stdout)
    assert (told["path"], told["octets"]) == (str(path), path.stat().st_size)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (told["needsUTF8"], told["needsEightBit"]) == (True, True)
    assert told["message"] == json.loads(martlet("show", str(path), "--json").stdout)
    assert [part["type"] for part in told["message"]["children"]] == ["text/plain", "application/pdf"]
    # What is there stays, and JSON isn't mixed with the message.
    assert martlet(*command, "--output", str(path), check=False).returncode != 0
    assert martlet(*command, "--json", check=False).returncode != 0


def test_line_breaks_are_refused():
    done = martlet("build", "--from", "a@example.org", "--subject", "a\r\nBcc: b@example.org", check=False)
    assert done.returncode != 0 and done.stdout == b""


def through_mutt(octets: bytes, directory: Path, keys: str) -> None:
    """Opens the message in mutt, on a terminal of its own, and types the keys."""
    mailbox = b"From a@example.org Thu Jan  1 00:00:00 2026\n" + octets.replace(b"\r\n", b"\n") + b"\n"
    (directory / "mbox").write_bytes(mailbox)
    settings = ["mbox_type=mbox", "copy=no", "quit=yes", "delete=no", "move=no", "wait_key=no", "pipe_decode=yes"]
    settings += [f'folder="{directory}"', "charset=utf-8", "reflow_wrap=0", "wrap=0", "save_empty=yes"]
    lines = [f"set {setting}" for setting in settings]
    lines += ["alternative_order text/plain text/html", f'push "{keys}"']
    (directory / "muttrc").write_text("\n".join(lines) + "\n")
    environment = {"PATH": os.environ["PATH"], "TERM": "vt100", "LC_ALL": "C.UTF-8", "HOME": str(directory)}
    ours, theirs = pty.openpty()
    command = ["mutt", "-n", "-F", str(directory / "muttrc"), "-f", str(directory / "mbox")]
    mutt = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True)
    os.close(theirs)
    try:
        while os.read(ours, 4096):
            pass
    except OSError:
        pass  # the terminal is closed when mutt ends
    finally:
        os.close(ours)
    assert mutt.wait(timeout=60) == 0


def test_mutt_reads_what_python_reads(built, tmp_path):
    octets, file = built
    shown, saved = tmp_path / "shown", tmp_path / "saved"
    keys = f"<pipe-message>cat > {shown}<enter><view-attachments><last-entry><save-entry><kill-line>{saved}<enter>"
    through_mutt(octets, tmp_path, keys + "<exit><exit>")
    message = email.message_from_bytes(octets, policy=email.policy.default)
    read = shown.read_text()
    header, _, body = read.partition("\n\n")
    fields = email.message_from_string(header + "\n\n", policy=email.policy.default)
    assert "".join(fields["Subject"].split()) == "".join(message["Subject"].split())
    assert [a.display_name for a in fields["From"].addresses] == [a.display_name for a in message["From"].addresses]
    assert [a.addr_spec for a in fields["To"].addresses] == [a.addr_spec for a in message["To"].addresses]
    text = message.get_body(("plain",)).get_content().replace("\r\n", "\n")
    assert text.strip() in body
    (attachment,) = message.iter_attachments()
    assert saved.read_bytes() == attachment.get_content() == file.read_bytes()


def test_mutt_reads_the_html_and_its_encoding(tmp_path):
    html = "<p>" + "Grüße, naïve ☃ " * 40 + "</p>\n.\nFrom here\n"
    octets = martlet("build", "--from", "a@example.org", "--html", html, "--attach", __file__).stdout
    saved = tmp_path / "saved"
    through_mutt(octets, tmp_path, f"<view-attachments><save-entry><kill-line>{saved}<enter><exit><exit>")
    message = email.message_from_bytes(octets, policy=email.policy.default)
    part = message.get_body(("html",))
    assert saved.read_bytes().replace(b"\r\n", b"\n") == part.get_payload(decode=True).replace(b"\r\n", b"\n") == html.encode()


def test_text_from_files_and_standard_input(tmp_path):
    (tmp_path / "page").write_text("<b>bold</b>")
    command = ["build", "--from", "a@example.org", "--text-file", "-", "--html-file", str(tmp_path / "page")]
    done = subprocess.run(
        [PROGRAMS / "martlet", "mime", *command], input="Grüße\n".encode(), capture_output=True, timeout=60, check=True
    )
    message = email.message_from_bytes(done.stdout, policy=email.policy.default)
    assert message.get_content_type() == "multipart/alternative"
    assert message.get_body(("plain",)).get_content().strip() == "Grüße"
    assert message.get_body(("html",)).get_content().strip() == "<b>bold</b>"
    assert martlet("build", "--from", "a@example.org", "--text", "x", "--text-file", "-", check=False).returncode != 0
