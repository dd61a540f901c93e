"""SMTP's extensions with programs that nobody here wrote: Postfix, HAProxy, swaks, curl, smtplib and aiosmtplib."""

import asyncio
import email
import email.policy
import shutil
import smtplib
import socket
import subprocess
import sys
import time
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import mail
import pytest
from configuration import free_port
from conftest import ALICE, BOB, temporary_directory
from mail import files_with, find, queue, wait_for, wait_for_empty_queue, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Benchmarks"))

import postfix  # noqa: E402

JOERG = "jörg@example.test"


@pytest.fixture(scope="module")
def proxy_port():
    return free_port()


@pytest.fixture(scope="module")
def martlet(module_factory, proxy_port):
    """An instance with LMTP, a listener behind a proxy, and Postfix as the host of example.org."""
    ports = {"lmtp": free_port(), "postfix": free_port()}
    instance = module_factory(
        {
            "smtpd": {
                "lmtp": [f"127.0.0.1:{ports['lmtp']}", "run/lmtp.sock"],
                "xclient-from": ["127.0.0.1"],
                "submissions": [f"127.0.0.1:{proxy_port}"],
                "listener": {"submissions": {"proxy-protocol": ["127.0.0.1"]}},
                "minimum-deliver-by": "1s",
            },
            "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
            "remote-relay": {
                "routes": {
                    "example.org": f"127.0.0.1:{ports['postfix']}",
                    "closed.example": f"127.0.0.1:{free_port()}",
                },
                "tls": "off",
                "reuse-time": "0s",
            },
        },
        users=(ALICE, BOB),
    )
    instance.own_ports = ports
    return instance


@pytest.fixture(scope="module")
def other(martlet):
    """A private Postfix: host of example.org, which sends the mail of example.test to Martlet."""
    base = temporary_directory()
    peer = postfix.Postfix(base / "postfix", martlet.own_ports["postfix"], martlet.ports["smtp"])
    base.chmod(0o755)
    settings = peer.settings / "main.cf"
    text = settings.read_text()
    for before, after in (
        ("myhostname = mail.example.test", "myhostname = mx.example.org"),
        ("virtual_mailbox_domains = example.test", "virtual_mailbox_domains = example.org"),
        ("example.net=smtp", "example.test=smtp"),
        ("static:bob/", "inline:{bob@example.org=bob/}"),
    ):
        assert before in text
        text = text.replace(before, after)
    settings.write_text(text + "smtputf8_enable = yes\nlocal_transport = error\n")
    peer.start()
    yield peer
    peer.stop()
    shutil.rmtree(base)


def message(sender: str, recipient: str, text: str = "Hello\n") -> EmailMessage:
    composed = EmailMessage(policy=email.policy.SMTPUTF8)
    composed["From"] = sender
    composed["To"] = recipient
    composed["Subject"] = mail.token()
    composed.set_content(text)
    return composed


def reports(instance, address: str, text: str) -> list[str]:
    return [octets.decode() for octets in find(instance, address, text) if b"multipart/report" in octets]


def wait_for_report(instance, address: str, text: str) -> str:
    return wait_until(lambda: reports(instance, address, text), what=f"a report about {text}")[0]


def swaks(*arguments: str) -> str:
    command = ["swaks", "--hide-all", "--helo", "client.example", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Postfix as the sender


def through_postfix(other, sender: str, recipients: list[str], octets: bytes, mail_options=(), rcpt_options=()) -> None:
    with smtplib.SMTP("127.0.0.1", other.port, timeout=30) as client:
        client.ehlo("client.example")
        client.sendmail(sender, recipients, octets, mail_options, rcpt_options)


def test_postfix_sends(martlet, other):
    text = message("bob@example.org", BOB, "".join(f"line {number}\n.\n" for number in range(5000)))
    through_postfix(other, "bob@example.org", [BOB], text.as_bytes())
    arrived = wait_for(martlet, BOB, text["Subject"])
    assert arrived.get_content() == text.get_content().replace("\r\n", "\n")
    wait_until(lambda: "status=sent (250 2.0.0 queued as" in (other.directory / "maillog").read_text())


def test_postfix_asks_for_reports(martlet, other):
    text = message("bob@example.org", BOB)
    through_postfix(
        other, "bob@example.org", [BOB], text.as_bytes(), ["RET=HDRS", "ENVID=envelope7"],
        ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Bob@example.test"],
    )  # fmt: skip
    wait_for(martlet, BOB, text["Subject"])
    # Martlet's report about the delivery comes back through Postfix.
    def report():
        found = files_with(other.maildir / "new", "Original-Envelope-Id: envelope7")
        return found[0].read_text(errors="replace") if found else None

    arrived = wait_until(report, what="a report")
    assert "Action: delivered" in arrived
    assert "Original-Recipient: rfc822; Bob@example.test" in arrived
    assert "Reporting-MTA: dns; mail.example.test" in arrived


def test_postfix_sends_utf8(martlet, other):
    if JOERG not in martlet.passwords:
        martlet.add_user(JOERG)
    text = message("bob@example.org", JOERG)
    text["X-Greeting"] = "grüße"
    through_postfix(other, "bob@example.org", [JOERG], text.as_bytes(), ["SMTPUTF8", "BODY=8BITMIME"])
    arrived = wait_until(lambda: find(martlet, JOERG, text["Subject"]), what="the message")[0].decode()
    assert f"Delivered-To: {JOERG}" in arrived
    assert "with UTF8SMTP" in arrived


# Exim as the sender, in chunks

EXIM = Path("/var/lib/martlet-tests/exim/usr/sbin/exim4")
EXIM_USER = "Debian-exim:x:64999:64999::/nonexistent:/bin/false"


@pytest.fixture
def exim(martlet):
    """A function that has Exim send a message to Martlet; returns Exim's log. Its user is there for it alone."""
    base = temporary_directory()
    base.chmod(0o755)
    for name in ("spool", "log"):
        (base / name).mkdir()
        shutil.chown(base / name, 64999, 64999)
    for name, line in (("passwd", EXIM_USER), ("group", "Debian-exim:x:64999:")):
        (base / name).write_text(Path("/etc", name).read_text() + line + "\n")
    (base / "exim.conf").write_text(
        f"primary_hostname = mx.example.com\nexim_path = {EXIM}\nkeep_environment =\nspool_directory = {base}/spool\n"
        f"log_file_path = {base}/log/%s\nbegin routers\nall:\n  driver = manualroute\n  route_list = * 127.0.0.1\n"
        f"  self = send\n  transport = smtp\nbegin transports\nsmtp:\n  driver = smtp\n  port = {martlet.ports['smtp']}\n"
        "  hosts_avoid_tls = *\nbegin retry\n* * F,1h,1m\n"
    )

    def send(sender: str, recipient: str, octets: bytes) -> str:
        script = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@"'
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(base), str(EXIM)]
        options = ["-C", str(base / "exim.conf"), "-odf", "-oi", "-f", sender, recipient]
        done = subprocess.run([*command, *options], input=octets, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return (base / "log" / "main").read_text()

    yield send
    shutil.rmtree(base)


@pytest.mark.root
@pytest.mark.parametrize("lines", [1, 20_000])
def test_exim_sends_in_chunks(martlet, exim, lines):
    if not EXIM.exists():
        pytest.skip("Exim is not here: run scripts/setup --tests")
    text = message("bob@example.com", BOB, "".join(f"line {number}\n.\n" for number in range(lines)))
    log = exim("bob@example.com", BOB, text.as_bytes().replace(b"\r\n", b"\n"))
    # Exim's mark for BDAT.
    assert " K " in log and 'C="250 2.0.0 queued as' in log, log
    arrived = wait_for(martlet, BOB, text["Subject"])
    assert arrived.get_content() == text.get_content().replace("\r\n", "\n")


# Postfix as the receiver


def test_postfix_takes_wishes_for_reports(martlet, other):
    text = message(ALICE, "bob@example.org")
    with mail.submission(martlet, ALICE) as client:
        client.sendmail(ALICE, ["bob@example.org"], text.as_bytes(), ["RET=HDRS", "ENVID=e1"], ["NOTIFY=SUCCESS"])
    # Postfix reports itself, and Martlet doesn't.
    arrived = wait_for_report(martlet, ALICE, "Original-Envelope-Id: e1")
    assert "Reporting-MTA: dns; mx.example.org" in arrived
    assert "Action: delivered" in arrived
    wait_for_empty_queue(martlet)
    assert len(reports(martlet, ALICE, "Original-Envelope-Id: e1")) == 1


def test_postfix_takes_utf8(martlet, other):
    text = message(ALICE, "bob@example.org")
    text["X-Greeting"] = "grüße"
    with mail.submission(martlet, ALICE) as client:
        client.sendmail(ALICE, ["bob@example.org"], text.as_bytes(), ["SMTPUTF8", "BODY=8BITMIME"])
    wait_until(lambda: files_with(other.maildir / "new", text["Subject"]))


def test_hosts_without_utf8(martlet, other):
    """A message that needs SMTPUTF8 comes back from a host without it; one that doesn't goes on."""
    postconf = ["postconf", "-c", str(other.settings)]
    subprocess.run([*postconf, "smtpd_discard_ehlo_keywords=smtputf8"], check=True)
    other.control("reload")

    def is_off():
        with smtplib.SMTP("127.0.0.1", other.port, timeout=30) as client:
            client.ehlo("client.example")
            return not client.has_extn("SMTPUTF8")

    wait_until(is_off, what="Postfix without SMTPUTF8")
    try:
        needs = message(ALICE, "jörg@example.org")
        plain = message(ALICE, "bob@example.org")
        with mail.submission(martlet, ALICE) as client:
            client.sendmail(ALICE, ["jörg@example.org"], needs.as_bytes(), ["SMTPUTF8", "BODY=8BITMIME"])
            client.sendmail(ALICE, ["bob@example.org"], plain.as_bytes(), ["SMTPUTF8"])
        # A local program needn't say what its header shows.
        subject = mail.token()
        assert mail.sendmail(martlet, "-f", ALICE, "bob@example.org", input=f"Subject: {subject} grün\n\nx\n").returncode == 0
        assert "Status: 5.6.7" in wait_for_report(martlet, ALICE, subject)
        arrived = wait_for_report(martlet, ALICE, needs["Subject"])
        assert "message/global-delivery-status" in arrived
        assert "Final-Recipient: utf-8; jörg@example.org" in arrived
        assert "Status: 5.6.7" in arrived
        wait_until(lambda: files_with(other.maildir / "new", plain["Subject"]))
    finally:
        subprocess.run([*postconf, "-X", "smtpd_discard_ehlo_keywords"], check=True)
        other.control("reload")


def test_binary_mail_becomes_lines(martlet, other):
    """Postfix takes no BINARYMIME, and a mailbox holds lines: both have the same octets in base64."""
    octets = bytes(range(256)) * 20 + b"\r\n.\r\n\n\r"
    head = (
        f"From: {ALICE}\r\nSubject: {{}}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
        "Content-Transfer-Encoding: binary\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n"
        "Content-Transfer-Encoding: binary\r\n\r\n"
    )
    tokens = []
    for recipient in (BOB, "bob@example.org"):
        tokens.append(mail.token())
        text = head.format(tokens[-1]).encode() + octets + b"\r\n--b--\r\n"
        with mail.submission(martlet, ALICE) as client:
            assert client.docmd(f"MAIL FROM:<{ALICE}> BODY=BINARYMIME")[0] == 250
            assert client.docmd(f"RCPT TO:<{recipient}>")[0] == 250
            middle = len(text) // 2
            client.send(f"BDAT {middle}\r\n".encode() + text[:middle])
            client.send(f"BDAT {len(text) - middle} LAST\r\n".encode() + text[middle:])
            assert [client.getreply()[0], client.getreply()[0]] == [250, 250]
    here = wait_for(martlet, BOB, tokens[0])
    there = wait_until(
        lambda: [path.read_bytes() for path in files_with(other.maildir / "new", tokens[1])]
    )
    for arrived in (here, email.message_from_bytes(there[0])):
        assert arrived["Content-Transfer-Encoding"] == "8bit"
        assert arrived.get_payload(0).get_payload(decode=True) == octets


# Other clients


def test_swaks_and_curl(martlet):
    token = mail.token()
    port = martlet.ports["submission"]
    swaks(
        "--server", "localhost", "--port", str(port), "--tls", "--auth", "PLAIN", "--auth-user", ALICE,
        "--auth-password", martlet.passwords[ALICE], "--from", ALICE, "--to", BOB, "--header", f"Subject: {token}",
    )  # fmt: skip
    wait_for(martlet, BOB, token)
    file = martlet.directory / "curl-message"
    text = message(ALICE, JOERG if JOERG in martlet.passwords else BOB)
    file.write_bytes(text.as_bytes())
    subprocess.run(
        ["curl", "--silent", "--show-error", "--cacert", martlet.certificate, "--ssl-reqd", f"smtp://localhost:{port}",
         "--user", f"{ALICE}:{martlet.passwords[ALICE]}", "--mail-from", ALICE, "--mail-rcpt", BOB,
         "--upload-file", file], check=True, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    wait_for(martlet, BOB, text["Subject"])
    # curl's VRFY and EXPN: only for those who may know.
    asked = subprocess.run(
        ["curl", "--silent", "--cacert", martlet.certificate, "--ssl-reqd", f"smtp://localhost:{port}", "--user",
         f"{ALICE}:{martlet.passwords[ALICE]}", "--mail-rcpt", BOB], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert f"<{BOB}>" in asked.stdout


def test_aiosmtplib_sends_utf8(martlet):
    if JOERG not in martlet.passwords:
        martlet.add_user(JOERG)
    text = message(ALICE, JOERG)

    async def send():
        client = aiosmtplib.SMTP(hostname="localhost", port=martlet.ports["submission"], start_tls=False, timeout=30)
        await client.connect()
        await client.starttls(tls_context=mail.trust(martlet))
        await client.login(ALICE, martlet.passwords[ALICE])
        await client.sendmail(ALICE, [JOERG], text.as_bytes(), mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        await client.quit()

    asyncio.run(send())
    wait_until(lambda: find(martlet, JOERG, text["Subject"]), what="the message")


def test_lists_are_expanded_for_users(martlet):
    martlet.add_alias(f"team@example.test: {ALICE}, {BOB}")
    with mail.submission(martlet, ALICE) as client:
        wait_until(lambda: client.docmd("EXPN", "team@example.test")[0] == 250)
        expanded = client.docmd("EXPN", "team@example.test")[1].decode()
        assert [line.rpartition(" ")[2] for line in expanded.splitlines()] == [f"<{ALICE}>", f"<{BOB}>"]
        # Success of a list is reported once, as an expansion.
        text = message(ALICE, "team@example.test")
        client.sendmail(ALICE, ["team@example.test"], text.as_bytes(), ["ENVID=list1"], ["NOTIFY=SUCCESS"])
    arrived = wait_for_report(martlet, ALICE, "Original-Envelope-Id: list1")
    assert "Action: expanded" in arrived
    wait_for(martlet, BOB, text["Subject"])
    with mail.smtp(martlet) as stranger:
        stranger.ehlo()
        assert stranger.docmd("EXPN", "team@example.test")[0] == 502


def test_mail_for_later(martlet):
    text = message(ALICE, BOB)
    with mail.submission(martlet, ALICE) as client:
        assert b"FUTURERELEASE" in client.ehlo("client.example")[1]
        client.sendmail(ALICE, [BOB], text.as_bytes(), ["HOLDFOR=4", "MT-PRIORITY=3"])
    sent = time.monotonic()
    entry = next(entry for entry in queue(martlet) if entry["sender"].startswith(f"<{ALICE}>"))
    assert entry["state"] == "queued"
    assert entry["heldUntil"] > time.time()
    assert "held for its sender" in martlet.martlet("queue", "list").stdout
    martlet.martlet("queue", "flush")
    wait_for(martlet, BOB, text["Subject"])
    assert time.monotonic() - sent > 2.5


def test_mail_that_comes_too_late_comes_back(martlet):
    """Nobody listens at the route's port: the message comes back when its time is over, not when it's given up."""
    late = message(ALICE, "bob@closed.example")
    told = message(ALICE, "bob@closed.example")
    with mail.submission(martlet, ALICE) as client:
        client.sendmail(ALICE, ["bob@closed.example"], late.as_bytes(), ["BY=3;R"])
        client.sendmail(ALICE, ["bob@closed.example"], told.as_bytes(), ["BY=3;N"])
    report = wait_for_report(martlet, ALICE, late["Subject"])
    assert "Action: failed\n" in report.replace("\r", "") and "Status: 5.4.7" in report
    report = wait_for_report(martlet, ALICE, told["Subject"])
    assert "Action: delayed\n" in report.replace("\r", "") and "Will-Retry-Until" in report
    waiting = wait_until(lambda: [entry for entry in queue(martlet) if "closed" in str(entry)])
    assert len(waiting) == 1 and waiting[0]["deliverBy"].endswith(" N")
    martlet.martlet("queue", "remove", waiting[0]["id"])


# REQUIRETLS, which no other server in Debian has


@pytest.mark.parametrize("trusted", [True, False])
def test_required_tls(make_instance, trusted):
    there = make_instance({"domains": ["tls.example"]}, users=("carol@tls.example",))
    authorities = {"authorities": str(there.certificate)} if trusted else {}
    route = f"localhost:{there.ports['smtp']}"
    here = make_instance({"remote-relay": {"routes": {"tls.example": route}, **authorities}}, users=(ALICE,))
    text = message(ALICE, "carol@tls.example")
    with mail.submission(here, ALICE) as client:
        client.sendmail(ALICE, ["carol@tls.example"], text.as_bytes(), ["REQUIRETLS"])
    if trusted:
        arrived = wait_for(there, "carol@tls.example", text["Subject"])
        assert "using TLSv1.3" in arrived["Received"]
        mail.wait_for_log(there, "queue-manager", "REQUIRETLS")
    else:
        # Nobody vouches for that certificate, and in the clear it doesn't go.
        report = wait_for_report(here, ALICE, text["Subject"])
        assert "Status: 5.7.30" in report
        assert not find(there, "carol@tls.example", text["Subject"])
    with mail.smtp(here) as client:
        client.ehlo()
        assert not client.has_extn("REQUIRETLS")
        assert client.docmd("MAIL FROM:<a@b.example> REQUIRETLS")[0] == 555


# LMTP


def test_lmtp(martlet):
    for where in ("127.0.0.1", str(martlet.directory / "run" / "lmtp.sock")):
        text = message("carol@example.org", BOB)
        with smtplib.LMTP(where, martlet.own_ports["lmtp"], local_hostname="client.example") as client:
            refused = client.sendmail("carol@example.org", [BOB, "nobody@example.test"], text.as_bytes())
        assert list(refused) == ["nobody@example.test"]
        arrived = wait_for(martlet, BOB, text["Subject"])
        assert "with LMTP" in arrived.as_string()


def test_swaks_speaks_lmtp(martlet):
    token = mail.token()
    swaks(
        "--protocol", "LMTP", "--socket", str(martlet.directory / "run" / "lmtp.sock"), "--from", "carol@example.org",
        "--to", f"{ALICE},{BOB}", "--header", f"Subject: {token}",
    )  # fmt: skip
    for address in (ALICE, BOB):
        wait_for(martlet, address, token)


# Proxies


@pytest.fixture
def haproxy(martlet, proxy_port, tmp_path):
    """HAProxy before the listener that wants the PROXY protocol, by version: its ports."""
    ports = {version: free_port() for version in ("send-proxy", "send-proxy-v2")}
    text = "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
    for version, port in ports.items():
        text += f"listen {version}\n  bind 127.0.0.1:{port}\n  server martlet 127.0.0.1:{proxy_port} {version}\n"
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    process = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdin=subprocess.DEVNULL)
    for port in ports.values():
        wait_until(lambda port=port: is_open(port), what="HAProxy")
    yield ports
    process.terminate()
    process.wait(timeout=30)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_haproxy_says_who_the_client_is(martlet, haproxy, version):
    text = message(ALICE, BOB)
    with smtplib.SMTP_SSL(
        "localhost", haproxy[version], context=mail.trust(martlet), source_address=("127.0.0.77", 0), timeout=30
    ) as client:
        client.login(ALICE, martlet.passwords[ALICE])
        client.sendmail(ALICE, [BOB], text.as_bytes())
    arrived = wait_for(martlet, BOB, text["Subject"])
    assert "[127.0.0.77]" in arrived["Received"]


def test_nobody_passes_by_the_proxy(martlet, proxy_port):
    with pytest.raises((smtplib.SMTPException, OSError)):
        smtplib.SMTP_SSL("localhost", proxy_port, context=mail.trust(martlet), timeout=30)


def test_swaks_brings_clients(martlet):
    """swaks as a proxy that uses XCLIENT, as nginx does."""
    token = mail.token()
    swaks(
        "--server", "127.0.0.1", "--port", str(martlet.ports["smtp"]), "--xclient-addr", "192.0.2.33", "--xclient-name",
        "client.example", "--xclient-helo", "client.example", "--from", "carol@example.org", "--to", BOB,
        "--header", f"Subject: {token}",
    )  # fmt: skip
    arrived = wait_for(martlet, BOB, token)
    assert "([192.0.2.33])" in arrived["Received"]
