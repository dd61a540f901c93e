"""TLS of the servers, whose private keys are keyd's: renewal, several certificates, keyd away, and where the keys are not."""

import imaplib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import configuration
import layout
import pytest
from conftest import ALICE
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import ocsp
from mail import find, receive, trust, wait_for_log, wait_until
from troubles import NO_FRAME, hanging, replaced

# Where TLS begins with the first octet.
IMPLICIT = ("submissions", "imaps", "pop3s")
SERVERS = ("smtpd", "imapd", "pop3d", "resolverd")


def openssl(*words, input: bytes = b"") -> str:
    done = subprocess.run(["openssl", *map(str, words)], input=input, capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode(errors="replace")


def make_pair(directory: Path, name: str, kind: str, *hosts: str, days: int = 30) -> tuple[Path, Path]:
    """A new key and a self-signed certificate, as NAME.pem and NAME.key."""
    algorithm = {
        "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        "rsa": ["rsa:2048"],
        "ed25519": ["ed25519"],
    }[kind]
    pem, key = directory / f"{name}.pem", directory / f"{name}.key"
    words = ["req", "-x509", "-nodes", "-days", days, "-subj", f"/CN={hosts[0]}", "-keyout", key, "-out", pem]
    openssl(*words, "-newkey", *algorithm, "-addext", "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts))
    return pem, key


def write_response(directory: Path, name: str, **times) -> bytes:
    """What the authority of a self-signed certificate, itself, says of it, as NAME.ocsp."""
    certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
    key = load_pem_private_key((directory / f"{name}.key").read_bytes(), None)
    now = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
    response = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=certificate,
            issuer=certificate,
            algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now - timedelta(hours=1),
            next_update=now + timedelta(**times),
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
        .sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())
    )
    octets = response.public_bytes(Encoding.DER)
    place = directory / f"{name}.new"
    place.write_bytes(octets)
    place.chmod(0o644)
    place.rename(directory / f"{name}.ocsp")
    return octets


@pytest.fixture(scope="module")
def ports():
    return {"dot": configuration.free_port()}


@pytest.fixture(scope="module")
def instance(module_factory, ports):
    pairs = {"rsa": {}, "other": {}}
    changes = {"tls": {"pairs": pairs}, "resolverd": {"listen-tls": [f"127.0.0.1:{ports['dot']}"]}}
    one = module_factory(changes, users=(ALICE,), start=False)
    directory = one.certificate.parent
    make_pair(directory, "rsa", "rsa", "mail.example.test")
    make_pair(directory, "other", "ed25519", "*.other.test")
    write_response(directory, "rsa", hours=1)
    for name in ("rsa", "other"):
        layout.own(directory / f"{name}.key", "root", 0o640, "mlt-key")
    one.start()
    return one


def handshake(port: int, name: str | None = None, *words: str) -> str:
    """What OpenSSL's client says of a handshake."""
    server = ["-servername", name] if name else ["-noservername"]
    return openssl("s_client", "-connect", f"127.0.0.1:{port}", *server, *words)


def shown(port: int, name: str = "mail.example.test") -> bytes:
    """The certificate that a server shows, in DER."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            return connection.getpeercert(binary_form=True)


def der(pem: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN.*?END CERTIFICATE-----", pem.read_text(), re.DOTALL).group())


def all_ports(instance, ports) -> list[int]:
    return [instance.ports[name] for name in IMPLICIT] + [ports["dot"]]


def secrets(key: Path) -> list[bytes]:
    """The octet runs that make a private key what it is."""
    private = load_pem_private_key(key.read_bytes(), None)
    if isinstance(private, Ed25519PrivateKey):
        return [private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())]
    numbers = private.private_numbers()
    values = [numbers.private_value] if hasattr(numbers, "private_value") else [numbers.p, numbers.q, numbers.d]
    found = []
    for value in values:
        octets = value.to_bytes((value.bit_length() + 7) // 8, "big")
        # As files have it and, 64 bits at a time, as OpenSSL computes with it.
        found += [octets, octets[::-1]]
    return found


def memory(pid: int):
    """Each part of what a process can write to."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as octets:
        for line in maps:
            place, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(number, 16) for number in place.split("-"))
            octets.seek(start)
            try:
                yield octets.read(end - start)
            except OSError:
                continue


@pytest.mark.root
def test_no_server_has_a_private_key(instance, ports):
    directory = instance.certificate.parent
    for port in all_ports(instance, ports):
        for name in ("mail.example.test", "a.other.test"):
            for words in ((), ("-tls1_2", "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256")):
                assert "Cipher is" in handshake(port, name, *words)
    runs = [run for name in ("private-key.pem", "rsa.key", "other.key") for run in secrets(directory / name)]
    assert len(runs) == 9

    def held(service: str) -> int:
        pid = instance.supervisor.pid(service)
        return sum(any(run in part for part in memory(pid)) for run in runs)

    # keyd has them all, in one order or the other: the search finds what is there.
    assert held("keyd") >= 5
    for service in (*SERVERS, "imapd-mailbox", "pop3d-mailbox", "queue-manager", "remote-relay", "authd"):
        assert held(service) == 0, service


def test_certificates_by_name_and_kind(instance, ports):
    directory = instance.certificate.parent
    for port in all_ports(instance, ports):
        assert shown(port) == der(instance.certificate)
        assert shown(port, "x.other.test") == der(directory / "other.pem")
        assert shown(port, "elsewhere.test") == der(instance.certificate)
        rsa = handshake(port, "mail.example.test", "-sigalgs", "rsa_pss_rsae_sha256", "-status")
        assert "Server public key is 2048 bit" in rsa and "Peer signature type: RSA-PSS" in rsa


def stapled(port: int, name: str) -> str:
    """What a client that asks for the authority's word is sent: a certificate's state, or that there is none."""
    said = handshake(port, name, "-sigalgs", "ed25519:rsa_pss_rsae_sha256", "-status")
    found = re.search(r"OCSP response: no response sent|Cert Status: \w+", said)
    return found.group() if found else said


def test_the_authoritys_word_is_stapled_while_it_holds(instance, ports):
    directory = instance.certificate.parent
    (directory / "other.ocsp").write_bytes(b"\x30\x03\x0a\x01\x00")
    wait_for_log(instance, "keyd", "OCSP response isn't stapled: it is no response of an OCSP server")
    for port in all_ports(instance, ports):
        assert stapled(port, "mail.example.test") == "Cert Status: good"
        # It's no response, and so not sent.
        assert stapled(port, "x.other.test") == "OCSP response: no response sent"
    port = instance.ports["imaps"]
    said = instance.martlet("check", "tls", check=False).stdout
    assert "etc/tls/rsa.ocsp is stapled for 0 hours" in said
    assert "etc/tls/other.ocsp isn't stapled: it is no response of an OCSP server" in said
    write_response(directory, "other", seconds=8)
    wait_until(lambda: stapled(port, "x.other.test") == "Cert Status: good", seconds=7)
    # The file stands where it stood, but what it says is over.
    wait_until(lambda: stapled(port, "x.other.test") == "OCSP response: no response sent")
    wait_for_log(instance, "keyd", "OCSP response isn't stapled: its time is over")
    # A certificate says nothing of another.
    shutil.copy(directory / "rsa.ocsp", directory / "other.ocsp")
    wait_for_log(instance, "keyd", "OCSP response isn't stapled: it is about another certificate")
    (directory / "other.ocsp").unlink()
    assert "WRONG" not in instance.martlet("check", "tls", check=False).stdout


def test_versions_and_suites(instance):
    port = instance.ports["imaps"]
    assert "TLSv1.3" in handshake(port, None, "-tls1_3")
    assert "ECDHE-ECDSA-AES256-GCM-SHA384" in handshake(port, None, "-tls1_2")
    # The server's order, whatever the client's.
    mixed = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    assert "ECDHE-ECDSA-AES256-GCM-SHA384" in handshake(port, None, "-tls1_2", "-cipher", mixed)
    for refused in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"], ["-tls1_2", "-cipher", "kRSA"]):
        assert "Cipher is (NONE)" in handshake(port, None, *refused), refused


@pytest.mark.parametrize("port, name", [("imaps", "imap"), ("pop3s", "pop3"), ("submissions", "smtp")])
def test_application_protocols(instance, port, name):
    assert f"ALPN protocol: {name}" in handshake(instance.ports[port], None, "-alpn", f"h2,{name}")
    assert "No ALPN negotiated" in handshake(instance.ports[port])
    assert "no application protocol" in handshake(instance.ports[port], None, "-alpn", "http/1.1")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed_after_a_restart_of_the_server(instance, tmp_path, version):
    """The keys for tickets are keyd's, so they outlive the process that made the ticket."""
    port, session = instance.ports["imaps"], tmp_path / "session"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-sess_out", session, "-ign_eof"]
    done = subprocess.run(command, input=b"a logout\r\n", capture_output=True, timeout=30)
    assert b"New, TLS" in done.stdout
    assert "Reused, TLS" in handshake(port, None, version, "-sess_in", session)
    before = instance.supervisor.pid("imapd")
    instance.supervisor.kill("imapd")
    wait_until(lambda: instance.supervisor.pid("imapd") not in (None, before))
    instance.supervisor.wait_ready(["imapd"])
    wait_until(lambda: "Reused, TLS" in handshake(port, None, version, "-sess_in", session))


def deploy(instance, hook: str, pem: Path, key: Path, pair: str | None = None, **more) -> subprocess.CompletedProcess:
    """Calls a hook as its ACME client does."""
    environment = {**os.environ, "MARTLET_INSTANCE": str(instance.directory), **more}
    environment["PATH"] = f"{instance.programs}:{os.environ['PATH']}"
    if pair:
        environment["MARTLET_PAIR"] = pair
    words = []
    if hook == "certbot":
        lineage = pem.parent / f"lineage-{pem.stem}"
        lineage.mkdir()
        shutil.copy(pem, lineage / "fullchain.pem")
        shutil.copy(key, lineage / "privkey.pem")
        environment["RENEWED_LINEAGE"] = str(lineage)
    elif hook == "lego":
        environment |= {"LEGO_CERT_PATH": str(pem), "LEGO_CERT_KEY_PATH": str(key)}
    else:
        words = ["deploy_cert", "mail.example.test", str(key), "cert.pem", str(pem), "chain.pem", "0"]
    command = [str(layout.REPOSITORY / "etc" / "acme" / hook), *words]
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)


@pytest.mark.alone
@pytest.mark.parametrize("hook", ["certbot", "lego", "dehydrated"])
def test_renewal_without_a_restart_or_a_lost_connection(instance, ports, tmp_path, hook):
    pids = {name: instance.supervisor.pid(name) for name in layout.SERVICE_NAMES}
    context = ssl.create_default_context(cafile=str(instance.certificate))
    session = imaplib.IMAP4_SSL("localhost", instance.ports["imaps"], ssl_context=context, timeout=20)
    session.login(ALICE, instance.passwords[ALICE])
    pem, key = make_pair(tmp_path, "renewed", "ec", "mail.example.test", "localhost")
    done = deploy(instance, hook, pem, key)
    assert done.returncode == 0, done.stderr
    assert "keyd has it" in done.stdout
    assert der(instance.certificate) == der(pem)
    began = time.monotonic()
    for port in all_ports(instance, ports):
        wait_until(lambda port=port: shown(port) == der(pem), seconds=1)
    assert time.monotonic() - began < 1.5
    assert session.noop()[0] == "OK"
    session.logout()
    assert {name: instance.supervisor.pid(name) for name in layout.SERVICE_NAMES} == pids
    details = instance.certificate.with_name("private-key.pem").stat()
    assert details.st_mode & 0o777 == 0o640
    assert [finding for finding in instance.martlet("check", "tls", check=False).stdout.splitlines() if "WRONG" in finding] == []


def test_what_is_not_deployed(instance, tmp_path):
    before = {path: path.read_bytes() for path in instance.certificate.parent.iterdir()}
    pem, key = make_pair(tmp_path, "one", "ec", "mail.example.test")
    other, other_key = make_pair(tmp_path, "two", "ec", "mail.example.test")
    expired, expired_key = make_pair(tmp_path, "old", "ec", "mail.example.test", days=-1)
    empty = tmp_path / "empty"
    empty.touch()
    for first, second, words in (
        (pem, other_key, "does not belong"),
        (empty, key, "no certificate"),
        (pem, empty, "no key"),
        (key, key, "no certificate"),
    ):
        done = deploy(instance, "lego", first, second)
        assert done.returncode != 0 and words in done.stderr, done.stderr
    nonsense = tmp_path / "nonsense.ocsp"
    nonsense.write_bytes(b"nonsense")
    done = instance.martlet("tls", "deploy", "--ocsp", nonsense, pem, key, check=False)
    assert done.returncode != 0 and "it is no response of an OCSP server" in done.stderr
    if "notAfter" in openssl("x509", "-in", expired, "-noout", "-enddate"):
        assert "expired" in deploy(instance, "lego", expired, expired_key).stderr
    assert "no [tls.pairs.nobody]" in deploy(instance, "lego", pem, key, "nobody").stderr
    assert {path: path.read_bytes() for path in instance.certificate.parent.iterdir()} == before


def test_a_certificate_that_ends_soon_is_told(instance, tmp_path):
    pem, key = make_pair(tmp_path, "soon", "rsa", "mail.example.test", days=20)
    assert deploy(instance, "lego", pem, key, "rsa").returncode == 0
    done = instance.martlet("check", "tls")
    assert "etc/tls/rsa.pem expires in 19 days" in done.stdout or "etc/tls/rsa.pem expires in 20 days" in done.stdout
    assert "WRONG" not in done.stdout


def test_a_half_written_pair_is_not_taken(instance, tmp_path):
    port, directory = instance.ports["imaps"], instance.certificate.parent
    pem, key = make_pair(tmp_path, "other", "ed25519", "*.other.test")
    before = shown(port, "x.other.test")
    shutil.copy(pem, directory / "other.pem")
    wait_for_log(instance, "keyd", "does not belong to certificate etc/tls/other.pem; the one before stays")
    assert shown(port, "x.other.test") == before
    shutil.copyfile(key, directory / "other.key")
    wait_until(lambda: shown(port, "x.other.test") == der(pem), seconds=2)


def test_keyd_is_killed(instance, ports):
    """Handshakes wait for it to come back."""
    before = instance.supervisor.pid("keyd")
    os.kill(before, signal.SIGKILL)
    for port in all_ports(instance, ports):
        wait_until(lambda port=port: shown(port) == der(instance.certificate), seconds=5)
    wait_until(lambda: instance.supervisor.pid("keyd") not in (None, before))


def test_keyd_is_away(instance, ports):
    port = instance.ports["imaps"]
    context = ssl.create_default_context(cafile=str(instance.certificate))
    session = imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=20)
    instance.supervisor.down("keyd")
    try:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shown(port)
        wait_for_log(instance, "imapd", "a TLS handshake fails for want of a signature")
        # What has begun goes on.
        session.login(ALICE, instance.passwords[ALICE])
        assert session.select()[0] == "OK"
        said = instance.martlet("check", "tls", check=False).stdout
        assert "has no TLS" in said
        # A server needs no keyd to start.
        before = instance.supervisor.pid("pop3d")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: instance.supervisor.pid("pop3d") not in (None, before))
        instance.supervisor.wait_ready(["pop3d"])
    finally:
        instance.supervisor.up("keyd")
    instance.supervisor.wait_ready()
    for port in all_ports(instance, ports):
        wait_until(lambda port=port: shown(port) == der(instance.certificate), seconds=5)
    session.logout()


TROUBLES = {
    "hangs": lambda instance: hanging(instance, "keyd"),
    "hangs up": lambda instance: replaced(instance, "keyd", "key.sock", b""),
    "says what is no frame": lambda instance: replaced(instance, "keyd", "key.sock", NO_FRAME),
    "says yes to everything": lambda instance: replaced(
        instance, "keyd", "key.sock", b"OK\ntag: 0\n\nOK\ntag: 1\nsize: 3\n\nabc"
    ),
    "never ends": lambda instance: replaced(
        instance, "keyd", "key.sock", b"OK\nsize: 99999999999999999999\n\n" + bytes(4096)
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_keyd_in_trouble(instance, trouble):
    """Handshakes fail, with a line in the log; all else goes on, nothing is lost, and nobody has to help afterwards."""
    complaint = "a TLS handshake fails for want of a signature"
    former = instance.supervisor.log_text("smtpd").count(complaint)
    with TROUBLES[trouble](instance):
        with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected, OSError)):
            with smtplib.SMTP("localhost", instance.ports["submission"], timeout=20) as client:
                client.starttls(context=trust(instance))
        wait_until(lambda: instance.supervisor.log_text("smtpd").count(complaint) == former + 1, what="one line in the log")
        subject = receive(instance, ALICE)
        wait_until(lambda: find(instance, ALICE, subject), what="mail in the clear")
    wait_until(lambda: shown(instance.ports["submissions"]) == der(instance.certificate), seconds=10)
    with smtplib.SMTP("localhost", instance.ports["submission"], timeout=20) as client:
        client.starttls(context=trust(instance))
        client.login(ALICE, instance.passwords[ALICE])


# Of testssl's findings, those that a certificate has which nobody but itself has signed, and none of whose names are looked up.
SELF_SIGNED = ("cert_", "cert<", "OCSP", "DNS_CAArecord", "certificate_transparency", "certs_")


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_testssl_finds_nothing(instance, tmp_path):
    """Protocols, and what is shown, of each server that people use; kinds of suites and known weaknesses, which all have in common,
    of one."""
    weaknesses = ["-s", "-H", "-I", "-D"]
    checks = {"smtp": ["-t", "smtp"], "imaps": weaknesses, "pop3s": []}
    running = {}
    for name, words in checks.items():
        command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--jsonfile", tmp_path / name]
        command += ["-p", "-S", *words, f"127.0.0.1:{instance.ports[name]}"]
        running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for name, process in running.items():
        said = process.communicate(timeout=500)[0].decode(errors="replace")
        found = {one["id"]: one["severity"] for one in json.loads((tmp_path / name).read_text())}
        # It has looked at all of that.
        looked = {"TLS1_3", "TLS_session_ticket"} | ({"cipherlist_NULL", "heartbleed", "DROWN"} if name == "imaps" else set())
        assert looked <= found.keys() and found["TLS1_3"] == "OK", said
        grave = {place for place, severity in found.items() if severity in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")}
        assert {place for place in grave if not place.startswith(SELF_SIGNED)} == set(), said
