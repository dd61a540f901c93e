"""Routes with logins: through Postfix and Exim on the ports of submission, and a server that takes tokens."""

import base64
import re
import shutil
import smtplib
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path

import layout
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from configuration import free_port
from conftest import ALICE, BOB, temporary_directory
from cryptography.hazmat.primitives import hashes
from internet.certificates import Certificate
from mail import queue, submit, wait_for, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Benchmarks"))

import postfix  # noqa: E402

pytestmark = pytest.mark.root

EXIM = Path("/var/lib/martlet-tests/exim/usr/sbin/exim4")
EXIM_USER = "Debian-exim:x:64999:64999::/nonexistent:/bin/false"
USER, PASSWORD, TOKEN = "relay@provider.example", "pencil,=ä", "ya29.token-_~"
# Domain, port, route, name of what to log in with, and the mechanism that is used.
ROUTES = (
    ("scram256.example", "postfix-587", {}, "password", "SCRAM-SHA-256"),
    ("scram1.example", "postfix-587", {}, "scram-sha-1", "SCRAM-SHA-1"),
    ("implicit.example", "postfix-465", {"implicit-tls": True}, "plain", "PLAIN"),
    ("exim.example", "exim-587", {}, "password", "PLAIN"),
    ("exim-implicit.example", "exim-465", {"implicit-tls": True}, "login", "LOGIN"),
    ("token.example", "token", {}, "token", "XOAUTH2"),
)
# Where Postfix takes mail from those alone who show a certificate that it knows, by version of TLS.
CERTIFICATE_PORTS = {"TLSv1.2": "postfix-certificate-12", "TLSv1.3": "postfix-certificate-13"}
PORTS = ("postfix-587", "postfix-465", "exim-587", "exim-465", "token", *CERTIFICATE_PORTS.values())


@pytest.fixture(scope="module")
def base():
    place = temporary_directory()
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def ports():
    return {name: free_port() for name in PORTS}


@pytest.fixture(scope="module")
def certificate(base):
    authority = Certificate(base, "authority", [])
    return Certificate(base, "localhost", ["localhost"], authority), authority


@pytest.fixture(scope="module")
def own_certificate(base):
    """What remote-relay shows to other hosts."""
    return Certificate(base, "relay", ["relay.example.test"])


def fingerprint(certificate: Certificate) -> str:
    digits = certificate.certificate.fingerprint(hashes.SHA256()).hex().upper()
    return ":".join(digits[place : place + 2] for place in range(0, 64, 2))


@pytest.fixture(scope="module")
def through_postfix(base, ports, certificate, own_certificate):
    """Postfix, for whom Dovecot checks passwords, and which asks for certificates on ports of their own."""
    place = base / "dovecot"
    place.mkdir()
    (place / "conf").write_text(
        textwrap.dedent(
            f"""\
            base_dir = {place}/run
            log_path = {place}/log
            protocols =
            ssl = no
            listen = 127.0.0.1
            auth_mechanisms = scram-sha-256 scram-sha-1 plain login
            disable_plaintext_auth = no
            passdb {{
              driver = static
              args = password={PASSWORD}
            }}
            userdb {{
              driver = static
              args = uid=65534 gid=65534 home=/nonexistent
            }}
            service auth {{
              unix_listener {place}/auth {{
                mode = 0666
              }}
            }}
            """
        )
    )
    dovecot = subprocess.Popen(["dovecot", "-F", "-c", str(place / "conf")], stdin=subprocess.DEVNULL)
    wait_until((place / "auth").exists, what="Dovecot's socket")
    options = "smtpd_sasl_auth_enable=yes smtpd_recipient_restrictions=permit_sasl_authenticated,reject content_filter=discard:"
    options = "".join(f"\n  -o {option}" for option in options.split())
    (base / "certificates").write_text(f"{fingerprint(own_certificate)} relay\n")
    by_certificate = ""
    for version, port in CERTIFICATE_PORTS.items():
        choice = "smtpd_recipient_restrictions=permit_tls_clientcerts,reject content_filter=discard: smtpd_tls_ask_ccert=yes "
        choice += f"relay_clientcerts=texthash:{base}/certificates smtpd_tls_fingerprint_digest=sha256 smtpd_tls_loglevel=2 "
        choice += f"smtpd_tls_mandatory_protocols={version} smtpd_tls_protocols={version}"
        by_certificate += f"127.0.0.1:{ports[port]} inet n - n - - smtpd"
        by_certificate += "".join(f"\n  -o {option}" for option in choice.split()) + "\n"
    server = postfix.Postfix(
        base / "postfix",
        free_port(),
        0,
        {
            "virtual_mailbox_domains": "",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(place / "auth"),
            "smtpd_tls_chain_files": str(certificate[0].both),
            "smtpd_tls_security_level": "may",
            "smtpd_tls_auth_only": "yes",
        },
        "discard unix - - n - - discard\n"
        f"127.0.0.1:{ports['postfix-587']} inet n - n - - smtpd{options}\n"
        f"127.0.0.1:{ports['postfix-465']} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes{options}\n" + by_certificate,
    )
    server.start()
    yield base / "postfix" / "maillog"
    server.stop()
    dovecot.terminate()
    dovecot.wait()


@pytest.fixture(scope="module")
def through_exim(base, ports, certificate):
    if not EXIM.exists():
        pytest.skip("Exim is not here: run scripts/setup --tests")
    place = base / "exim"
    place.mkdir()
    place.chmod(0o755)
    for name in ("spool", "log"):
        (place / name).mkdir()
        shutil.chown(place / name, 64999, 64999)
    for name, line in (("passwd", EXIM_USER), ("group", "Debian-exim:x:64999:")):
        (place / name).write_text(Path("/etc", name).read_text() + line + "\n")
    shutil.copy(certificate[0].key_file, place / "key")
    shutil.chown(place / "key", 64999, 64999)
    (place / "conf").write_text(
        textwrap.dedent(
            f"""\
            primary_hostname = localhost
            exim_path = {EXIM}
            keep_environment =
            spool_directory = {place}/spool
            log_file_path = {place}/log/%s
            pid_file_path = {place}/pid
            local_interfaces = 127.0.0.1
            daemon_smtp_ports = {ports["exim-587"]} : {ports["exim-465"]}
            tls_on_connect_ports = {ports["exim-465"]}
            tls_advertise_hosts = *
            tls_certificate = {certificate[0].file}
            tls_privatekey = {place}/key
            auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
            acl_smtp_rcpt = rcpt
            acl_smtp_data = data
            begin acl
            rcpt:
              accept authenticated = *
              deny
            data:
              accept
            begin routers
            all:
              driver = redirect
              data = :blackhole:
            begin authenticators
            plain:
              driver = plaintext
              public_name = PLAIN
              server_prompts = :
              server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
              server_set_id = $auth2
            login:
              driver = plaintext
              public_name = LOGIN
              server_prompts = Username:: : Password::
              server_condition = ${{if and{{{{eq{{$auth1}}{{{USER}}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
              server_set_id = $auth1
            """
        )
    )
    script = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@"'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(place), str(EXIM)]
    server = subprocess.Popen([*command, "-C", str(place / "conf"), "-bdf"], stdin=subprocess.DEVNULL)
    wait_until((place / "pid").exists, what="Exim")
    yield place / "log" / "main"
    server.terminate()
    server.wait()


class Tokens:
    """A server that takes tokens alone."""

    def __init__(self):
        self.seen: list[str] = []
        self.messages: list[bytes] = []

    async def auth_XOAUTH2(self, server, arguments):
        said = base64.b64decode(arguments[1]).decode()
        self.seen.append(said)
        return AuthResult(success=said == f"user={USER}\x01auth=Bearer {TOKEN}\x01\x01")

    async def handle_DATA(self, server, session, envelope):
        self.messages.append(envelope.content)
        return "250 2.0.0 taken"


@pytest.fixture(scope="module")
def tokens(ports, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[0].file, certificate[0].key_file)
    handler = Tokens()
    options = {"tls_context": context, "require_starttls": True, "auth_required": True, "auth_exclude_mechanism": ["PLAIN", "LOGIN"]}
    server = Controller(handler, "127.0.0.1", ports["token"], **options)
    server.start()
    yield handler
    server.stop()


@pytest.fixture(scope="module")
def piped(base):
    """Where a program puts what it's given."""
    place = base / "piped"
    place.mkdir()
    place.chmod(0o777)
    return place


@pytest.fixture(scope="module")
def instance(module_factory, ports, certificate, own_certificate, piped):
    routes = {}
    for version, port in CERTIFICATE_PORTS.items():
        host, name = f"localhost:{ports[port]}", version.lower()
        routes[f"{name}.certificate.example"] = {"hosts": [host], "client-certificate": "relay"}
        routes[f"{name}.nothing.example"] = {"hosts": [host]}
    routes["away.certificate.example"] = {"hosts": [f"127.0.0.1:{ports[CERTIFICATE_PORTS['TLSv1.3']]}"]}
    for domain, port, more, credentials, _ in ROUTES:
        routes[domain] = {"hosts": [f"localhost:{ports[port]}"], "credentials": credentials} | more
    routes["wrong.example"] = {"hosts": [f"localhost:{ports['postfix-587']}"], "credentials": "wrong"}
    routes["nobody.example"] = {"action": "error", "status": "5.1.6", "text": "it has moved"}
    # A name that the certificate doesn't have.
    routes["address.example"] = {"hosts": [f"127.0.0.1:{ports['postfix-587']}"], "credentials": "password"}
    # Nobody is there, as yet.
    routes["mended.example"] = f"127.0.0.1:{free_port()}"
    routes["lists.example"] = {"action": "pipe", "command": "keep"}
    keep = {"command": ["/bin/sh", "-c", 'cat > "$0"; echo "ended with $1"; exit $1', f"{piped}/${{user}}", "${extension}"]}
    changes = {
        "pipe-deliver": {"writable": [str(piped)], "commands": {"keep": keep}},
        "smtpd": {"policy": "route spare if recipient policy.example\n", "relay-from": ["127.0.0.0/8"]},
        "remote-relay": {"named-routes": {"spare": routes["mended.example"]}, "routes": routes, "authorities": "etc/authority.pem", "account-routes": {BOB: {"action": "discard"}}},
        "queue-manager": {"retry-minimum": "60s"},
        "tls": {"pairs": {"relay": {}}},
    }
    # Another certificate, so that no session of another domain's mail is used again.
    rule = {"level": "may", "client-certificate": "default"}
    changes["remote-relay"]["tls-policy"] = {"away.certificate.example": rule}
    made = module_factory(changes, start=False)
    shutil.copy(certificate[1].file, made.directory / "etc/authority.pem")
    for ending, file in (("pem", own_certificate.file), ("key", own_certificate.key_file)):
        place = made.certificate.with_name(f"relay.{ending}")
        shutil.copy(file, place)
        layout.own(place, "root", 0o640, "mlt-key")
    lines = []
    for name, mechanism in (("password", ""), ("scram-sha-1", "SCRAM-SHA-1"), ("plain", "PLAIN"), ("login", "LOGIN"), ("wrong", "")):
        password = "other" if name == "wrong" else PASSWORD
        lines += [f"[{name}]", f'user = "{USER}"', f'password = "{password}"']
        lines += [f'mechanism = "{mechanism}"'] if mechanism else []
    lines += ["[token]", f'user = "{USER}"', f'token = "{TOKEN}"']
    file = made.directory / "etc/relay-credentials.toml"
    made.write(file, "\n".join(lines) + "\n")
    file.chmod(0o600)
    made.start()
    return made


def result(instance, recipient: str, sender: str = ALICE, has_tls: bool = True) -> str:
    """What the log says of a message from Alice."""
    before = instance.supervisor.log_text("remote-relay").count(f"recipient=<{recipient}>")
    if has_tls:
        submit(instance, sender, recipient, sender)
    else:
        with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], "client.example.test", timeout=60) as client:
            client.sendmail(sender, [recipient], f"From: {sender}\r\n\r\nhello\r\n")

    def found():
        lines = [line for line in instance.supervisor.log_text("remote-relay").splitlines() if f"<{recipient}>" in line]
        return lines[-1] if len(lines) > before else None

    return wait_until(found, what=f"a result for {recipient}")


@pytest.mark.parametrize(("domain", "port", "more", "name", "mechanism"), ROUTES, ids=[route[0] for route in ROUTES])
def test_login(instance, through_postfix, through_exim, tokens, domain, port, more, name, mechanism):
    line = result(instance, f"bob@{domain}")
    assert "result=relayed" in line and "policy=configured" in line and "verified=pkix" in line, line
    if port.startswith("postfix"):
        assert f"sasl_method={mechanism}, sasl_username={USER}" in through_postfix.read_text()
    elif port.startswith("exim"):
        assert re.search(rf"<= {ALICE} .* A={mechanism.lower()}:{re.escape(USER)} ", through_exim.read_text())
    else:
        assert len(tokens.messages) == 1 and len(tokens.seen) == 1


@pytest.mark.parametrize("version", CERTIFICATE_PORTS)
def test_a_host_is_shown_a_certificate(instance, through_postfix, own_certificate, version):
    line = result(instance, f"bob@{version.lower()}.certificate.example")
    assert "result=relayed" in line, line
    log = through_postfix.read_text()
    assert re.search(rf"connection established from \S+ {re.escape(version)} with cipher", log), log[-2000:]
    assert f"fingerprint={fingerprint(own_certificate)}" in log
    # Who shows none has nothing taken.
    line = result(instance, f"bob@{version.lower()}.nothing.example")
    assert "result=failed" in line and "status=5.7.1" in line, line


def test_without_a_signature_mail_waits(instance, through_postfix):
    """It goes neither without the certificate nor in clear text, although that would be allowed."""
    instance.supervisor.down("keyd")
    try:
        line = result(instance, "bob@away.certificate.example", has_tls=False)
        assert "result=delayed" in line and "status=4.7.5" in line, line
    finally:
        instance.supervisor.up("keyd")
    instance.supervisor.wait_ready()


def test_wrong_password_waits(instance, through_postfix):
    line = result(instance, "bob@wrong.example")
    assert "result=delayed" in line and "status=4.7.8" in line, line
    assert "other" not in line.replace("to other hosts", "")


def test_nobody_else_hears_the_password(instance, through_postfix):
    line = result(instance, "bob@address.example")
    assert "result=delayed" in line and "status=4.7.5" in line, line


def test_routes_to_nowhere(instance):
    assert "result=failed status=5.1.6" in result(instance, "bob@nobody.example")
    assert "result=delivered" in result(instance, "bob@elsewhere.example", BOB)


def test_secrets_that_everybody_may_read_are_refused(instance):
    file = instance.directory / "etc/relay-credentials.toml"
    instance.supervisor.down("remote-relay")
    try:
        for mode, words in ((0o644, "everybody may read it"), (0o600, "")):
            file.chmod(mode)
            command = [str(instance.programs / "remote-relay"), "--instance", str(instance.directory), "--probe-rights", "/etc/shadow"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
            assert words in done.stderr and (done.returncode == 0) == (mode == 0o600), done.stderr
    finally:
        instance.supervisor.up("remote-relay")


@pytest.mark.parametrize("domain", ["mended.example", "policy.example"])
def test_mended_route_mends_queued_mail(instance, sink, domain):
    """By the recipients' domain, and by the name that a rule has given."""
    token = submit(instance, ALICE, f"ann@{domain}")
    wait_until(lambda: [entry for entry in queue(instance) if domain in str(entry) and entry["state"] == "deferred"], what="mail that waits")
    key = {"mended.example": {"routes": {domain: f"127.0.0.1:{sink.port}"}}, "policy.example": {"named-routes": {"spare": f"127.0.0.1:{sink.port}"}}}
    instance.configure({"remote-relay": key[domain]})

    def arrived():
        # authd looks for changes once a second.
        instance.martlet("queue", "flush", "--domain", domain)
        return sink.find(token)

    wait_until(arrived, what="the mail at the other host")
    assert sink.find(token)[0].recipients == [f"ann@{domain}"]


def test_trial_shows_the_route(instance):
    command = ["policy", "test", "--client", "192.0.2.1", "--helo", "x", "--sender", ALICE, "--recipient"]
    assert "by the route spare" in instance.martlet(*command, "ann@policy.example").stdout
    assert "route" not in instance.martlet(*command, "ann@other.example").stdout


def test_mail_goes_to_a_program(instance, piped):
    token = submit(instance, ALICE, "kept+0@lists.example", body="Line one\nLine two\n")
    kept = piped / "kept"
    wait_until(lambda: kept.exists() and token in kept.read_text() and not queue_of(instance, "kept"), what="a message in a file")
    text = kept.read_bytes()
    assert text.startswith(f"Return-Path: <{ALICE}>\nReceived: ".encode()) and text.endswith(b"\n\nLine one\nLine two\n")
    assert b"\r" not in text and kept.owner() == "mlt-pipe"


def test_what_a_program_says_is_reported(instance):
    submit(instance, ALICE, "gone+67@lists.example")
    report = wait_for(instance, ALICE, "ended with 67").as_string()
    assert "Status: 5.1.1" in report and "gone+67@lists.example" in report
    submit(instance, ALICE, "busy+75@lists.example")
    wait_until(lambda: "ended with 75" in queue_of(instance, "busy"), what="mail that waits")


def queue_of(instance, name: str) -> str:
    return " ".join(str(entry) for entry in queue(instance) if f"{name}+" in str(entry))
