"""What users may send: as whom and how much, and what is put right, with swaks, msmtp and curl as clients (docs/smtpd.md, "What users may send")."""

import json
import os
import smtplib
import subprocess

import pytest
from conftest import ALICE, BOB, DAVE
from mail import find, read, submission, wait_for_log, wait_until


@pytest.fixture(scope="module")
def instance(module_factory):
    instance = module_factory(
        {"authd": {"sending": {"accounts": {DAVE: {"messages-per-hour": 2, "recipients-per-hour": 5}}}}},
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
