"""Lines that SMTP doesn't carry, on their way to another host: Python's parser and dkimpy say what has become of them."""

import email
import email.policy
import subprocess

import dkim
import mail
import pytest
from conftest import BOB

LONG = "0123456789" * 500
WORDS = " ".join(f"word{number}" for number in range(700))
SENDER, RECIPIENT = BOB, "x@example.net"


def relay(system, sink, text: str) -> bytes:
    """Sends a message to the other host; what arrives there, without a line that is too long."""
    token = mail.token()
    octets = f"X-Test: {token}\nFrom: {SENDER}\n{text}".replace("\n", "\r\n").encode()
    with mail.submission(system, SENDER) as client:
        client.sendmail(SENDER, [RECIPIENT], octets, ["BODY=8BITMIME"])
    arrived = sink.wait_for(token).octets
    assert max(len(line) for line in arrived.split(b"\r\n")) <= 998
    return arrived


def parse(octets: bytes):
    return email.message_from_bytes(octets, policy=email.policy.SMTP.clone(refold_source="none"))


MIXED = f"""\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Subject: mixed

{LONG}
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

.ä
{LONG} ü=
From here
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p>{"=C3=A4b" * 800}</p>
--b
Content-Type: application/octet-stream; name=x
Content-Transfer-Encoding: base64

{"QUJD" * 1000}
--b
Content-Type: text/plain

short
--b
Content-Type: message/rfc822

Subject: within

{LONG}
--b--
"""


def leaves(message) -> list[bytes]:
    return [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]


@pytest.mark.parametrize("lines", [0, 100_000])
def test_what_the_parts_say_stays(system, sink, lines):
    text = MIXED.replace("short\n", "short\n" + "line\n" * lines)
    arrived = parse(relay(system, sink, text))
    sent = parse(text.replace("\n", "\r\n").encode())
    # Behind the last line of base64, a line end is none of the content.
    assert leaves(arrived) == leaves(sent)
    encodings = [part["Content-Transfer-Encoding"] for part in arrived.walk()]
    assert encodings == [None, "quoted-printable", "quoted-printable", "base64", None, None, "quoted-printable"]


def test_what_the_header_says_stays(system, sink):
    addresses = ",".join(f'"a, b {number}"<a{number}@example.net>' for number in range(200))
    identifiers = "".join(f"<{number}.x@example.net>" for number in range(200))
    text = f"Subject: Re: {LONG}\nTo: {addresses}\nReferences: {identifiers}\nComments: {WORDS}\nX-Token: {LONG}\n\nbody\n"
    arrived = parse(relay(system, sink, text))
    assert arrived["Subject"] == f"Re: {LONG}"
    assert [(one.display_name, one.addr_spec) for one in arrived["To"].addresses] == [
        (f"a, b {number}", f"a{number}@example.net") for number in range(200)
    ]
    assert "".join(arrived["References"].split()) == identifiers
    assert " ".join(arrived["Comments"].split()) == WORDS
    assert "".join(arrived["X-Token"].split()) == LONG
    assert arrived.get_payload() == "body\r\n"


def test_a_fold_keeps_a_dkim_signature(system, sink, tmp_path):
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout"], check=True, capture_output=True, text=True).stdout
    record = "v=DKIM1; p=" + "".join(public.splitlines()[1:-1])
    text = f"From: {SENDER}\nSubject: {WORDS}\n\nbody\n".replace("\n", "\r\n").encode()
    options = {"canonicalize": (b"relaxed", b"relaxed"), "include_headers": [b"from", b"subject"]}
    signature = dkim.sign(text, b"s", b"example.test", key.read_bytes(), **options)
    signed = signature.decode().replace("\r\n", "\n") + f"Subject: {WORDS}\n\nbody\n"
    arrived = relay(system, sink, signed)
    assert dkim.verify(arrived, dnsfunc=lambda name, timeout=5: record.encode())
    mail.wait_for_log(system, "remote-relay", "dkim=kept")


def test_signed_parts_come_back(system, sink):
    token = mail.token()
    text = f"""\
From: {SENDER}
Subject: {token}
MIME-Version: 1.0
Content-Type: multipart/signed; boundary=b; protocol="application/pgp-signature"; micalg=pgp-sha256

--b

{LONG}
--b
Content-Type: application/pgp-signature

not looked at
--b--
"""
    with mail.submission(system, SENDER) as client:
        client.sendmail(SENDER, [RECIPIENT], text.replace("\n", "\r\n").encode())
    report = mail.wait_for(system, SENDER, token)
    assert report.get_content_type() == "multipart/report"
    assert "5.6.2" in report.as_string() and "signed part" in report.as_string()
    assert not sink.find(token)
