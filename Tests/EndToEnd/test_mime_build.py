"""martlet mime build and text: Python's email package reads what is built."""

import email
import email.policy
import subprocess

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


def test_line_breaks_are_refused():
    done = martlet("build", "--from", "a@example.org", "--subject", "a\r\nBcc: b@example.org", check=False)
    assert done.returncode != 0 and done.stdout == b""
