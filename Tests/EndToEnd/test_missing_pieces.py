"""What happens while a daemon is down, the disk is full or the configuration is broken."""

import imaplib
import poplib
import smtplib
import subprocess

import pytest
from conftest import ALICE, BOB
from layout import DAEMONS, SERVICES, own
from mail import (
    Talk,
    find,
    imap,
    pop3,
    queue,
    receive,
    submission,
    submit,
    token,
    trust,
    wait_for,
    wait_for_empty_queue,
    wait_until,
)


@pytest.fixture(scope="module")
def instance(module_factory, sink):
    """An instance whose daemons these tests take down; each test puts them up again."""
    zone = (
        "$ORIGIN elsewhere.test.\n$TTL 60\n@ SOA ns hostmaster 1 7200 900 1209600 60\n@ NS ns\n@ MX 10 mx\n"
        "ns A 127.0.0.1\nmx A 127.0.0.1\n"
    )
    changes = {
        "queue-manager": {"retry-minimum": "1s", "retry-maximum": "1s"},
        "remote-relay": {"port": sink.port, "routes": {"example.net": f"127.0.0.1:{sink.port}"}},
        "resolverd": {"zones": {"elsewhere.test": "etc/zones/elsewhere.test"}},
    }
    instance = module_factory(changes, start=False)
    instance.write(instance.directory / "etc" / "zones" / "elsewhere.test", zone)
    instance.start()
    return instance


@pytest.fixture
def without(instance):
    """Takes services down until the end of the test."""
    down = []

    def take_down(*names):
        for name in names:
            instance.supervisor.down(name)
            down.append(name)

    yield take_down
    for name in down:
        instance.supervisor.up(name)


def test_authd_down(instance, without):
    without("authd")
    with smtplib.SMTP("localhost", instance.ports["submission"], timeout=30) as client:
        client.starttls(context=trust(instance))
        with pytest.raises(smtplib.SMTPResponseException) as caught:
            client.login(ALICE, instance.passwords[ALICE])
    assert caught.value.smtp_code == 454 and caught.value.smtp_error.startswith(b"4.7.0")
    with Talk(instance.ports["smtp"]) as talk:
        talk.reply()
        talk.say(b"EHLO client.example.test")
        talk.say(b"MAIL FROM:<someone@example.org>")
        assert talk.say(b"RCPT TO:<bob@example.test>").startswith("451 4.")
    with pytest.raises(poplib.error_proto, match="SYS/TEMP"):
        pop3(instance, ALICE)
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        imap(instance, ALICE)


def test_mail_waits_for_authd(instance, without):
    """What was accepted before authd went down is delivered when it is back."""
    without("local-deliver")
    subject = receive(instance, BOB)
    without("authd")
    instance.supervisor.up("local-deliver")
    instance.martlet("queue", "flush")
    assert not find(instance, BOB, subject)
    instance.supervisor.up("authd")
    wait_for(instance, BOB, subject)


def test_queue_manager_down(instance, without):
    without("queue-manager")
    with Talk(instance.ports["smtp"]) as talk:
        assert talk.reply().startswith("220")
        talk.say(b"EHLO client.example.test")
        assert talk.say(b"MAIL FROM:<someone@example.org>").startswith("451 4.3.0")
        instance.supervisor.up("queue-manager")
        assert talk.say(b"MAIL FROM:<someone@example.org>").startswith("250")


def test_local_deliver_down(instance, without):
    without("local-deliver")
    subject = receive(instance, BOB)
    assert not find(instance, BOB, subject)
    instance.supervisor.up("local-deliver")
    wait_for(instance, BOB, subject)


def test_remote_relay_down(instance, without, sink):
    without("remote-relay")
    subject = submit(instance, ALICE, "someone@example.net")
    assert not sink.find(subject)
    instance.supervisor.up("remote-relay")
    sink.wait_for(subject)


def test_mx_lookup(instance, sink):
    subject = submit(instance, ALICE, "someone@elsewhere.test")
    assert sink.wait_for(subject).recipients == ["someone@elsewhere.test"]


def test_resolverd_down(instance, without, sink):
    without("resolverd")
    subject = submit(instance, ALICE, "someone@elsewhere.test")
    assert "someone@elsewhere.test" in wait_until(lambda: instance.martlet("queue", "list").stdout)
    assert not sink.find(subject)
    instance.supervisor.up("resolverd")
    sink.wait_for(subject)


@pytest.mark.parametrize(("front", "login"), [("pop3d", pop3), ("imapd", imap)])
def test_mailbox_process_down(instance, without, front, login):
    without(f"{front}-mailbox")
    with pytest.raises((poplib.error_proto, imaplib.IMAP4.error), match="SYS/TEMP|UNAVAILABLE"):
        login(instance, ALICE)
    instance.supervisor.up(f"{front}-mailbox")
    login(instance, ALICE)


def test_everything_starts_in_any_order(instance):
    names = [service.name for service in SERVICES]
    for name in names:
        instance.supervisor.down(name)
    for name in reversed(names):
        instance.supervisor.up(name)
    wait_for(instance, BOB, receive(instance, BOB))


@pytest.mark.root
def test_a_full_disk(make_instance):
    instance = make_instance(start=False)
    spool = instance.directory / "spool"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "martlet-test", spool], check=True)
    try:
        for name, mode in (("incoming", 0o700), ("queue", 0o700), ("state", 0o700), ("hold", 0o700), ("corrupt", 0o700)):
            (spool / name).mkdir()
            own(spool / name, "mlt-queue", mode)
        own(spool, "mlt-queue", 0o700)
        instance.start()
        instance.supervisor.down("local-deliver")
        refused = None
        line = "x" * 76 + "\r\n"
        for _ in range(20):
            body = f"Subject: {token()}\r\n\r\n" + line * 40_000
            with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], timeout=60) as client:
                try:
                    client.sendmail("someone@example.org", [BOB], body)
                except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as error:
                    refused = error
            if refused:
                break
        assert refused and refused.smtp_code == 452 and refused.smtp_error.startswith(b"4.3.1"), refused
        assert not list((spool / "incoming").iterdir())
        assert queue(instance)
        instance.supervisor.up("local-deliver")
        instance.martlet("queue", "flush")
        wait_for_empty_queue(instance)
        wait_for(instance, BOB, receive(instance, BOB))
    finally:
        instance.stop()
        subprocess.run(["umount", spool], check=True)


@pytest.mark.parametrize("program", DAEMONS)
@pytest.mark.parametrize(
    ("find_text", "replacement", "expected"),
    [
        ("[smtpd]\n", "[smtpd]\nmaximum-mesage = 5\n", ("smtpd.maximum-mesage", "unknown")),
        ("[smtpd]\n", '[smtpd]\nmaximum-errors = "many"\n', ("smtpd.maximum-errors", "number")),
    ],
)
def test_a_broken_configuration(system, tmp_path, program, find_text, replacement, expected):
    text = system.configuration_file.read_text()
    broken = text.replace(find_text, replacement)
    line = broken[: broken.index(replacement)].count("\n") + 2
    (tmp_path / "martlet.toml").write_text(broken)
    command = [str(system.programs / program), "--instance", str(system.directory)]
    command += ["--config", str(tmp_path / "martlet.toml")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.returncode == 78
    assert f"martlet.toml:{line}: " in done.stderr
    for word in expected:
        assert word in done.stderr


def test_a_broken_configuration_is_not_tried_again(make_instance):
    instance = make_instance()
    text = instance.configuration_file.read_text()
    instance.write(instance.configuration_file, text + "\n[nonsense]\n")
    instance.supervisor.kill("smtpd")
    wait_until(lambda: "nonsense" in instance.supervisor.log_text("smtpd"))
    wait_until(lambda: instance.supervisor.pid("smtpd") is None)
    instance.write(instance.configuration_file, text)
    instance.supervisor.up("smtpd")
    with submission(instance, ALICE):
        pass
