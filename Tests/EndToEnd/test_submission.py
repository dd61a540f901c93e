"""What users and strangers may send: as whom, whereto and how much, and what is put right, with swaks, msmtp and curl as clients
(docs/smtpd.md, "What users may send", "Strangers")."""

import json
import os
import smtplib
import socket
import subprocess

import pytest
from conftest import ALICE, BOB, DAVE
from mail import find, read, receive, submission, wait_for_log, wait_until


@pytest.fixture(scope="module")
def instance(module_factory, sink):
    instance = module_factory(
        {
            "authd": {"sending": {"accounts": {DAVE: {"messages-per-hour": 2, "recipients-per-hour": 5}}}},
            "smtpd": {
                "relay-domains": ["example.net"],
                "check-recipients": True,
                "greeting-delay": "100ms",
                "clients": {"exempt": ["127.0.0.1"], "connections-per-minute": 3},
            },
            "remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}},
        },
        users=(ALICE, BOB, DAVE),
    )
    instance.martlet("alias", "add", "sales@example.test", ALICE, BOB)
    return instance


def swaks(instance, *arguments, user=ALICE):
    command = ["swaks", "--server", "127.0.0.1", "--port", str(instance.ports["submissions"]), "--tls-on-connect"]
    command += ["--auth", "PLAIN", "--auth-user", user, "--auth-password", instance.passwords[user], "--timeout", "20"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)


def test_senders(instance):
    for sender in (ALICE, "alice+x@example.test", "Sales@example.test"):
        done = swaks(instance, "--from", sender, "--to", BOB)
        assert done.returncode == 0, done.stdout
    done = swaks(instance, "--from", BOB, "--to", BOB)
    assert "553 5.7.1 not one of your addresses" in done.stdout
    done = swaks(instance, "--from", ALICE, "--to", BOB, "--h-From", f"Alice <{BOB}>")
    assert f"550 5.7.1 From: <{BOB}> is not one of your addresses" in done.stdout
    instance.martlet("user", "sender", "add", ALICE, "@news.example")
    done = swaks(instance, "--from", "press@news.example", "--to", BOB)
    assert done.returncode == 0, done.stdout
    assert json.loads(instance.martlet("user", "show", ALICE, "--json").stdout)["senders"] == ["@news.example"]
    instance.martlet("user", "sender", "remove", ALICE, "@news.example")
    assert "553 5.7.1" in swaks(instance, "--from", "press@news.example", "--to", BOB).stdout


def test_header_is_completed_and_blind_copies_go(instance):
    url = f"smtps://127.0.0.1:{instance.ports['submissions']}"
    command = ["curl", "--silent", "--show-error", "--insecure", url, "--mail-from", ALICE, "--mail-rcpt", BOB]
    command += ["--user", f"{ALICE}:{instance.passwords[ALICE]}", "--upload-file", "-"]
    text = "To: somebody@example.net\r\nSubject: completed\r\nBcc: secret@example.net\r\n\r\nGr\u00fc\u00dfe\r\n"
    subprocess.run(command, input=text.encode(), check=True, timeout=60)
    message = read(wait_until(lambda: find(instance, BOB, "Subject: completed"))[0])
    assert message["Bcc"] is None and message["From"] == ALICE and message["Date"] and message["Message-ID"]
    assert "Gr\u00fc\u00dfe".encode() in message.get_payload(decode=True) or "Gr" in message.get_payload()


def test_sendmail_takes_blind_copies_out(instance):
    text = "From: x@example.test\nSubject: by sendmail\nBcc: secret@example.net\n\nHello\n"
    environment = {**os.environ, "MARTLET_INSTANCE": str(instance.directory)}
    command = [instance.programs / "sendmail", BOB]
    subprocess.run(command, input=text, text=True, check=True, timeout=60, env=environment)
    assert read(wait_until(lambda: find(instance, BOB, "by sendmail"))[0])["Bcc"] is None


def test_relayed_domain(instance, sink):
    """The next hop is asked before anything is taken; while remote-relay is away nobody is told no."""
    sink.replies["gone-from-branch"] = "550 5.1.1 unknown"
    sink.wait_for(receive(instance, "ann@example.net"))

    def refusal(recipient):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            receive(instance, recipient)
        return refused.value.recipients[recipient]

    assert refusal("gone-from-branch@example.net") == (550, b"5.1.1 the next hop does not take it")
    instance.supervisor.down("remote-relay")
    assert refusal("new@example.net")[0] == 451
    # What was said before counts.
    assert refusal("gone-from-branch@example.net")[0] == 550
    instance.supervisor.up("remote-relay")
    sink.wait_for(wait_until(lambda: sent(instance, "new@example.net")))


def sent(instance, recipient):
    """Sends; None while remote-relay is on its way back."""
    try:
        return receive(instance, recipient)
    except smtplib.SMTPRecipientsRefused:
        return None


def stranger(instance, address):
    client = socket.create_connection(("127.0.0.1", instance.ports["smtp"]), timeout=20, source_address=(address, 0))
    return client, client.makefile("rb")


def test_strangers_wait_for_their_turn(instance):
    client, replies = stranger(instance, "127.0.9.1")
    with client, replies:
        client.sendall(b"EHLO too.early\r\n")
        assert replies.readline().startswith(b"554 5.5.1") and replies.read() == b""
    client, replies = stranger(instance, "127.0.9.1")
    with client, replies:
        assert replies.readline().startswith(b"220")
        client.sendall(b"EHLO a.example\r\nMAIL FROM:<a@a.example>\r\n")
        assert replies.readline() == b"554 5.5.0 wait for the reply\r\n" and replies.read() == b""
    wait_for_log(instance, "smtpd", "client talked before its turn")


def test_strangers_come_too_often(instance):
    for code in [b"220", b"220", b"220", b"421 4.7.0 too many connections from your address within a minute"]:
        client, replies = stranger(instance, "127.0.9.2")
        with client, replies:
            assert replies.readline().startswith(code)
    # Others are not concerned.
    client, replies = stranger(instance, "127.0.9.3")
    with client, replies:
        assert replies.readline().startswith(b"220")


def test_limits(instance, tmp_path):
    """msmtp says what it is told; a restart of smtpd changes nothing; the administrator lifts it."""
    (tmp_path / "msmtprc").write_text(
        f"defaults\nauth plain\ntls on\ntls_certcheck off\ntls_starttls on\naccount default\nhost 127.0.0.1\n"
        f"port {instance.ports['submission']}\nuser {DAVE}\npassword {instance.passwords[DAVE]}\nfrom {DAVE}\n"
    )
    (tmp_path / "msmtprc").chmod(0o600)

    def msmtp(*recipients):
        command = ["msmtp", "-C", str(tmp_path / "msmtprc"), *recipients]
        return subprocess.run(command, input=b"Subject: x\n\nHello\n", capture_output=True, timeout=60)

    assert b"550" in msmtp(*[f"{name}@example.net" for name in "abcdef"]).stderr
    for _ in range(2):
        assert msmtp(BOB).returncode == 0
    assert b"the limit of 2 messages an hour is reached, try again in" in msmtp(BOB).stderr
    wait_for_log(instance, "smtpd", "status=4.7.1")
    wait_for_log(instance, "authd", "sending limit reached")
    instance.supervisor.kill("smtpd")
    wait_until(lambda: logs_in(instance))
    assert b"the limit of 2 messages" in msmtp(BOB).stderr
    hour, day = json.loads(instance.martlet("user", "sending", DAVE, "--json").stdout)
    assert (hour["messages"], hour["message-limit"], hour["recipients"]) == (2, 2, 2)
    assert day["messages"] == 2 and day["message-limit"] == 1500
    assert "0 of 2 messages" in instance.martlet("user", "sending", DAVE, "--lift").stdout
    assert msmtp(BOB).returncode == 0


def logs_in(instance):
    try:
        with submission(instance, BOB):
            return True
    except (OSError, smtplib.SMTPException):
        return False
