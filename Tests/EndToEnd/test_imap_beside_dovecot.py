"""imapd beside Dovecot: the same random mailbox, the same questions, the same answers.

Left out is what both do differently on purpose: Dovecot takes several blanks in a field, and the tab before which it is folded, for
one blank.
"""

import email.utils
import imaplib
import os
import pwd
import random
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from mail import imap, token

DOVECOT = Path("/usr/lib/dovecot/imap")
LEO = "leo@example.test"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not DOVECOT.exists(), reason="Dovecot is not installed"),
]

CONFIGURATION = """\
base_dir = {directory}/run
log_path = /dev/stderr
mail_location = maildir:{directory}/mail
mail_fsync = never
first_valid_uid = 1
first_valid_gid = 1
ssl = no
"""


@pytest.fixture(scope="module")
def other():
    """A session with Dovecot's IMAP process, which is logged in when it starts. Root may have no mail there."""
    directory = Path(tempfile.mkdtemp(prefix="mlt-dovecot-", dir="/var/tmp"))
    (directory / "run").mkdir()
    configuration = directory / "dovecot.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory))
    owner = pwd.getpwnam("mail")
    for path in (directory, directory / "run"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    client = imaplib.IMAP4_stream(
        f"exec setpriv --reuid mail --regid mail --clear-groups env USER=mail HOME={directory} "
        f"{DOVECOT} -c {configuration} 2>{directory}/log"
    )
    yield client
    client.logout()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def ours(system):
    if LEO not in system.passwords:
        system.add_user(LEO)
    client = imap(system, LEO)
    yield client
    client.logout()


SUBJECTS = (
    "apples", "Apples", "re: apples", "Re[2]: apples", "[list] Re: apples (fwd)", "Fwd: pears", "pears", "[fwd: pears]", "",
    "=?utf-8?q?=C3=84pfel?=", "Re: =?iso-8859-1?q?=C4pfel?=", "=?utf-8?q?zw=C3=B6lf?=", "two  words", "two words", "Re:", "zebra\r\n\tfolded",
)  # fmt: skip
PEOPLE = (
    "Amy <amy@a.test>", "bob@b.test", '"Carol, C." <zed@c.test>', "=?utf-8?q?J=C3=B6rg?= <joerg@d.test>", "BOB@e.test",
    "group: x@y.test, z@y.test;", "<dora@f.test>", "(comment) eve@g.test (Eve)",
)  # fmt: skip
ZONES = ("+0000", "-0800", "+0530", "+1300")


def letter(dice: random.Random, known: list[str]) -> tuple[bytes, str]:
    """A random message that may answer some of those before it, or ones that never were."""
    identifier = f"<{dice.getrandbits(60):x}@m.test>"
    fields = [f"From: {dice.choice(PEOPLE)}", f"To: {', '.join(dice.sample(PEOPLE, dice.randint(1, 3)))}"]
    if dice.random() < 0.3:
        fields.append(f"Cc: {dice.choice(PEOPLE)}")
    subject = dice.choice(SUBJECTS)
    if subject or dice.random() < 0.5:
        fields.append(f"Subject: {subject}")
    if dice.random() < 0.9:
        day, hour = dice.randint(1, 28), dice.randint(0, 23)
        fields.append(f"Date: {day} Feb 2026 {hour:02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02} {dice.choice(ZONES)}")
    if dice.random() < 0.9:
        fields.append(f"Message-ID: {identifier}")
    if known and dice.random() < 0.6:
        chain = dice.sample(known, min(len(known), dice.randint(1, 4)))
        if dice.random() < 0.2:
            chain.insert(dice.randint(0, len(chain)), f"<gone{dice.randint(1, 5)}@m.test>")
        fields.append(f"References: {' '.join(chain)}" if dice.random() < 0.7 else f"In-Reply-To: {chain[-1]}")
    body = "\r\n".join(dice.choice(["hello", "word " * dice.randint(1, 40), "", "grüße"]) for _ in range(dice.randint(1, 9)))
    return ("\r\n".join(fields) + "\r\n\r\n" + body + "\r\n").encode(), identifier


def fill(clients, seed: int, count: int = 60) -> str:
    """Puts the same messages into a new folder of each, and selects it."""
    dice = random.Random(seed)
    name = token()
    known: list[str] = []
    for client in clients:
        assert client.create(name)[0] == "OK"
    for _ in range(count):
        message, identifier = letter(dice, known)
        known.append(identifier)
        date = email.utils.localtime().replace(year=2025, month=dice.randint(1, 12), day=dice.randint(1, 28), microsecond=0)
        flags = " ".join(dice.sample(["\\Seen", "\\Flagged", "\\Answered", "\\Draft"], dice.randint(0, 3)))
        for client in clients:
            assert client.append(name, f"({flags})", imaplib.Time2Internaldate(date), message)[0] == "OK"
    for client in clients:
        assert client.select(name)[0] == "OK"
    return name


def ask(client, name: str, *arguments: str):
    status, _ = client._simple_command(name, *arguments)
    kind = "ESEARCH" if "RETURN" in arguments[0] or "RETURN" in arguments[-1] else name.removeprefix("UID ")
    data = client._untagged_response(status, [None], kind)[1]
    return status, [re.sub(rb'\(TAG "[^"]*"\)', b"(TAG)", line) if line else line for line in data]


def same(one, other, *command: str) -> None:
    first, second = (ask(client, *command) for client in (one, other))
    assert first == second, f"{command}\nours:    {first}\nDovecot: {second}"


@pytest.fixture(scope="module", params=range(2))
def both(ours, other, request):
    fill((ours, other), request.param)
    return ours, other


@pytest.mark.parametrize(
    "keys",
    ["ARRIVAL", "DATE", "SUBJECT", "SUBJECT DATE", "REVERSE DATE", "FROM", "TO", "CC REVERSE SUBJECT ARRIVAL", "SIZE DATE",
     "DISPLAYFROM", "DISPLAYTO DATE"],
)  # fmt: skip
def test_sort(both, keys):
    same(*both, "SORT", f"({keys})", "UTF-8", "ALL")


@pytest.mark.parametrize("algorithm", ["ORDEREDSUBJECT", "REFERENCES", "REFS"])
def test_thread(both, algorithm):
    same(*both, "THREAD", algorithm, "UTF-8", "ALL")


@pytest.mark.parametrize(
    "keys",
    ["FROM bob", "SUBJECT apples", "SUBJECT words", "TO joerg", "BODY hello", "TEXT pears", "SENTSINCE 10-Feb-2026",
     "SENTON 3-Feb-2026", "BEFORE 1-Jul-2025", "LARGER 500 SEEN", "OR (FLAGGED UNSEEN) (ANSWERED NOT DRAFT)", "HEADER Cc \"\"",
     "NOT HEADER Subject \"\"", "OLDER 3600", "3,5:9,20:*", "UID 10:30 UNSEEN", "SMALLER 300", "KEYWORD $Nothing"],
)  # fmt: skip
def test_search(both, keys):
    same(*both, "SEARCH", keys)
    same(*both, "SEARCH", f"RETURN (MIN MAX COUNT ALL) {keys}")


def flat(data) -> bytes:
    """What FETCH has said, whether strings came as literals or between quotes, and with one blank for several and for tabs."""
    text = b""
    for part in data:
        head, literal = part if isinstance(part, tuple) else (part, None)
        text += head if literal is None else re.sub(rb"\{\d+\}$", b"", head) + b'"' + literal + b'"'
    return re.sub(rb"[ \t]+", b" ", text)


@pytest.mark.parametrize(
    "item", ["ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE", "BINARY.SIZE[1]", "BODY.PEEK[HEADER.FIELDS (SUBJECT TO)]"]
)
def test_fetch(both, item):
    for number in range(1, 61):
        one, other = (flat(client.fetch(str(number), f"({item})")[1]) for client in both)
        assert one == other


def said(client, command: str, *arguments: str):
    """What a command has been answered with: the status, its code, and what was told of messages, without the numbers of sequences."""
    client.untagged_responses.clear()
    status, data = client._simple_command(*command.split(), *arguments)
    code = re.match(rb"\[([A-Z]+)([^\]]*)\]", data[-1] or b"")
    told = {kind: client.untagged_responses.get(kind, []) for kind in ("FETCH", "VANISHED", "EXPUNGE", "SEARCH", "ESEARCH")}
    told["ESEARCH"] = [re.sub(rb'\(TAG "[^"]*"\)', b"(TAG)", line) for line in told["ESEARCH"]]
    told["FETCH"] = [plain(line) for line in told["FETCH"]]
    lines = {kind: sorted(re.sub(rb"MODSEQ \(?\d+\)?", b"MODSEQ", line) for line in lines) for kind, lines in told.items()}
    client.untagged_responses.clear()
    return status, code and code[1], code and code[1] == b"MODIFIED" and code[2], lines


def plain(line: bytes) -> bytes:
    """A FETCH response with its items and flags in order, and without \\Recent."""
    number = line.split()[0]
    uid = re.search(rb"UID \d+", line)
    flags = re.search(rb"FLAGS \(([^)]*)\)", line)
    sequence = re.search(rb"MODSEQ \(\d+\)", line)
    ordered = flags and b"FLAGS " + b" ".join(sorted(set(flags[1].split()) - {b"\\Recent"}))
    return b" ".join(part for part in (number, uid and uid[0], ordered, sequence and sequence[0]) if part)


def test_changes(ours, other):
    """CONDSTORE and QRESYNC: who comes back hears the same of both."""
    name = fill((ours, other), 7, count=30)
    known = []
    for client in (ours, other):
        assert client.unselect()[0] == "OK"
        assert client.enable("QRESYNC")[0] == "OK"
        assert client.select(name)[0] == "OK"
        known.append([int(client.response(code)[1][-1]) for code in ("UIDVALIDITY", "HIGHESTMODSEQ")])
    for client in (ours, other):
        # Dovecot doesn't answer for flags that stay what they were.
        assert client.uid("STORE", "1:*", "FLAGS", "()")[0] == "OK"
    script = [
        ("UID STORE", "1:3", "+FLAGS", "(\\Flagged)"), ("UID STORE", "4:6", "+FLAGS.SILENT", "(\\Deleted)"),
        ("UID STORE", "1:2", "(UNCHANGEDSINCE {known})", "+FLAGS", "(\\Draft)"), ("UID STORE", "20", "(UNCHANGEDSINCE {known})", "+FLAGS", "($New)"),
        ("UID FETCH", "1:*", "(FLAGS)", "(CHANGEDSINCE {known})"), ("UID EXPUNGE", "1:5"),
        ("UID FETCH", "1:*", "(FLAGS)", "(CHANGEDSINCE {known} VANISHED)"), ("UID SEARCH", "MODSEQ", "{later}"),
        ("UID SEARCH", "RETURN", "(COUNT MAX)", "MODSEQ", "{later}"), ("UID MOVE", "10:11", "INBOX"),
        ("SELECT", name, "(QRESYNC ({validity} {known}))"), ("SELECT", name, "(QRESYNC ({validity} {known} 2:12))"),
        ("EXAMINE", name, "(QRESYNC ({validity} 1 1:12))"), ("EXAMINE", name, "(QRESYNC (1 {known}))"),
    ]  # fmt: skip
    for command in script:
        answers = []
        for client, (validity, sequence) in zip((ours, other), known, strict=True):
            words = [word.format(validity=validity, known=sequence, later=sequence + 1) for word in command]
            answers.append(said(client, *words))
        assert answers[0] == answers[1], f"{command}\nours:    {answers[0]}\nDovecot: {answers[1]}"
