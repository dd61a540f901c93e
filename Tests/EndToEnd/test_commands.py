"""martlet, sendmail and mailq."""

import json
import os
import smtplib

import pytest
from conftest import ALICE, BOB
from layout import SERVICE_NAMES
from mail import compose, pop3, queue, receive, sendmail, submit, token, wait_for, wait_until


def test_sendmail_with_recipients(system):
    subject = token()
    done = sendmail(system, "-f", ALICE, "-oi", "--", BOB, input=f"Subject: {subject}\n\nline\n.\nafter the dot\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    message = wait_for(system, BOB, subject)
    assert message.get_content().replace("\r\n", "\n") == "line\n.\nafter the dot\n"
    assert message["Return-Path"] == f"<{ALICE}>"


def test_sendmail_ends_at_a_dot_without_i(system):
    subject = token()
    assert sendmail(system, BOB, input=f"Subject: {subject}\n\nbefore\n.\nafter\n").returncode == 0
    assert wait_for(system, BOB, subject).get_content().replace("\r\n", "\n") == "before\n"


def test_sendmail_drops_the_line_of_an_mbox(system):
    """However long it is."""
    for line in ["From alice Thu Jan  1 00:00:00 2026", "From " + "x" * 100_000]:
        subject = token()
        assert sendmail(system, BOB, input=f"{line}\nSubject: {subject}\n\nhello\n").returncode == 0
        assert wait_for(system, BOB, subject).get_content().replace("\r\n", "\n") == "hello\n"


def test_sendmail_reads_recipients_from_the_header(system):
    subject = token()
    text = f"From: {ALICE}\nTo: Bob <{BOB}>\nCc: {ALICE}\nBcc: dave@example.test\nSubject: {subject}\n\nhi\n"
    assert sendmail(system, "-t", "-i", input=text).returncode == 0
    for address in (ALICE, BOB, "dave@example.test"):
        message = wait_for(system, address, subject)
        assert message["Bcc"] is None


def test_sendmail_without_recipients(system):
    assert sendmail(system, input="Subject: x\n\nhi\n").returncode == os.EX_USAGE
    assert sendmail(system, "-t", input="Subject: x\n\nhi\n").returncode in (os.EX_USAGE, os.EX_DATAERR, os.EX_NOUSER)


def test_sendmail_smtp_on_standard_input(system):
    subject = token()
    text = f"Subject: {subject}\r\nBcc: dave@example.test\r\n\r\nhi\r\n..stuffed\r\n.\r\n"
    talk = f"EHLO here\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n{text}QUIT\r\n"
    done = sendmail(system, "-bs", input=talk)
    assert done.returncode == 0
    assert [line[:3] for line in done.stdout.splitlines() if line[3] == " "] == ["220", "250", "250", "250", "354", "250", "221"]
    message = wait_for(system, BOB, subject)
    assert message["Bcc"] is None and message["Message-ID"] and message["Date"]
    assert ALICE in message["From"] and message.get_content() == "hi\n.stuffed\n"


# As programs call it: Debian's cron, PHP's mail(), mutt, s-nail, git send-email, and what old scripts have.
CALLS = {
    "cron": ("-FCronDaemon", "-i", "-B8BITMIME", "-oem", BOB),
    "php": ("-t", "-i", "-f", ALICE),
    "mutt": ("-oem", "-oi", "-f", ALICE, "-N", "failure,delay", "-R", "hdrs", "-V", "id 1", "--", BOB),
    "s-nail": ("-i", "-r", ALICE, "--", BOB),
    "git": ("-i", BOB),
    "scripts": ("-v", "-odb", "-o", "i", "-O", "DeliveryMode=b", "-h", "5", "-U", "-G", "-n", "-m", "-d0.1", "-d", "-a", "-bm", BOB),
    "a name in -f": ("-i", "-f", f"Alice <{ALICE}>", BOB),
}


@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS)
def test_sendmail_as_programs_call_it(system, arguments):
    subject = token()
    done = sendmail(system, *arguments, input=f"To: {BOB}\nSubject: {subject}\n\nline\n.\nbehind the dot\n")
    assert (done.returncode, done.stderr) == (0, "")
    message = wait_for(system, BOB, subject)
    assert "behind the dot" in message.get_content()
    if ALICE in " ".join(arguments):
        assert message["Return-Path"] == f"<{ALICE}>"


@pytest.mark.parametrize(
    "arguments", [("-bd",), ("-bt",), ("-R", "some", BOB), ("-N", "sometimes", BOB), ("-f",), ("-qGfoo",), ("-bv",), ("--bad", BOB)]
)
def test_sendmail_that_nobody_understands(system, arguments):
    done = sendmail(system, *arguments, input="Subject: x\n\nhi\n")
    assert done.returncode == os.EX_USAGE and done.stderr


def test_sendmail_with_variable_senders(system, sink):
    """Each recipient's mail has a sender of its own, and so has what comes back."""
    sink.replies["nobody"] = "550 5.1.1 no such user"
    recipients = ["reader@example.net", "nobody@example.net"]
    subject = token()
    try:
        done = sendmail(system, "-XV", "-f", ALICE, "--", *recipients, input=f"Subject: {subject}\n\nhi\n")
        assert (done.returncode, done.stderr) == (0, "")
        accepted = sink.wait_for(subject)
        assert (accepted.sender, accepted.recipients) == ("alice+reader=example.net@example.test", [recipients[0]])
        bounce = wait_for(system, ALICE, "nobody@example.net")
        assert bounce["To"] == "alice+nobody=example.net@example.test" and bounce["Return-Path"] == "<>"
    finally:
        del sink.replies["nobody"]


@pytest.mark.root
def test_sendmail_verifies_addresses(system):
    done = sendmail(system, "-bv", BOB, "x@example.net")
    assert done.returncode == 0 and f"{BOB}... deliverable: mailer local-deliver, user {BOB}" in done.stdout
    assert "x@example.net... deliverable: mailer remote-relay, host example.net" in done.stdout
    done = sendmail(system, "-bv", "nobody@example.test", BOB)
    assert done.returncode == os.EX_NOUSER and "nobody@example.test... undeliverable: 5.1.1" in done.stdout
    assert f"{BOB}... deliverable" in done.stdout


def test_newaliases(system):
    for done in (sendmail(system, name="newaliases"), sendmail(system, "-bi"), sendmail(system, "-I")):
        assert done.returncode == 0 and "aliases" in done.stdout


def test_sendmail_while_the_queue_manager_is_down(make_instance):
    instance = make_instance()
    instance.supervisor.down("queue-manager")
    done = sendmail(instance, BOB, input="Subject: x\n\nhi\n")
    assert done.returncode == os.EX_TEMPFAIL and done.stderr
    instance.supervisor.down("authd")
    for done in (sendmail(instance, name="newaliases"), sendmail(instance, "-bi")):
        assert done.returncode == os.EX_TEMPFAIL and "authd cannot be asked" in done.stderr


def entry(instance, text):
    """The message in the queue with this recipient."""
    for message in queue(instance):
        if text in json.dumps(message):
            return message
    return None


@pytest.fixture
def waiting(system, sink):
    """A message that waits because the other host says so; its recipient and its ID."""
    name = token()
    sink.replies[name] = "450 4.2.0 come back later"
    submit(system, ALICE, f"{name}@example.net")
    message = wait_until(lambda: entry(system, name))
    yield name, message["id"]
    sink.replies.pop(name, None)
    system.martlet("queue", "remove", message["id"], check=False)


def test_queue_list_show_and_mailq(system, waiting):
    name, identifier = waiting
    assert identifier in system.martlet("queue", "list").stdout
    assert identifier in sendmail(system, "-bp").stdout
    listed = sendmail(system, name="mailq")
    assert listed.returncode == 0 and identifier in listed.stdout and f"{name}@example.net" in listed.stdout
    shown = system.martlet("queue", "show", identifier).stdout
    assert ALICE in shown and f"{name}@example.net" in shown and "Subject:" in shown
    for option, value in (("--sender", ALICE), ("--recipient", f"{name}@example.net"), ("--domain", "example.net")):
        assert identifier in system.martlet("queue", "list", option, value).stdout
        assert identifier not in system.martlet("queue", "list", option, "nobody@elsewhere.test").stdout


def test_queue_flush(system, sink, waiting):
    name, identifier = waiting
    del sink.replies[name]
    system.martlet("queue", "flush", identifier)
    wait_until(lambda: entry(system, name) is None)
    assert [message for message in sink.messages if f"{name}@example.net" in message.recipients]


@pytest.mark.root
def test_sendmail_flushes_some(system, sink, waiting):
    name, identifier = waiting
    del sink.replies[name]
    assert sendmail(system, "-qRelsewhere.test").returncode == 0
    assert entry(system, name) is not None
    assert sendmail(system, f"-qI{identifier}").returncode == 0
    wait_until(lambda: entry(system, name) is None)


def test_queue_hold_and_release(system, sink, waiting):
    name, identifier = waiting
    system.martlet("queue", "hold", identifier)
    del sink.replies[name]
    system.martlet("queue", "flush")
    assert entry(system, name) is not None
    assert not [message for message in sink.messages if f"{name}@example.net" in message.recipients]
    system.martlet("queue", "release", identifier)
    wait_until(lambda: [message for message in sink.messages if f"{name}@example.net" in message.recipients])


def test_queue_remove(system, waiting):
    name, identifier = waiting
    system.martlet("queue", "remove", identifier)
    assert entry(system, name) is None
    assert not list((system.directory / "spool").glob(f"*/*/{identifier}"))


def test_queue_bounce(system, waiting):
    name, identifier = waiting
    system.martlet("queue", "bounce", identifier)
    assert wait_for(system, ALICE, f"{name}@example.net").get_content_type() == "multipart/report"
    wait_until(lambda: entry(system, name) is None)


def test_queue_statistics(system, waiting):
    assert system.martlet("queue", "statistics").stdout.strip()
    assert json.loads(system.martlet("queue", "statistics", "--json").stdout)


def test_queue_of_an_unknown_message(system):
    done = system.martlet("queue", "show", "0" * 24, check=False)
    assert done.returncode != 0 and done.stderr


def test_users_without_restart(system):
    address = f"{token()}@example.test"
    system.add_user(address, "first password")
    wait_for(system, address, receive(system, address))
    assert address in system.martlet("user", "list").stdout
    assert address in json.dumps(json.loads(system.martlet("user", "list", "--json").stdout))
    pop3(system, address).quit()

    system.martlet("user", "password", address, input="second password\n")
    with pytest.raises(Exception, match="AUTH"):
        pop3(system, address)
    system.passwords[address] = "second password"
    pop3(system, address).quit()

    system.martlet("user", "remove", address)
    wait_until(lambda: is_refused(system, address), 10, f"{address} is unknown")
    with pytest.raises(Exception, match="AUTH"):
        pop3(system, address)
    assert address not in system.martlet("user", "list").stdout


def is_refused(system, address) -> bool:
    """Whether mail for an address is refused; smtpd may believe for a moment that it exists."""
    try:
        receive(system, address)
    except smtplib.SMTPRecipientsRefused as error:
        assert error.recipients[address][0] == 550
        return True
    return False


def test_adding_a_user_twice(system):
    done = system.martlet("user", "add", ALICE, input="x\n", check=False)
    assert done.returncode != 0 and ALICE in done.stderr


def test_status(system):
    receive(system, BOB)
    text = system.martlet("status").stdout
    values = json.dumps(json.loads(system.martlet("status", "--json").stdout))
    for name in SERVICE_NAMES:
        assert name in text and name in values
    for name in SERVICE_NAMES:
        assert str(system.supervisor.pid(name)) in values


def test_status_of_a_daemon_that_is_down(make_instance):
    instance = make_instance()
    instance.supervisor.down("remote-relay")
    done = instance.martlet("status", check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("remote-relay")]
    assert "down" in line
    assert done.returncode != 0


def test_check(system):
    done = system.martlet("check", check=False)
    assert "alice" not in done.stderr
    assert done.returncode in (0, 1), done.stderr


def test_check_says_what_is_wrong(make_instance):
    instance = make_instance(start=False)
    instance.certificate.unlink()
    done = instance.martlet("check", check=False)
    assert done.returncode != 0
    assert "certificate.pem" in done.stdout + done.stderr


def test_version(system):
    assert system.martlet("version").stdout.strip()


def test_compose_and_reply(system):
    """A message that a program wrote with sendmail can be answered by submission."""
    message = compose(ALICE, BOB)
    assert sendmail(system, "-t", input=message.as_string()).returncode == 0
    wait_for(system, BOB, message["Subject"])
    wait_for(system, ALICE, submit(system, BOB, ALICE))
