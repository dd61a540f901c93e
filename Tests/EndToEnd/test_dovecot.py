"""A Maildir goes from Dovecot to Martlet and back, and no client notices."""

import imaplib
import os
import poplib
import re
import shutil
import sys
import time
from pathlib import Path

import configuration
import pytest
from conftest import ALICE
from mail import compose, pop3, receive, trust, wait_for

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Benchmarks"))

from dovecot import Dovecot  # noqa: E402

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("dovecot"), reason="needs Dovecot"),
]
DAY = 86_400
ITEM = re.compile(rb'\(([^)]*)\) "(.)" (?:"([^"]*)"|(\S+))$')
MESSAGE = re.compile(rb"(\d+) \((.*)\)$")


class Site:
    """The Maildir of one user, who is served by one system or the other."""

    def __init__(self, instance, layout: str):
        self.instance = instance
        self.options = ":LAYOUT=fs" if layout == "maildir-fs" else ""
        self.delimiter = "/" if layout == "maildir-fs" else "."
        line = next(
            line
            for line in (instance.directory / "etc" / "users").read_text().splitlines()
            if line.startswith(f"{ALICE}:")
        )
        ports = [port for port in configuration.free_ports().values() if port not in instance.ports.values()]
        # Dovecot's own users have to get there.
        instance.directory.parent.chmod(0o755)
        self.dovecot = Dovecot(
            instance.directory.parent / f"dovecot-{layout}",
            ports[0],
            ports[1],
            instance.certificate,
            ":".join(line.split(":")[:2]) + "\n",
            mail=instance.directory / "mail",
            owner="mlt-mail",
            options=self.options,
        )
        self.maildir = instance.directory / "mail" / "example.test" / "alice"

    def name(self, *parts: str) -> str:
        return self.delimiter.join(parts)

    def directory(self, *parts: str) -> Path:
        return self.maildir / (self.name(*parts) if self.delimiter == "/" else "." + self.name(*parts))

    def use(self, system: str) -> None:
        """Stops the one and starts the other."""
        if system == "dovecot":
            self.instance.stop()
            self.dovecot.start()
        else:
            self.dovecot.stop()
            self.instance.start()
        self.system = system

    def imap(self) -> imaplib.IMAP4:
        port = self.dovecot.ports["imaps"] if self.system == "dovecot" else self.instance.ports["imaps"]
        client = imaplib.IMAP4_SSL("localhost", port, timeout=60, ssl_context=trust(self.instance))
        client.login(ALICE, self.instance.passwords[ALICE])
        return client

    def identifiers(self) -> list[bytes]:
        if self.system == "martlet":
            client = pop3(self.instance, ALICE)
        else:
            port = self.dovecot.ports["pop3s"]
            client = poplib.POP3_SSL("localhost", port, timeout=60, context=trust(self.instance))
            client.user(ALICE)
            client.pass_(self.instance.passwords[ALICE])
        lines = client.uidl()[1]
        client.quit()
        return lines

    def state(self) -> dict:
        """All that clients remember of a mailbox."""
        client = self.imap()
        folders = {}
        for line in ok(client.list()):
            attributes, delimiter, quoted, plain = ITEM.match(line).groups()
            assert delimiter == self.delimiter.encode()
            name = (quoted or plain).decode()
            folders[name] = None if b"\\Noselect" in attributes else contents(client, name)
        subscribed = {ITEM.match(line).expand(rb"\3\4").decode() for line in ok(client.lsub())}
        client.logout()
        return {"folders": folders, "subscribed": subscribed, "identifiers": self.identifiers()}


def ok(answer: tuple) -> list:
    status, lines = answer
    assert status == "OK", lines
    return [line for line in lines if line]


def contents(client: imaplib.IMAP4, name: str) -> tuple:
    ok(client.select(f'"{name}"', readonly=True))
    numbers = [int(client.response(code)[1][0]) for code in ("UIDVALIDITY", "UIDNEXT")]
    messages = {}
    for line in ok(client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE)")):
        items = MESSAGE.match(line).group(2)
        flags = {flag.decode() for flag in re.search(rb"FLAGS \(([^)]*)\)", items).group(1).split()}
        messages[int(re.search(rb"UID (\d+)", items).group(1))] = (
            frozenset(flags - {"\\Recent"}),
            time.mktime(imaplib.Internaldate2tuple(b" " + items)),
            int(re.search(rb"RFC822.SIZE (\d+)", items).group(1)),
        )
    return (*numbers, messages)


def append(client: imaplib.IMAP4, name: str, flags: str, age: int) -> None:
    message = compose("bob@example.test", ALICE).as_bytes().replace(b"\n", b"\r\n")
    ok(client.append(f'"{name}"', flags, imaplib.Time2Internaldate(time.time() - age), message))


def fill(site: Site) -> None:
    """What a user has after some years."""
    client = site.imap()
    for parts in (["Work", "Reports"], ["M&APw-ll"], ["INBOX", "Sub"], ["Gone"]):
        ok(client.create(f'"{site.name(*parts)}"'))
        ok(client.subscribe(f'"{site.name(*parts)}"'))
    ok(client.delete('"Gone"'))
    for number in range(8):
        append(client, "INBOX", "(\\Seen)" if number % 2 else "()", number * 100 * DAY)
    append(client, site.name("Work", "Reports"), "(\\Draft \\Flagged)", 1000 * DAY)
    ok(client.select("INBOX"))
    ok(client.store("1:3", "+FLAGS", "($Junk hello)"))
    ok(client.store("2", "+FLAGS", "(\\Answered)"))
    ok(client.copy("1:4", f'"{site.name("INBOX", "Sub")}"'))
    ok(client.store("5", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    client.logout()


def change(site: Site) -> None:
    """What a user does on a day."""
    client = site.imap()
    ok(client.select("INBOX"))
    append(client, "INBOX", "()", 3 * DAY)
    append(client, "INBOX", "(\\Seen new)", 2 * DAY)
    ok(client.store("1", "-FLAGS", "(hello)"))
    ok(client.store("2", "+FLAGS", "(\\Flagged later)"))
    ok(client.copy("2:3", f'"{site.name("Work", "Reports")}"'))
    ok(client.store("4", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    name = site.name("Work", f"By {site.system}")
    ok(client.create(f'"{name}"'))
    ok(client.subscribe(f'"{name}"'))
    ok(client.unsubscribe('"M&APw-ll"') if site.system == "martlet" else client.subscribe('"M&APw-ll"'))
    append(client, name, "(\\Seen)", DAY)
    client.logout()


def compare(before: dict, after: dict) -> None:
    assert after["folders"].keys() == before["folders"].keys()
    for name, folder in before["folders"].items():
        assert after["folders"][name] == folder, name
    assert after["subscribed"] == before["subscribed"]
    assert after["identifiers"] == before["identifiers"]


@pytest.mark.parametrize("layout", ["maildir", "maildir-fs"])
def test_forth_and_back(make_instance, layout):
    instance = make_instance(users=(), start=False)
    instance.add_user(ALICE, None, "--format", layout)
    site = Site(instance, layout)
    try:
        site.use("dovecot")
        fill(site)
        site.dovecot.stop()
        # A message that came from another server before, as its clients know it.
        path = site.maildir / "dovecot-uidlist"
        path.write_text(path.read_text().replace("\n2 :", "\n2 Pfrom-before :"))
        for index in site.maildir.glob("dovecot.index*"):
            index.unlink()
        site.dovecot.start()
        before = site.state()
        assert len(before["folders"]["INBOX"][2]) == 7
        assert before["identifiers"][1] == b"2 from-before"

        site.use("martlet")
        compare(before, site.state())
        subject = receive(instance, ALICE)
        wait_for(instance, ALICE, subject)
        change(site)
        before = site.state()
        assert len(before["folders"]["INBOX"][2]) == 9

        site.use("dovecot")
        compare(before, site.state())
        change(site)
        before = site.state()

        site.use("martlet")
        compare(before, site.state())
        change_again = site.imap()
        ok(change_again.select("INBOX"))
        append(change_again, "INBOX", "()", 0)
        change_again.logout()
        assert len(site.state()["folders"]["INBOX"][2]) == len(before["folders"]["INBOX"][2]) + 1
    finally:
        site.dovecot.stop()


def test_both_at_once(make_instance):
    """Nobody should, but no message is lost and no UID given twice where somebody does."""
    instance = make_instance(users=(ALICE,))
    site = Site(instance, "maildir")
    try:
        site.dovecot.start()
        site.system = "martlet"
        ours = site.imap()
        site.system = "dovecot"
        theirs = site.imap()
        for client in (ours, theirs):
            ok(client.select("INBOX"))
        for number in range(20):
            append(ours, "INBOX", "(\\Seen)" if number % 2 else "()", number * DAY)
            append(theirs, "INBOX", "()" if number % 2 else "(\\Seen)", number * DAY)
        for client in (ours, theirs):
            ok(client.noop())
            ok(client.select("INBOX"))
        seen = [contents(client, "INBOX") for client in (ours, theirs)]
        assert len(seen[0][2]) == 40
        assert seen[0] == seen[1]
        for client in (ours, theirs):
            client.logout()
    finally:
        site.dovecot.stop()
    assert not list(site.maildir.glob("dovecot*.lock*"))
    assert os.listdir(site.maildir / "tmp") == []
