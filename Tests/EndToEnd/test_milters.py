"""Milters beside smtpd: a scripted one behind a Unix socket, libmilter, OpenDKIM, ClamAV and rspamd over TCP."""

import base64
import smtplib
import time

import configuration
import dkim
import pytest
from conftest import ALICE, BOB
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from mail import compose, find, queue, read, submission, wait_for, wait_for_log, wait_until
from milters import SIGNATURE, ClamAV, Libmilter, OpenDKIM, Rspamd, ScriptedMilter

STRANGER = "127.0.4.1"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@pytest.fixture(scope="module")
def key():
    """A private key in PEM, and its record."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


@pytest.fixture(scope="module")
def programs(module_factory, key):
    """The milters of other people, their ports known."""
    base = module_factory.base
    nameserver = configuration.free_port()
    ports = [configuration.free_port() for _ in range(4)]
    made = {
        "libmilter": Libmilter(base / "libmilter", ports[0]),
        "opendkim": OpenDKIM(base / "opendkim", ports[1], nameserver, "example.test", key[0]),
        "clamav": ClamAV(base / "clamav", ports[2]),
        "rspamd": Rspamd(base / "rspamd", ports[3], nameserver),
    }
    base.chmod(0o755)
    try:
        for program in made.values():
            program.start()
        yield nameserver, made
    finally:
        for program in made.values():
            program.stop()


@pytest.fixture(scope="module")
def instance(module_factory, programs, key):
    nameserver, made = programs
    milters = {
        "scripted": {
            "socket": "run/scripted.sock", "listeners": ["smtp"], "command-timeout": "1s", "message-timeout": "1s"
        },
    }
    milters |= {
        name: {"socket": f"127.0.0.1:{program.port}", "listeners": ["smtp"], "on-failure": "reject"}
        for name, program in made.items()
    }
    milters["opendkim"]["listeners"] = ["smtp", "submission"]
    changes = {
        "smtpd": {"milters": milters},
        "resolverd": {"listen": [f"127.0.0.1:{nameserver}"], "zones": {"partner.test": "etc/zones/partner.test"}},
    }
    instance = module_factory(changes, start=False)
    record = " ".join(f'"{key[1][at : at + 200]}"' for at in range(0, len(key[1]), 200))
    instance.write(
        instance.directory / "etc" / "zones" / "partner.test",
        "$TTL 60\n@ SOA ns.ns.test. root.ns.test. 1 60 60 60 60\n@ NS ns.ns.test.\n"
        f'@ TXT "v=spf1 ip4:{STRANGER} -all"\nkey._domainkey TXT {record}\n',
    )
    instance.start()
    for program in made.values():
        program.wait_until_ready()
    return instance


@pytest.fixture
def scripted(instance):
    milter = ScriptedMilter(instance.directory / "run" / "scripted.sock")
    yield milter
    milter.close()


def octets(message) -> bytes:
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


def send(instance, sender, message=None, recipient=ALICE):
    """Hands in a message from outside; returns it."""
    message = message if message is not None else compose(sender, recipient)
    port = instance.ports["smtp"]
    with smtplib.SMTP("127.0.0.1", port, "out.partner.test", timeout=60, source_address=(STRANGER, 0)) as client:
        client.sendmail(sender, [recipient], message if isinstance(message, bytes) else octets(message))
    return message


def refusal(instance, *arguments, **options):
    with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPSenderRefused)) as refused:
        send(instance, *arguments, **options)
    error = refused.value
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((code, text),) = error.recipients.values()
        return code, text.decode()
    return error.smtp_code, error.smtp_error.decode()


def test_everyone_looks_at_mail(instance, scripted):
    """Five milters in a row, the first of which sees what we found and the last what all have added."""
    message = compose("usual@partner.test", ALICE)
    signature = dkim.sign(octets(message), b"key", b"partner.test", open(instance.directory.parent / "opendkim" / "private.pem", "rb").read())
    token = message["Subject"]
    send(instance, "usual@partner.test", signature + octets(message))
    got = wait_for(instance, ALICE, token)
    heard = [code for code, _ in scripted.heard if code != "D"]
    assert "".join(heard).startswith("OCHMRT") and heard.count("E") == 1
    names = [payload.split(b"\0")[0].decode() for code, payload in scripted.heard if code == "L"]
    assert names[:3] == ["Authentication-Results", "Received-SPF", "DKIM-Signature"]
    # libmilter understood all of it.
    said = got["X-Libmilter"].split("; ")
    assert said[0] == f"[{STRANGER}]" and said[1] == "out.partner.test"
    assert said[2:4] == ["<usual@partner.test>", f"<{ALICE}>"]
    assert said[4].split()[:3] == names[:3] and "Received" not in said[4].split()
    assert said[6] in got["Received"] and said[7:] == ["mail.example.test", STRANGER, "usual@partner.test", "smtp"]
    results = got.get_all("Authentication-Results")
    assert any("opendkim.test" in field and "dkim=pass" in field for field in results), results
    assert any("mail.example.test" in field and "dkim=pass" in field and "spf=pass" in field for field in results), results
    assert got["X-Virus-Status"] == "Clean"


def test_changes_are_made(instance, scripted):
    message = compose("change@partner.test", ALICE)
    message["X-Change"] = "one"
    message["X-Change"] = "two"
    send(instance, "change+x@partner.test", message)
    token = message["Subject"]
    raw = wait_until(lambda: find(instance, ALICE, token))[0]
    got = read(raw)
    assert got.get_all("X-Change") == ["changed"]
    assert got["X-Added"] == "last\tfolded"
    assert raw.index(b"X-Top: first") < raw.index(b"\nReceived: from")
    assert got.get_payload() == "Another body,\nin two pieces\n"


def test_envelope_is_changed(instance, scripted):
    token = send(instance, "envelope+x@partner.test")["Subject"]
    got = wait_for(instance, BOB, token)
    assert got["Return-Path"] == "<changed@partner.test>"
    assert not find(instance, ALICE, token)


def test_quarantine(instance, scripted):
    token = send(instance, "quarantine+x@partner.test")["Subject"]
    wait_for_log(instance, "smtpd", "message held by a milter")
    (entry,) = wait_until(lambda: queue(instance))
    assert entry["state"] == "held", entry
    assert not find(instance, ALICE, token)
    instance.martlet("queue", "release", entry["id"])
    wait_for(instance, ALICE, token)


def test_nobody_is_left(instance, scripted):
    token = send(instance, "lone+x@partner.test")["Subject"]
    wait_for_log(instance, "smtpd", "message discarded")
    assert not find(instance, ALICE, token) and not queue(instance)


def test_libmilter_changes_and_refuses(instance, scripted):
    message = compose("libmilter@partner.test", ALICE)
    token = message["Message-ID"]
    send(instance, "libmilter+x@partner.test", message)
    for recipient in (ALICE, BOB):
        got = wait_for(instance, recipient, token)
        assert got["Subject"] == "changed by libmilter"
        assert got["Return-Path"] == "<other@partner.test>"
        assert got["X-Second"] == "below Received"
        assert got.get_payload() == "libmilter was here\n"
    instance.add_alias("refused: alice")
    wait_until(lambda: refusal(instance, "usual@partner.test", recipient="refused@example.test")[1].count("libmilter"))
    assert refusal(instance, "usual@partner.test", recipient="refused@example.test") == (550, "5.7.1 not\n5.7.1 by libmilter 100%")


def test_virus_and_spam(instance, scripted):
    message = compose("usual@partner.test", ALICE, body=f"{SIGNATURE.decode()}\n")
    assert refusal(instance, "usual@partner.test", message) == (550, "5.7.1 infected with Martlet.Test.UNOFFICIAL")
    message = compose("usual@partner.test", ALICE, body=f"{GTUBE}\n")
    code, words = refusal(instance, "usual@partner.test", message)
    assert code in (550, 554) and "GTUBE" in words.upper()
    wait_for_log(instance, "smtpd", "milter rspamd: ")


def test_opendkim_signs_what_is_delivered(instance, scripted, key):
    """With simple canonicalization, the signature holds only if the milter saw each octet as it was delivered."""
    message = compose(ALICE, BOB)
    message["X-Odd"] = "  two  blanks\t and a tab"
    with submission(instance, ALICE) as client:
        client.send_message(message)
    raw = wait_until(lambda: find(instance, BOB, message["Subject"]))[0].replace(b"\n", b"\r\n")
    assert b"d=example.test" in raw
    assert dkim.verify(raw, dnsfunc=lambda name, timeout=5: key[1].encode())


@pytest.mark.parametrize("stage", ["M", "R", "L", "E"])
def test_dying(instance, scripted, stage):
    """The client is told to come again, and the next message goes through."""
    for manner in ("hang", "garbage", "half", "close"):
        start = time.monotonic()
        code, words = refusal(instance, f"die-at-{stage}-{manner}+x@partner.test")
        assert (code, words[:5]) == (451, "4.7.1"), (stage, manner)
        assert time.monotonic() - start < 4
    token = send(instance, "usual@partner.test")["Subject"]
    wait_for(instance, ALICE, token)
    assert not queue(instance)


def test_milter_that_is_away(instance):
    """Nobody listens at the first one: mail waits with the client."""
    code, words = refusal(instance, "usual@partner.test")
    assert (code, words[:5]) == (451, "4.7.1")
    wait_for_log(instance, "smtpd", "milter failed")


def test_faulty_settings(make_instance):
    instance = make_instance(users=(), start=False)
    for settings, words in [
        ({"socket": "/run/x.sock"}, "must be a short path in run/"),
        ({"socket": "localhost:1"}, "neither an address with a port"),
        ({"socket": "127.0.0.1:1", "on-failure": "hope"}, "must be one of accept, defer, reject"),
        ({"socket": "127.0.0.1:1", "listeners": ["pop3"]}, '"pop3" is none of'),
        ({"socket": "127.0.0.1:1", "sockett": "x"}, "unknown key"),
        ({"listeners": ["smtp"]}, "is missing"),
    ]:
        instance.configure({"smtpd": {"milters": None}})
        instance.configure({"smtpd": {"milters": {"bad": settings}}})
        done = instance.martlet("check", check=False)
        assert done.returncode != 0 and words in done.stdout + done.stderr, done.stdout + done.stderr
        assert "martlet.toml:" in done.stdout + done.stderr
