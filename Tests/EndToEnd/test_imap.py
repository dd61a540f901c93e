"""imapd with imaplib and by hand."""

import base64
import imaplib
import re
import time

import pytest
from conftest import ALICE, BOB
from mail import Talk, compose, imap, read, receive, token, trust, wait_for

IDA = "ida@example.test"


@pytest.fixture
def client(system):
    if IDA not in system.passwords:
        system.add_user(IDA)
    client = imap(system, IDA)
    yield client
    try:
        client.logout()
    except (imaplib.IMAP4.error, OSError):
        pass


def ok(answer):
    """The data of an answer that must be OK."""
    assert answer[0] == "OK", answer
    return answer[1]


@pytest.fixture
def folder(client):
    """A folder with three messages, selected."""
    name = token()
    ok(client.create(name))
    for number in range(3):
        message = compose("someone@example.org", IDA, body=f"body number {number}\n")
        ok(client.append(name, "", imaplib.Time2Internaldate(time.time()), message.as_bytes()))
    ok(client.select(name))
    return name


def test_capabilities_before_and_after_tls(system):
    client = imaplib.IMAP4("127.0.0.1", system.ports["imap"], timeout=30)
    assert {"IMAP4REV1", "STARTTLS", "LOGINDISABLED"} <= set(client.capabilities)
    with pytest.raises(imaplib.IMAP4.error):
        client.login(IDA, "whatever")
    client.shutdown()
    client = imaplib.IMAP4("localhost", system.ports["imap"], timeout=30)
    client.starttls(trust(system))
    assert "LOGINDISABLED" not in client.capabilities and "AUTH=PLAIN" in client.capabilities
    client.logout()


def test_wrong_password(system):
    client = imaplib.IMAP4_SSL("localhost", system.ports["imaps"], ssl_context=trust(system), timeout=30)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client.login(ALICE, "wrong")
    client.shutdown()


def test_authenticate_plain(system, client):
    other = imaplib.IMAP4_SSL("localhost", system.ports["imaps"], ssl_context=trust(system), timeout=30)
    ok(other.authenticate("PLAIN", lambda _: f"\0{IDA}\0{system.passwords[IDA]}".encode()))
    assert other.state == "AUTH"
    other.logout()


def test_a_delivered_message_is_seen(system, client):
    subject = receive(system, IDA)
    wait_for(system, IDA, subject)
    ok(client.select("INBOX"))
    (found,) = ok(client.search(None, "SUBJECT", subject))
    (number,) = found.split()
    data = ok(client.fetch(number, "(FLAGS RFC822.SIZE BODY.PEEK[])"))
    assert read(data[0][1])["Subject"] == subject
    assert int(re.search(rb"RFC822.SIZE (\d+)", data[0][0])[1]) == len(data[0][1])
    assert b"\\Seen" not in data[0][0]
    ok(client.fetch(number, "(BODY[])"))
    assert b"\\Seen" in ok(client.fetch(number, "(FLAGS)"))[0]


def test_flags_and_expunge(client, folder):
    ok(client.store("1:2", "+FLAGS", "(\\Deleted \\Flagged)"))
    ok(client.store("2", "-FLAGS", "(\\Deleted)"))
    assert ok(client.search(None, "DELETED")) == [b"1"]
    assert ok(client.search(None, "FLAGGED", "NOT", "DELETED")) == [b"2"]
    assert ok(client.expunge()) == [b"1"]
    assert ok(client.search(None, "ALL")) == [b"1 2"]
    ok(client.close())
    status = ok(client.status(folder, "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))[0]
    assert b"MESSAGES 2" in status


def test_uids_are_stable(client, folder):
    before = ok(client.uid("FETCH", "1:*", "(UID RFC822.SIZE)"))
    ok(client.unselect())
    ok(client.select(folder))
    assert ok(client.uid("FETCH", "1:*", "(UID RFC822.SIZE)")) == before
    uids = [int(re.search(rb"UID (\d+)", line)[1]) for line in before]
    assert uids == sorted(set(uids))
    ok(client.uid("STORE", str(uids[0]), "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    message = compose("someone@example.org", IDA)
    ok(client.append(folder, "", None, message.as_bytes()))
    ok(client.noop())
    latest = ok(client.uid("FETCH", "*", "(UID)"))
    assert int(re.search(rb"UID (\d+)", latest[-1])[1]) > uids[-1]


def test_fetch_parts(client, folder):
    message = compose("Alice <alice@example.test>", BOB)
    message.add_attachment(b"\x00\x01\x02" * 100, maintype="image", subtype="png", filename="a.png")
    ok(client.append(folder, "(\\Seen)", None, message.as_bytes()))
    ok(client.noop())
    data = ok(client.fetch("4", "(ENVELOPE BODYSTRUCTURE)"))
    text = b"".join(part if isinstance(part, bytes) else b"".join(part) for part in data)
    assert b'"Alice" NIL "alice" "example.test"' in text
    assert re.search(rb'"image" "png"', text, re.IGNORECASE) and b'"a.png"' in text
    data = ok(client.fetch("4", "(BODY.PEEK[2])"))
    assert base64.b64decode(data[0][1]) == b"\x00\x01\x02" * 100
    data = ok(client.fetch("4", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    assert data[0][1].decode().strip() == f"Subject: {message['Subject']}"
    data = ok(client.fetch("4", "(BODY.PEEK[]<0.10>)"))
    assert data[0][1] == message.as_bytes().replace(b"\n", b"\r\n")[:10]


def test_search(client, folder):
    assert ok(client.search(None, "BODY", '"number 1"')) == [b"2"]
    assert ok(client.search(None, "OR", "BODY", '"number 0"', "BODY", '"number 2"')) == [b"1 3"]
    assert ok(client.search(None, "FROM", "someone", "UNSEEN")) == [b"1 2 3"]
    assert ok(client.search(None, "SINCE", "1-Jan-2020", "2:3")) == [b"2 3"]
    assert ok(client.search(None, "LARGER", "100000")) == [b""]


def test_folders(client):
    parent, child = token(), token()
    ok(client.create(f"{parent}"))
    delimiter = re.search(rb'"(.)"', ok(client.list('""', parent))[0])[1].decode()
    name = f"{parent}{delimiter}{child}"
    ok(client.create(name))
    ok(client.subscribe(name))
    assert any(child.encode() in line for line in ok(client.lsub()) if line)
    listed = ok(client.list('""', f'"{parent}*"'))
    assert len(listed) == 2
    ok(client.rename(name, f"{name}x"))
    assert any(f"{child}x".encode() in line for line in ok(client.list('""', "*")))
    ok(client.delete(f"{name}x"))
    ok(client.delete(parent))
    assert ok(client.list('""', f'"{parent}*"')) == [None]
    assert client.delete("INBOX")[0] == "NO"
    assert client.select("no-such-folder")[0] == "NO"


def test_a_folder_named_in_another_script(client):
    name = '"Entw&APw-rfe ' + token() + '"'
    ok(client.create(name))
    assert any(b"Entw&APw-rfe" in line for line in ok(client.list('""', "*")))
    ok(client.select(name))
    ok(client.close())
    ok(client.delete(name))


def test_copy(client, folder):
    other = token()
    ok(client.create(other))
    ok(client.copy("1:3", other))
    assert b"MESSAGES 3" in ok(client.status(other, "(MESSAGES)"))[0]
    ok(client.select(other))
    assert ok(client.search(None, "BODY", '"number 1"')) == [b"2"]


def test_examine_changes_nothing(client, folder):
    ok(client.select(folder, readonly=True))
    ok(client.fetch("1", "(BODY[])"))
    ok(client.select(folder))
    assert ok(client.search(None, "SEEN")) == [b""]


def test_namespace(client):
    assert b"NIL NIL" in ok(client.namespace())[0]


def test_idle_hears_of_new_mail(system, client):
    with Talk(system.ports["imaps"], trust(system)) as talk:
        line = lambda: talk.file.readline()  # noqa: E731

        def until(start):
            while not (text := line()).startswith(start):
                assert text, "the connection was closed"
            return text

        line()
        talk.write(f'a LOGIN {IDA} "{system.passwords[IDA]}"\r\n'.encode())
        assert b"OK" in until(b"a ")
        talk.write(b"b SELECT INBOX\r\n")
        assert b"OK" in until(b"b ")
        talk.write(b"c IDLE\r\n")
        assert until(b"+")
        receive(system, IDA)
        while not re.match(rb"\* \d+ EXISTS", text := line()):
            assert text
        talk.write(b"DONE\r\n")
        assert b"OK" in until(b"c ")


@pytest.mark.parametrize(
    "line", [b"a NONSENSE", b"a", b"", b"a FETCH 1 (", b"a LOGIN {99999999999}", b"\xff\xfe", b"a SELECT \"x", b"(" * 3000]
)
def test_nonsense_is_answered(system, line):
    with Talk(system.ports["imaps"], trust(system)) as talk:
        talk.file.readline()
        talk.write(line + b"\r\n")
        assert re.match(rb"(\*|a) (BAD|NO|BYE)", talk.file.readline())
        if line != b"a LOGIN {99999999999}":
            talk.write(b"b NOOP\r\n")
            assert re.match(rb"b OK|\* BYE", talk.file.readline())


def test_what_is_pipelined_behind_starttls_is_thrown_away(system):
    with Talk(system.ports["imap"]) as talk:
        talk.file.readline()
        talk.write(b"a STARTTLS\r\nb NOOP\r\n")
        assert talk.file.readline().startswith(b"a OK")
        talk.start_tls(trust(system))
        talk.write(b"c NOOP\r\n")
        assert talk.file.readline().startswith(b"c OK")
