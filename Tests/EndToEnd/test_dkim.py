"""Mail is signed on its way out, with keys that keyd alone has: dkimpy, OpenDKIM and rspamd verify what arrives."""

import json
import re
import shutil
import smtplib
import subprocess
import sys
import time
from pathlib import Path

import configuration
import dkim
import dns.resolver
import layout
import pytest
from conftest import ALICE, temporary_directory
from instance import PROGRAMS
from mail import queue, receive, smtp, submission, token, wait_until
from milters import RspamdScanner
from sink import Sink

DOMAIN = "example.test"
OUTSIDE = "x@example.net"
ZONE = "$TTL 60\n@ SOA ns.ns.test. root.ns.test. 1 60 60 60 60\n@ NS ns.ns.test.\n@ MX 10 mail\nmail A 127.0.0.1\n"


@pytest.fixture(scope="module")
def host():
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def instance(module_factory, host):
    """Mail for everybody else goes to one host; resolverd has our zone, and takes updates for it."""
    changes = {
        "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
        "srs": {"domain": DOMAIN},
        "remote-relay": {"routes": {"*": f"127.0.0.1:{host.port}"}},
        "resolverd": {
            "keys": {"owner.": "etc/dns-keys/owner"},
            "zones": {DOMAIN: {"file": f"dns/{DOMAIN}", "update": ["key owner. zone"]}},
        },
    }
    instance = module_factory(changes, start=False)
    (instance.directory / "etc" / "dns-keys").mkdir()
    instance.write(instance.directory / "etc" / "dns-keys" / "owner", "hmac-sha256 " + "A" * 43 + "=\n", 0o600)
    zone = instance.directory / "dns" / DOMAIN
    instance.write(zone, ZONE, 0o600)
    if layout.is_root():
        layout.own(zone, "mlt-dns", 0o600)
    instance.write(instance.directory / "etc" / "aliases", f"away: {OUTSIDE}\n")
    instance.write(instance.directory / "etc" / "srs.secrets", "not for strangers\n", 0o600)
    instance.start()
    return instance


def dkim_command(instance, *arguments: str, check: bool = True):
    done = instance.martlet("dkim", *arguments, "--json", check=check)
    return json.loads(done.stdout)


def keys_of(instance, state: str) -> list[dict]:
    return [key for key in dkim_command(instance, "list", "--domain", DOMAIN) if key["state"] == state]


def relay(instance, host, octets: bytes | None = None, sender: str = ALICE, recipients=(OUTSIDE,)) -> bytes:
    """Sends a message by submission; what the other host gets."""
    word = token()
    octets = octets or b"From: " + sender.encode() + b"\r\nSubject: x\r\n\r\nhello\r\n"
    with submission(instance, sender) as client:
        client.sendmail(sender, list(recipients), f"X-Test: {word}\r\n".encode() + octets, ["BODY=8BITMIME"])
    return host.wait_for(word).octets


def wait_for_keyd(instance) -> None:
    """keyd looks at its files every half second."""
    time.sleep(1.2)


def sendmail(instance, *arguments: str, text: str) -> None:
    environment = {"MARTLET_INSTANCE": str(instance.directory), "PATH": "/usr/bin:/bin"}
    subprocess.run([PROGRAMS / "sendmail", *arguments], input=text, text=True, check=True, timeout=60, env=environment)


@pytest.fixture(scope="module")
def keys(instance, host):
    """From nothing: keys are made, their records are published, they sign."""
    assert "DKIM-Signature" not in relay(instance, host).decode()
    made = dkim_command(instance, "keygen", "--domain", DOMAIN)
    assert [key["algorithm"] for key in made] == ["ed25519-sha256", "rsa-sha256"]
    assert {(key["state"], key["zone"]) for key in made} == {("published", f"{DOMAIN}.")}
    assert {key["dns"] for key in keys_of(instance, "published")} == {"right"}
    wait_for_keyd(instance)
    assert "DKIM-Signature" not in relay(instance, host).decode()
    assert instance.martlet("dkim", "rotate", "--domain", DOMAIN).stdout.count(" active ") == 2
    wait_for_keyd(instance)
    return {f"{key['selector']}._domainkey.{DOMAIN}.": key["record"] for key in keys_of(instance, "active")}


def lookup(keys: dict):
    return lambda name, timeout=5: keys.get(name.decode().lower(), "").encode() or None


def signatures(octets: bytes) -> list[str]:
    """The selectors that signed, from the top."""
    header = octets.split(b"\r\n\r\n")[0].decode("latin-1")
    return re.findall(rf"^DKIM-Signature:[^;]*;[^:]*?d={DOMAIN};\s+s=([\w-]+);", header, re.M)


def verify(octets: bytes, keys: dict) -> list[str]:
    """The selectors whose signatures dkimpy takes for right; there must be no other signatures."""
    selectors = signatures(octets)
    assert octets.split(b"\r\n\r\n")[0].count(b"DKIM-Signature:") == len(selectors)
    for place in range(len(selectors)):
        assert dkim.DKIM(octets).verify(idx=place, dnsfunc=lookup(keys)), (place, octets[:2000])
    return selectors


@pytest.fixture(scope="module")
def scanner(instance, keys):
    base = temporary_directory()
    base.chmod(0o755)
    rspamd = RspamdScanner(base / "rspamd", configuration.free_port(), instance.ports["dns"])
    rspamd.start()
    rspamd.wait_until_ready()
    yield rspamd
    rspamd.stop()
    shutil.rmtree(base)


HEADER = f"From: Älice <{ALICE}>\r\nTo: {OUTSIDE}\r\nSubject:  a   b \r\n\tc\r\n".encode()
MESSAGES = {
    "plain": HEADER + b"\r\nhello\r\n.\r\n..\r\n \t\r\n\r\n\r\n",
    "8 bit": HEADER + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n".encode(),
    "long lines": HEADER + b"Content-Type: text/plain\r\nX-Long: " + b"word " * 300 + b"\r\n\r\n" + b"0123456789 " * 300 + b"\r\n",
    "late long line": HEADER + b"\r\n" + b"0123456789\r\n" * 30_000 + b"word " * 1000 + b"\r\n",
    "5 MiB": HEADER + b"\r\n" + (b"0123456789" * 7 + b"\r\n") * (5 * 1024 * 1024 // 72),
}


@pytest.mark.root
@pytest.mark.parametrize("name", MESSAGES)
def test_everybody_verifies(instance, host, keys, scanner, name, tmp_path):
    arrived = relay(instance, host, MESSAGES[name])
    assert [selector[0] for selector in verify(arrived, keys)] == ["e", "r"]
    zone = tmp_path / "zone"
    records = {owner: " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250)) for owner, text in keys.items()}
    zone.write_text("$TTL 60\n" + "".join(f"{owner} IN TXT {text}\n" for owner, text in records.items()))
    server = Path(__file__).with_name("key_server.py")
    tool = shutil.which("opendkim-testmsg") or "/usr/sbin/opendkim-testmsg"
    done = subprocess.run([sys.executable, server, zone, tool], input=arrived, capture_output=True, timeout=90)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    symbols = scanner.symbols(arrived)
    assert "R_DKIM_ALLOW" in symbols and not {"R_DKIM_REJECT", "R_DKIM_TEMPFAIL", "R_DKIM_PERMFAIL"} & set(symbols), symbols


def test_one_signature_is_for_all_destinations(instance, host, keys):
    recipients = [f"user{number}@d{number % 10}.example.net" for number in range(40)]
    word = token()
    with submission(instance, ALICE) as client:
        client.sendmail(ALICE, recipients, f"From: {ALICE}\r\nSubject: {word}\r\n\r\nhello\r\n".encode())
    wait_until(lambda: sum(len(message.recipients) for message in host.find(word)) == 40, what="40 recipients")
    arrived = host.find(word)
    assert len(arrived) == 10
    for message in arrived:
        assert verify(message.octets, keys)

    def lines(*words: str) -> list[str]:
        log = instance.supervisor.log_text("remote-relay").splitlines()
        return [line for line in log if all(word in line for word in words)]

    relayed = wait_until(lambda: lines("user39@"), what="a line of the log")
    queue_id = re.search(r"\bid=(\w+)", relayed[-1])[1]
    signed = wait_until(lambda: lines(f"id={queue_id}", "message signed"), what="a line of the log")
    assert len(signed) == 1 and f"domain={DOMAIN}" in signed[0] and len(re.findall(r"[er]\d{8}", signed[0])) == 2


def test_without_keyd_mail_waits(instance, host, keys):
    word = token()
    instance.supervisor.down("keyd")
    sendmail(instance, "-f", ALICE, OUTSIDE, text=f"From: {ALICE}\nSubject: {word}\n\nhello\n")
    wait_until(lambda: any("can't be signed now: keyd" in json.dumps(entry) for entry in queue(instance)), what="a deferral")
    assert not host.find(word)
    instance.supervisor.up("keyd")
    assert verify(host.wait_for(word).octets, keys)
    assert "message not signed: it waits" in instance.supervisor.log_text("remote-relay")


def test_what_is_made_here_is_signed(instance, host, keys):
    """A report goes to the sender outside, from the name of this host, by the keys of the domain above."""
    host.replies["refused"] = "550 5.1.1 nobody"
    sendmail(instance, "-f", "boss@example.net", "refused@example.net", text=f"From: {ALICE}\nSubject: x\n\nhello\n")
    report = host.wait_for("Diagnostic-Code").octets
    assert b"From: Mail delivery system <MAILER-DAEMON@mail.example.test>" in report
    assert verify(report, keys)


def test_strangers_mail_is_sealed_and_ours_is_signed(instance, host, keys):
    sent = receive(instance, f"away@{DOMAIN}", "someone@example.org")
    arrived = host.wait_for(sent).octets
    assert signatures(arrived) == []
    result, results, reason = dkim.ARC(arrived).verify(dnsfunc=lookup(keys))
    assert result == dkim.CV_Pass, (reason, results, arrived)
    assert b"ARC-Authentication-Results: i=1; mail.example.test;" in arrived
    # Our own user's, over the same alias.
    arrived = relay(instance, host, recipients=[f"away@{DOMAIN}"])
    assert b"Delivered-To: away@" in arrived
    assert verify(arrived, keys) and b"ARC-Seal" not in arrived


def test_bounces_of_forwarded_mail_come_back(instance, host):
    sent = receive(instance, f"away@{DOMAIN}", "someone@example.org")
    sender = host.wait_for(sent).sender
    assert re.fullmatch(rf"SRS0=[^=]+=[A-Z2-7]{{2}}=example\.org=someone@{DOMAIN}", sender)
    word = token()
    with smtp(instance) as client:
        client.sendmail("", [sender], f"From: <>\r\nSubject: {word}\r\n\r\nnot delivered\r\n")
    bounce = host.wait_for(word)
    assert (bounce.sender, bounce.recipients) == ("", ["someone@example.org"])
    with smtp(instance) as client, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        client.sendmail("", [sender.replace("someone", "other")], "x")
    assert list(refused.value.recipients.values())[0][0] == 550
    # Ours stay as they are.
    word = token()
    with submission(instance, ALICE) as client:
        client.sendmail(ALICE, [f"away@{DOMAIN}"], f"From: {ALICE}\r\nSubject: {word}\r\n\r\nx\r\n")
    assert host.wait_for(word).sender == ALICE


def check(instance) -> list[dict]:
    found = json.loads(instance.martlet("check", "--json", check=False).stdout)
    return [finding for finding in found if finding["subject"] == "dkim"]


def test_keys_take_turns(instance, host, keys):
    old = keys_of(instance, "active")
    assert {finding["grade"] for finding in check(instance)} == {"fine"}
    made = dkim_command(instance, "rotate", "--domain", DOMAIN)
    assert {key["state"] for key in made} == {"published"} and not {key["selector"] for key in made} & {key["selector"] for key in old}
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], instance.ports["dns"]
    for key in made:
        answer = resolver.resolve(key["name"], "TXT")
        assert b"".join(answer[0].strings).decode() == key["record"]
    assert {key["state"] for key in dkim_command(instance, "rotate", "--domain", DOMAIN)} == {"active", "retiring"}
    wait_for_keyd(instance)
    new = {f"{key['selector']}._domainkey.{DOMAIN}.": key["record"] for key in made}
    assert sorted(verify(relay(instance, host), new)) == sorted(key["selector"] for key in made)
    # What was signed before can still be verified for a week.
    assert dkim_command(instance, "retire", "--domain", DOMAIN) == []
    assert all(resolver.resolve(key["name"], "TXT") for key in old)
    gone = dkim_command(instance, "retire", "--domain", DOMAIN, "--force")
    assert {(key["state"], key.get("zone")) for key in gone} == {("retired", f"{DOMAIN}.")}
    for key in old:
        with pytest.raises(dns.resolver.NXDOMAIN):
            resolver.resolve(key["name"], "TXT")
        assert not (instance.directory / "etc" / "dkim" / DOMAIN / f"{key['selector']}.pem").exists()
    assert instance.martlet("dkim", "retire", "--domain", DOMAIN, made[0]["selector"]).returncode == 0
    last = instance.martlet("dkim", "retire", "--domain", DOMAIN, made[1]["selector"], check=False)
    assert last.returncode != 0 and "the last key that signs" in last.stderr


def test_check_compares_the_dns(instance, keys):
    active = keys_of(instance, "active")[0]
    directory = instance.directory / "etc" / "dkim" / DOMAIN
    files = {path.name: path.stat() for path in directory.iterdir()}
    assert {status.st_mode & 0o777 for status in files.values()} == {0o640}
    if layout.is_root():
        assert {status.st_uid for status in files.values()} == {0}
    # Another key under the same name.
    other = dkim_command(instance, "keygen", "--domain", DOMAIN, "--type", active["algorithm"].split("-")[0], "--selector", "other")[0]
    (directory / f"{active['selector']}.pem").write_bytes((directory / f"{other['selector']}.pem").read_bytes())
    wrong = [finding for finding in check(instance) if finding["grade"] == "wrong"]
    assert len(wrong) == 1 and f"{active['selector']}._domainkey.{DOMAIN} is another key" in wrong[0]["text"]
    (directory / f"{active['selector']}.pem").unlink()
    wrong = [finding for finding in check(instance) if finding["grade"] == "wrong"]
    assert len(wrong) == 1 and f"mail of {DOMAIN} waits" in wrong[0]["text"]
