"""martlet dkim, arc and auth, with dkimpy and OpenDKIM on the other side."""

import base64
import ctypes
import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import dkim
import dns.name
import dns.rdatatype
import dns.zone
import pytest
from instance import PROGRAMS
from key_server import KeyServer

MARTLET = PROGRAMS / "martlet"
DOMAIN = "example.org"
HEADER = (
    b"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: Is dinner ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341@example.org>\r\n"
)
MESSAGES = {
    "plain": HEADER + b"\r\nHi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n",
    "no body": HEADER + b"\r\n",
    "empty lines": HEADER + b"\r\n\r\n\r\nin between\r\n\r\n\r\n\r\n",
    "only empty lines": HEADER + b"\r\n\r\n\r\n",
    "white space": HEADER + b"\r\n  leading\r\n\ttab\t\tand  spaces  \r\n   \r\nlast \t \r\n \r\n",
    "no end": HEADER + b"\r\nthe last line has no end",
    "dots": HEADER + b"\r\n.\r\n..\r\n.end\r\n",
    "folded": b"From: Alice\r\n <alice@example.org>\r\nSubject:  many   \r\n\t  spaces \t\r\n  here  \r\n"
    b"X-Empty:\r\nto: bob@example.net\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700\r\n\r\ntext\r\n",
    "repeated": b"Received: by a\r\nReceived: by b\r\nComments: 1\r\nComments: 2\r\n" + HEADER + b"\r\ntext\r\n",
    "8 bit": HEADER.replace(b"Is dinner", "Ist das Nachtmahl für".encode()) + "\r\nGrüße\r\n".encode() + b"\xff\xfe\r\n",
    "long": HEADER + b"\r\n" + b"0123456789 " * 20_000 + b"\r\n" + b"line\r\n" * 30_000,
}
FORMS = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]
KINDS = ["rsa", "ed25519"]
# The algorithms differ in nothing that the messages differ in.
WITH_OPENDKIM = [("rsa", name) for name in MESSAGES] + [("ed25519", name) for name in ("plain", "white space", "8 bit")]


def martlet(*arguments, input: bytes = b"") -> subprocess.CompletedProcess:
    return subprocess.run([MARTLET, *map(str, arguments)], input=input, capture_output=True, timeout=60)


class Keys:
    """A key of each kind, and the zone that publishes them."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.zone = directory / "zone"
        lines = [
            "$TTL 300",
            f'{DOMAIN}. IN TXT "v=spf1 ip4:192.0.2.1 -all"',
            f'_dmarc.{DOMAIN}. IN TXT "v=DMARC1; p=reject"',
        ]
        for kind in KINDS:
            made = martlet("dkim", "keygen", "--domain", DOMAIN, "--selector", kind, "--type", kind, "--out", self.pem(kind))
            assert (made.returncode, made.stderr) == (0, b"")
            lines.append(made.stdout.decode().strip())
        self.zone.write_text("\n".join(lines) + "\n")
        self.records = dns.zone.from_text(self.zone.read_text(), origin=".", relativize=False, check_origin=False)

    def pem(self, kind: str) -> Path:
        return self.directory / f"{kind}.pem"

    def option(self, kind: str) -> list[str]:
        return ["--domain", DOMAIN, "--key", f"{kind}={self.pem(kind)}"]

    def private(self, kind: str) -> bytes:
        """As dkimpy wants it: PEM for RSA, the 32 secret octets in base64 for Ed25519."""
        pem = self.pem(kind).read_bytes()
        if kind == "rsa":
            return pem
        return base64.b64encode(base64.b64decode(b"".join(pem.splitlines()[1:-1]))[-32:])

    def text(self, name: bytes, timeout: int = 5) -> bytes | None:
        """dkimpy's lookup."""
        records = self.records.get_rdataset(dns.name.from_text(name.decode()), dns.rdatatype.TXT)
        return b"".join(records[0].strings) if records else None

    def verify(self, message: bytes, *options) -> list[dict]:
        done = martlet("dkim", "verify", "-", "--zone", self.zone, "--json", *options, input=message)
        assert done.returncode in (0, 1, 2), done.stderr
        outcomes = json.loads(done.stdout)
        assert (done.returncode == 0) == any(outcome["result"] == "pass" for outcome in outcomes)
        return outcomes

    def sign(self, message: bytes, kinds: list[str], *options) -> bytes:
        keys = [word for kind in kinds for word in ("--key", f"{kind}={self.pem(kind)}")]
        done = martlet("dkim", "sign", "-", "--domain", DOMAIN, *keys, *options, input=message)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.endswith(message)
        return done.stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


def results(outcomes: list[dict]) -> list[str]:
    return [outcome["result"] for outcome in outcomes]


def ends_in_line(message: bytes) -> bytes:
    return message if message.endswith(b"\r\n") else message + b"\r\n"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MESSAGES)
def test_dkimpy_verifies_what_we_sign(keys, name, form):
    header, body = form.split("/")
    message = ends_in_line(MESSAGES[name])
    signed = keys.sign(message, KINDS, "--header", header, "--body", body, "--identity", "alice@example.org")
    for index in range(2):
        assert dkim.DKIM(signed).verify(idx=index, dnsfunc=keys.text), (name, form, index)
    assert results(keys.verify(signed)) == ["pass", "pass"]
    broken = signed.replace(b"alice@", b"mallory@", 2)
    assert not dkim.verify(broken, dnsfunc=keys.text)
    assert results(keys.verify(broken)) != ["pass", "pass"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MESSAGES)
def test_we_verify_what_dkimpy_signs(keys, name, kind, form):
    message = ends_in_line(MESSAGES[name])
    field = dkim.sign(
        message,
        kind.encode(),
        DOMAIN.encode(),
        keys.private(kind),
        canonicalize=tuple(part.encode() for part in form.split("/")),
        signature_algorithm=f"{kind}-sha256".encode(),
    )
    outcomes = keys.verify(field + message)
    assert results(outcomes) == ["pass"], outcomes
    assert outcomes[0]["canonicalization"] == form
    changed = keys.verify(field + message.replace(b"From: ", b"From: Not ", 1))
    assert results(changed) == ["fail"], changed


@pytest.mark.parametrize("form", FORMS)
def test_line_ends(keys, form):
    header, body = form.split("/")
    message = MESSAGES["white space"].replace(b"\r\n", b"\n")
    signed = keys.sign(message, ["rsa"], "--header", header, "--body", body)
    assert b"\r" not in signed
    assert dkim.verify(signed, dnsfunc=keys.text)
    assert results(keys.verify(signed)) == ["pass"]
    assert results(keys.verify(signed.replace(b"\n", b"\r\n"))) == ["pass"]


def test_lines_that_are_no_fields(keys):
    """What some readers would show as the body of a signed message."""
    signed = keys.sign(MESSAGES["plain"], ["rsa"])
    for place in (b"DKIM-Signature:", b"From:", b"Subject:"):
        changed = signed.replace(place, b"Look at http\r\n" + place, 1)
        assert results(keys.verify(changed)) == ["permerror"]
        with pytest.raises(dkim.MessageFormatError):
            dkim.DKIM(changed).verify(dnsfunc=keys.text)
    mailbox = b"From alice Thu Jan  1 00:00:00 2026\r\n" + signed
    assert results(keys.verify(mailbox)) == ["pass"]


def in_network(keys: Keys, *command, input: bytes) -> subprocess.CompletedProcess:
    server = Path(__file__).with_name("key_server.py")
    return subprocess.run(
        [sys.executable, server, keys.zone, *map(str, command)], input=input, capture_output=True, timeout=90
    )


@pytest.mark.root
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind, name", WITH_OPENDKIM)
def test_opendkim_verifies_what_we_sign(keys, kind, name, form):
    header, body = form.split("/")
    signed = keys.sign(ends_in_line(MESSAGES[name]), [kind], "--header", header, "--body", body)
    tool = shutil.which("opendkim-testmsg") or "/usr/sbin/opendkim-testmsg"
    done = in_network(keys, tool, input=signed)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), (name, form)
    if name == "plain":
        broken = in_network(keys, tool, input=signed.replace(b"alice@", b"mallory@"))
        assert broken.returncode != 0


def sign_with_opendkim(keys: Keys, message: bytes, kind: str, header: str, body: str) -> bytes:
    """By its library: opendkim-testmsg knows only rsa-sha1."""
    forms = {"simple": 0, "relaxed": 1}
    algorithms = {"rsa": 1, "ed25519": 2}
    whole_body, fine = -1, 0
    library = ctypes.CDLL("libopendkim.so.11")
    library.dkim_init.restype = library.dkim_sign.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(library.dkim_init(None, None))
    status = ctypes.c_int(-1)
    signer = ctypes.c_void_p(
        library.dkim_sign(
            handle, b"id", None, keys.pem(kind).read_bytes(), kind.encode(), DOMAIN.encode(), forms[header], forms[body],
            algorithms[kind], ctypes.c_ssize_t(whole_body), ctypes.byref(status),
        )
    )  # fmt: skip
    assert status.value == fine
    assert library.dkim_chunk(signer, message, ctypes.c_size_t(len(message))) == fine
    assert library.dkim_chunk(signer, None, ctypes.c_size_t(0)) == fine
    assert library.dkim_eom(signer, None) == fine
    name = b"DKIM-Signature: "
    value, length = ctypes.c_void_p(), ctypes.c_size_t()
    got = library.dkim_getsighdr_d(signer, ctypes.c_size_t(len(name)), ctypes.byref(value), ctypes.byref(length))
    assert got == fine
    field = name + ctypes.string_at(value, length.value) + b"\r\n"
    library.dkim_free(signer)
    library.dkim_close(handle)
    return field


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind, name", WITH_OPENDKIM)
def test_we_verify_what_opendkim_signs(keys, kind, name, form):
    message = ends_in_line(MESSAGES[name])
    field = sign_with_opendkim(keys, message, kind, *form.split("/"))
    assert f"a={kind}-sha256".encode() in field
    outcomes = keys.verify(field + message)
    if (kind, form.split("/")[0]) == ("ed25519", "simple"):
        # OpenDKIM 2.11's own mistake, as dkimpy says too.
        assert not dkim.verify(field + message, dnsfunc=keys.text)
        assert results(outcomes) == ["fail"]
        return
    assert results(outcomes) == ["pass"], (field, outcomes)
    assert outcomes[0]["canonicalization"] == form


def test_sha1_is_no_longer_valid(keys):
    tool = shutil.which("opendkim-testmsg") or "/usr/sbin/opendkim-testmsg"
    command = [tool, "-C", "-d", DOMAIN, "-s", "rsa", "-k", keys.pem("rsa")]
    signed = subprocess.run(command, input=MESSAGES["plain"], capture_output=True, timeout=60)
    assert b"a=rsa-sha1" in signed.stdout
    assert results(keys.verify(signed.stdout)) == ["permerror"]


def seal_with_dkimpy(keys: Keys, message: bytes) -> bytes:
    # dkimpy takes the state of the chain from here.
    state = b"; arc=pass" if b"\r\nARC-Seal:" in message else b""
    fields = dkim.arc_sign(
        b"Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=example.org" + state + b"\r\n" + message,
        b"rsa",
        DOMAIN.encode(),
        keys.private("rsa"),
        b"mx.example.org",
        include_headers=[b"from", b"to", b"subject", b"date", b"message-id"],
    )
    assert len(fields) == 3
    return b"".join(fields) + message


def seal(keys: Keys, message: bytes, kind: str = "rsa", *options) -> bytes:
    done = martlet(
        "arc", "seal", "-", *keys.option(kind), "--zone", keys.zone, "--authserv-id", "mx.example.org",
        "--result", "spf=pass smtp.mailfrom=example.org", *options, input=message,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def chain(keys: Keys, message: bytes) -> dict:
    return json.loads(martlet("arc", "verify", "-", "--zone", keys.zone, "--json", input=message).stdout)


@pytest.mark.parametrize("name", ["plain", "white space", "repeated", "8 bit"])
def test_chains_of_both(keys, name):
    message = MESSAGES[name]
    for hop, ours in enumerate([True, False, True, False, False, True], 1):
        message = b"Received: by hop%d.example.org\r\n" % hop + message
        message = seal(keys, message) if ours else seal_with_dkimpy(keys, message)
        result, details, reason = dkim.arc_verify(message, dnsfunc=keys.text)
        assert result == dkim.CV_Pass, (hop, reason, details)
        outcome = chain(keys, message)
        assert (outcome["result"], outcome["sets"], outcome["oldestPass"]) == ("pass", hop, 0), outcome
    broken = message + b"A footer.\r\n"
    assert dkim.arc_verify(broken, dnsfunc=keys.text)[0] == dkim.CV_Fail
    assert chain(keys, broken)["result"] == "fail"
    ended = seal(keys, broken)
    assert b"cv=fail" in ended
    assert chain(keys, ended)["result"] == "fail"
    again = martlet("arc", "seal", "-", *keys.option("rsa"), "--zone", keys.zone, input=ended)
    assert again.returncode != 0 and again.stdout == b""


def test_ed25519_chains(keys):
    message = seal(keys, seal(keys, MESSAGES["plain"], "ed25519"), "rsa")
    assert chain(keys, message)["result"] == "pass"
    assert b"a=ed25519-sha256" in message


def test_keygen(keys, tmp_path):
    path = tmp_path / "key.pem"
    arguments = ["dkim", "keygen", "--domain", "example.net", "--selector", "s1", "--bits", "4096", "--out", path]
    done = martlet(*arguments, "--json")
    made = json.loads(done.stdout)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made["name"] == "s1._domainkey.example.net"
    assert made["record"].startswith("v=DKIM1; k=rsa; p=")
    records = dns.zone.from_text("$TTL 1\n" + made["masterFileLine"], origin=".", relativize=False, check_origin=False)
    strings = records.get_rdataset("s1._domainkey.example.net.", "TXT")[0].strings
    assert len(strings) > 1 and all(len(string) <= 255 for string in strings)
    assert b"".join(strings).decode() == made["record"]
    before = path.read_bytes()
    assert martlet(*arguments).returncode != 0
    assert path.read_bytes() == before
    for bad in (["--domain", "a..b"], ["--selector", "a b"], ["--bits", "512"]):
        command = ["dkim", "keygen", "--domain", "a.example", "--selector", "s", "--out", tmp_path / "other.pem", *bad]
        assert martlet(*command).returncode != 0
    assert not (tmp_path / "other.pem").exists()


def test_options_of_signatures(keys):
    message = MESSAGES["plain"]
    signed = keys.sign(
        message, ["rsa"], "--time", "1000000000", "--expires", "600", "--body-length", "10", "--copy-fields"
    )
    assert results(keys.verify(signed, "--time", "1000000100")) == ["pass"]
    assert results(keys.verify(signed)) == ["policy"]
    longer = keys.verify(signed + b"more\r\n", "--time", "1000000100")
    assert results(longer) == ["pass"] and longer[0]["unsignedOctets"] > 6
    changed = keys.verify(signed.replace(b"Subject: Is dinner", b"Subject: Is supper"), "--time", "1000000100")
    assert results(changed) == ["fail"] and changed[0]["changedFields"] == ["Subject"]
    assert dkim.DKIM(keys.sign(message, ["rsa"], "--body-length", "10")).verify(dnsfunc=keys.text)


def test_check_explains(keys):
    signed = keys.sign(MESSAGES["plain"], ["rsa"])
    client = ["--client-ip", "192.0.2.1", "--helo", "mail.example.org", "--mail-from", "alice@example.org"]
    done = martlet("auth", "check", "-", "--zone", keys.zone, *client, input=signed)
    text = done.stdout.decode()
    assert done.returncode == 0, text
    for part in ("SPF", "DKIM", "ARC", "DMARC", "ip4:192.0.2.1", "v=DMARC1; p=reject", "Authentication-Results: "):
        assert part in text
    assert "spf=pass" in text and "dkim=pass" in text and "dmarc=pass (p=reject dis=none)" in text

    # Nothing of it holds for another's message.
    other = ["--client-ip", "198.51.100.7", "--helo", "evil.example", "--mail-from", "alice@example.org"]
    broken = signed.replace(b"hungry", b"thirsty")
    done = martlet("auth", "check", "-", "--zone", keys.zone, "--json", *other, input=broken)
    outcome = json.loads(done.stdout)
    assert done.returncode == 1
    assert [spf["outcome"]["result"] for spf in outcome["spf"]] == ["none", "fail"]
    assert results(outcome["dkim"]) == ["fail"]
    assert (outcome["dmarc"]["result"], outcome["dmarc"]["disposition"]) == ("fail", "reject")
    assert re.search(r"dmarc=fail \(p=reject dis=reject\)", outcome["authenticationResults"])


def test_answers_from_a_server(keys):
    signed = keys.sign(MESSAGES["plain"], KINDS)
    with KeyServer(keys.zone.read_text()) as server:
        resolver = ["--resolver", f"127.0.0.1:{server.port}"]
        done = martlet("dkim", "verify", "-", *resolver, "--json", input=signed)
        assert results(json.loads(done.stdout)) == ["pass", "pass"]
        assert martlet("auth", "check", "-", *resolver, input=signed).returncode == 0
        unknown = martlet("dkim", "verify", "-", *resolver, "--json", input=signed.replace(b"s=rsa", b"s=none"))
        assert results(json.loads(unknown.stdout)) == ["permerror", "pass"]


def test_what_strangers_write_stays_on_its_line(keys):
    message = b"DKIM-Signature: v=1; a=rsa-\x1b[2Jsha256; d=example.org\r\n" + MESSAGES["plain"]
    done = martlet("dkim", "verify", "-", "--zone", keys.zone, input=message)
    assert done.returncode == 1
    assert b"\x1b" not in done.stdout
