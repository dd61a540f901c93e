"""Users, aliases and domains under the hands of administrators, neighbours and people who guess passwords."""

import imaplib
import smtplib
import ssl
import threading
import time

import configuration
import layout
import pytest
from conftest import ALICE, BOB, CAROL
from test_commands import sendmail
from mail import (
    Talk,
    compose,
    find,
    imap,
    messages_on_disk,
    pop3,
    queue,
    receive,
    smtp,
    submission,
    trust,
    wait_for,
    wait_for_empty_queue,
    wait_for_log,
    wait_until,
)

DOMAIN = "other.test"


def reply_to_recipient(instance, address: str) -> str:
    with Talk(instance.ports["smtp"]) as client:
        client.reply()
        client.say(b"EHLO client.example.test")
        client.say(b"MAIL FROM:<someone@example.org>")
        return client.say(f"RCPT TO:<{address}>".encode())


def check(instance) -> tuple[int, str]:
    done = instance.martlet("check", check=False)
    return done.returncode, done.stdout


# Tables that can't be read


@pytest.fixture(scope="module")
def tables(module_factory, sink):
    instance = module_factory(
        {
            "remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}},
            "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
        },
        users=(ALICE, BOB, CAROL),
    )
    instance.add_alias(f"team: {ALICE}, {BOB}")
    return instance


def broken(path):
    path.write_text("this is no table\n")


def unreadable(path):
    path.chmod(0)


def missing(path):
    path.unlink()


@pytest.mark.root
@pytest.mark.parametrize("table", ["users", "aliases"])
@pytest.mark.parametrize("damage", [broken, unreadable, missing])
def test_authd_that_never_read_a_table_refuses_nobody(tables, table, damage):
    path = tables.directory / "etc" / table
    text = path.read_text()
    try:
        damage(path)
        tables.supervisor.restart("authd")
        for address in (ALICE, "team@example.test", "nobody@example.test"):
            wait_until(lambda: reply_to_recipient(tables, address).startswith("451"), what=f"451 for {address}")
        assert "stays in use" not in "".join(tables.supervisor.log_text("authd").splitlines(True)[-2:])
        code, said = check(tables)
        assert code == 1
        assert f"etc/{table}" in said
    finally:
        path.unlink(missing_ok=True)
        path.write_text(text)
        layout.own(path, "root", 0o640, "mlt-auth")
    wait_until(lambda: reply_to_recipient(tables, ALICE).startswith("250"))
    assert reply_to_recipient(tables, "team@example.test").startswith("250")
    assert reply_to_recipient(tables, "nobody@example.test").startswith("550 5.1.1")
    assert "WRONG  accounts" not in check(tables)[1]
    assert "WRONG  authd" not in check(tables)[1]


@pytest.mark.root
def test_check_looks_with_the_rights_of_authd(tables):
    path = tables.directory / "etc" / "aliases"
    try:
        layout.own(path, "root", 0o640, "root")
        code, said = check(tables)
        assert code == 1
        assert "authd (mlt-auth) may not read etc/aliases" in said
        assert "chgrp mlt-auth etc/aliases" in said
        # What it read before stays in use.
        assert reply_to_recipient(tables, "team@example.test").startswith("250")
    finally:
        layout.own(path, "root", 0o640, "mlt-auth")
    try:
        (tables.directory / "etc").chmod(0o700)
        assert "authd (mlt-auth) may not look into etc" in check(tables)[1]
    finally:
        (tables.directory / "etc").chmod(0o755)
    assert "authd (" not in check(tables)[1]


def test_check_names_every_faulty_line(tables):
    path = tables.directory / "etc" / "aliases"
    text = path.read_text()
    try:
        path.write_text(text + 'a, b: c\nfine: alice\nrun: "|/bin/true"\nlist: :include:\nlost: nobody.here\n')
        code, said = check(tables)
        first = len(text.splitlines()) + 1
        assert code == 1
        for line in (first, first + 2, first + 3):
            assert f"etc/aliases:{line}: " in said
        path.write_text(text + "lost: nobody.here\n")
        code, said = check(tables)
        assert code == 1
        assert "lost leads to nobody.here@example.test" in said
        path.write_text(text + f"bob: {ALICE}\n")
        assert f"{BOB} gets no mail: etc/aliases:{first} leads elsewhere" in check(tables)[1]
        path.write_text(text)
        users = tables.directory / "etc" / "users"
        known = users.read_text()
        try:
            users.write_text(known + "old@example.test:{MD5}none\nlocked@example.test:!\n")
            code, said = check(tables)
            assert code == 1
            assert "old@example.test has a password hash of no kind that authd knows" in said
            assert "locked@example.test" not in said
        finally:
            users.write_text(known)
    finally:
        path.write_text(text)


# Aliases


def test_keep_and_forward(tables, sink):
    tables.add_alias(f"carol: carol, away@example.net, {CAROL.upper()}")
    subject = receive(tables, CAROL)
    wait_for(tables, CAROL, subject)
    accepted = sink.wait_for(subject)
    assert accepted.recipients == ["away@example.net"]
    wait_for_empty_queue(tables)
    assert len(find(tables, CAROL, subject)) == 1


def test_a_list_in_a_file(tables, sink):
    """Its members get mail from its owner, who hears of failures; as long as it can't be read, mail for it waits."""
    etc = tables.directory / "etc"
    text = (etc / "aliases").read_text()
    try:
        tables.add_alias(f"news: :include:etc/lists/news\nowner-news: {CAROL}")
        assert reply_to_recipient(tables, "news@example.test").startswith("451")
        code, said = check(tables)
        assert code == 1 and "etc/lists/news" in said
        (etc / "lists").mkdir(mode=0o755, exist_ok=True)
        (etc / "lists" / "news").write_text("# members\nalice, bob\nreader@example.net\n")
        wait_until(lambda: reply_to_recipient(tables, "news@example.test").startswith("250"), what="the list")
        subject = receive(tables, "news@example.test")
        for address in (ALICE, BOB):
            assert wait_for(tables, address, subject)["Return-Path"] == "<owner-news@example.test>"
        sent = wait_until(lambda: [m for m in sink.messages if "reader@example.net" in m.recipients], what="the member elsewhere")
        assert sent[0].sender == "owner-news@example.test"
        assert check(tables)[0] == 0
    finally:
        (etc / "aliases").write_text(text)


def test_one_copy_for_each_mailbox(tables):
    tables.add_alias("twice: bob, Bob@Example.Test, bob@EXAMPLE.test, bob+x")
    subject = receive(tables, "twice@example.test")
    wait_for(tables, BOB, subject)
    wait_for_empty_queue(tables)
    assert len(find(tables, BOB, subject)) == 1


def test_an_alias_to_nobody_is_refused_at_once(tables):
    tables.add_alias("old: gone, former@example.test")
    wait_until(lambda: reply_to_recipient(tables, "old@example.test").startswith("550 5.1.1"))


# Mailboxes


def test_users_whose_mailboxes_would_meet_are_refused(make_instance):
    instance = make_instance(users=("a/b@example.test",), start=False)
    for address, options in (
        ("a_b@example.test", ()),
        ("x@example.test", ("--mailbox", "example.test/A_B")),
        ("x@example.test", ("--mailbox", "example.test/a_b/below")),
        ("x@example.test", ("--mailbox", "example.test")),
        ("x@example.test", ("--mailbox", "../outside")),
    ):
        done = instance.martlet("user", "add", address, *options, input="secret\n", check=False)
        assert done.returncode != 0, f"{address} {options}"
    instance.add_user("carol@example.test", None, "--format", "mbox")
    done = instance.martlet("user", "add", "carol.lock@example.test", input="secret\n", check=False)
    assert done.returncode != 0
    assert "carol@example.test" in done.stderr


def test_a_full_mailbox_is_refused_at_the_door(make_instance):
    instance = make_instance({"queue-manager": {"retry-minimum": "10m"}}, users=(ALICE,), start=False)
    instance.add_user(BOB, None, "--quota", "20KiB")
    instance.start()
    body = ("y" * 70 + "\n") * 115
    for _ in range(2):
        wait_for(instance, BOB, receive(instance, BOB, body=body))
    receive(instance, BOB, body=body)
    wait_until(lambda: reply_to_recipient(instance, BOB).startswith("452 4.2.2"), what="452 for a full mailbox")
    assert reply_to_recipient(instance, ALICE).startswith("250")
    assert len(messages_on_disk(instance, BOB)) == 2


@pytest.mark.parametrize("lines", [400, 2000])
def test_a_burst_fills_a_mailbox_and_no_more(make_instance, lines):
    """Messages that come with the request, and those that come in pieces."""
    instance = make_instance({"queue-manager": {"retry-minimum": "10m"}}, users=(ALICE,), start=False)
    quota = 1024 * 1024
    instance.add_user(BOB, None, "--quota", str(quota))
    instance.start()
    text = compose(ALICE, BOB, body=("y" * 70 + "\n") * lines)
    message = text.as_bytes(policy=text.policy.clone(linesep="\r\n"))
    with smtp(instance) as client:
        for _ in range(quota // len(message) * 3):
            try:
                client.sendmail("someone@example.org", [BOB], message)
            except smtplib.SMTPRecipientsRefused as refused:
                assert refused.recipients[BOB][0] == 452
                break
    wait_until(lambda: all(entry["state"] == "deferred" for entry in queue(instance)))
    octets = sum(path.stat().st_size for path in messages_on_disk(instance, BOB))
    assert quota - 3 * len(message) < octets <= quota


# Domains


def test_a_domain_comes_and_goes_without_a_restart(make_instance):
    # Until it's ours, nobody answers for it.
    routes = {DOMAIN: f"127.0.0.1:{configuration.free_port()}"}
    instance = make_instance({"remote-relay": {"routes": routes}}, users=(ALICE,))
    user = f"alice@{DOMAIN}"
    assert reply_to_recipient(instance, user).startswith("550 5.7.1")
    waiting = compose(ALICE, user)
    with submission(instance, ALICE) as client:
        client.send_message(waiting)
    pids = {name: instance.supervisor.pid(name) for name in layout.SERVICE_NAMES}
    instance.add_user(user)
    instance.configure({"domains": ["example.test", DOMAIN]})
    wait_until(lambda: reply_to_recipient(instance, user).startswith("250"))
    wait_for(instance, user, receive(instance, user))
    wait_for(instance, user, waiting["Subject"])
    instance.configure({"domains": ["example.test"]})
    wait_until(lambda: reply_to_recipient(instance, user).startswith("550 5.7.1"))
    # A file that can't be understood changes nothing.
    good = instance.configuration_file.read_text()
    instance.configuration_file.write_text("no-such-key = 1\n" + good.replace('"example.test"', '"nowhere.test"'))
    wait_for_log(instance, "authd", "what it said before stays in use")
    assert reply_to_recipient(instance, ALICE).startswith("250")
    instance.configuration_file.write_text(good)
    assert {name: instance.supervisor.pid(name) for name in layout.SERVICE_NAMES} == pids


def test_mail_waits_for_an_authd_that_is_away(make_instance):
    instance = make_instance(users=(ALICE,))
    instance.supervisor.down("authd")
    instance.supervisor.restart("queue-manager")
    subject = compose(ALICE, ALICE)
    sendmail(instance, "-t", input=subject.as_string())
    time.sleep(1)
    assert [entry["state"] for entry in queue(instance)] == ["queued"]
    instance.supervisor.up("authd")
    wait_for(instance, ALICE, subject["Subject"])


# Logins


class Guesser(threading.Thread):
    """Guesses a password by submission from an address of its own."""

    def __init__(self, instance, address: str, user: str, context: ssl.SSLContext):
        super().__init__(daemon=True)
        self.port = instance.ports["submissions"]
        self.source = address
        self.user = user
        self.context = context
        self.seconds = 0.0

    def run(self):
        began = time.monotonic()
        try:
            with smtplib.SMTP_SSL(
                "127.0.0.1",
                self.port,
                local_hostname="client.example.test",
                timeout=60,
                context=self.context,
                source_address=(self.source, 0),
            ) as client:
                client.login(self.user, "wrong")
        except (smtplib.SMTPException, OSError):
            pass
        self.seconds = time.monotonic() - began


def guess(instance, rounds: int, users) -> list[Guesser]:
    """As many guesses at a time from each of 27 addresses."""
    context = trust(instance)
    context.check_hostname = False
    guessers = [
        Guesser(instance, f"127.0.7.{number}", users(number), context) for number in range(1, 28) for _ in range(rounds)
    ]
    for guesser in guessers:
        guesser.start()
    return guessers


@pytest.mark.alone
def test_guessers_hold_nobody_up(make_instance):
    instance = make_instance({"smtpd": {"maximum-connections": 1000}}, users=(ALICE, BOB))
    for guesser in guess(instance, 5, lambda number: f"user{number}@example.test"):
        guesser.join()
    guess(instance, 8, lambda number: f"user{number}@example.test")
    time.sleep(1)
    for log_in in (submission, pop3, imap):
        began = time.monotonic()
        client = log_in(instance, ALICE)
        assert time.monotonic() - began < 3, log_in.__name__
        client.quit() if not isinstance(client, imaplib.IMAP4) else client.logout()


@pytest.mark.alone
def test_many_addresses_guess_at_one_account_no_faster(make_instance):
    """Nor does it keep out the owner, who was here before."""
    instance = make_instance({"smtpd": {"maximum-connections": 1000}}, users=(ALICE, BOB))
    submission(instance, ALICE).quit()
    for guesser in guess(instance, 1, lambda _: ALICE):
        guesser.join()
    late = guess(instance, 1, lambda _: ALICE)
    time.sleep(0.5)
    began = time.monotonic()
    submission(instance, ALICE).quit()
    assert time.monotonic() - began < 3
    for guesser in late:
        guesser.join()
    assert max(guesser.seconds for guesser in late) > 1
