"""pop3d with poplib and by hand."""

import base64
import poplib

import pytest
from conftest import ALICE, BOB
from mail import Talk, pop3, read, receive, trust, wait_for

POPPY = "poppy@example.test"


@pytest.fixture
def poppy(system):
    """A mailbox of its own with three messages."""
    if POPPY not in system.passwords:
        system.add_user(POPPY)
    client = pop3(system, POPPY)
    for number in range(client.stat()[0]):
        client.dele(number + 1)
    client.quit()
    subjects = [receive(system, POPPY, body=f"number {number}\n.\n..\n") for number in range(3)]
    for subject in subjects:
        wait_for(system, POPPY, subject)
    return subjects


def test_capabilities(system):
    client = poplib.POP3("127.0.0.1", system.ports["pop3"], timeout=30)
    assert client.getwelcome().startswith(b"+OK")
    before = client.capa()
    assert {"TOP", "UIDL", "PIPELINING", "STLS"} <= set(before)
    assert "SASL" not in before
    client.stls(context=trust(system))
    after = client.capa()
    assert "PLAIN" in after["SASL"] and "USER" in after and "STLS" not in after
    client.quit()


def test_reading(system, poppy):
    client = pop3(system, POPPY)
    count, octets = client.stat()
    assert count == 3
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    assert sum(sizes) == octets
    identifiers = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(identifiers)) == 3
    for number in range(1, 4):
        octets = b"\r\n".join(client.retr(number)[1]) + b"\r\n"
        assert len(octets) == sizes[number - 1]
        assert read(octets)["Subject"] in poppy
        assert b"\r\n.\r\n..\r\n" in octets
        top = client.top(number, 1)[1]
        assert top[-2] == b"" and top[-1].startswith(b"number ")
    client.quit()
    client = pop3(system, POPPY)
    assert [line.split()[1] for line in client.uidl()[1]] == identifiers
    client.quit()


def test_deletions_count_at_quit_only(system, poppy):
    client = pop3(system, POPPY)
    client.dele(1)
    with pytest.raises(poplib.error_proto):
        client.retr(1)
    client.rset()
    client.dele(2)
    assert client.stat()[0] == 2
    client.close()
    client = pop3(system, POPPY)
    assert client.stat()[0] == 3
    client.dele(2)
    client.quit()
    client = pop3(system, POPPY)
    assert client.stat()[0] == 2
    client.quit()


def test_the_mailbox_is_locked(system, poppy):
    client = pop3(system, POPPY)
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        pop3(system, POPPY)
    client.quit()
    pop3(system, POPPY).quit()


def test_wrong_password(system):
    client = poplib.POP3_SSL("localhost", system.ports["pop3s"], context=trust(system), timeout=30)
    client.user(ALICE)
    with pytest.raises(poplib.error_proto, match="AUTH"):
        client.pass_("wrong")
    client.close()


def test_passwords_need_tls(system):
    client = poplib.POP3("127.0.0.1", system.ports["pop3"], timeout=30)
    with pytest.raises(poplib.error_proto):
        client.user(ALICE)
        client.pass_(system.passwords[ALICE])
    client.close()


def test_sasl_plain_and_pipelining(system, poppy):
    with Talk(system.ports["pop3s"], trust(system)) as talk:
        talk.file.readline()
        secret = base64.b64encode(f"\0{POPPY}\0{system.passwords[POPPY]}".encode())
        talk.write(b"AUTH PLAIN\r\n")
        assert talk.file.readline().startswith(b"+ ")
        talk.write(secret + b"\r\n")
        assert talk.file.readline().startswith(b"+OK")
        talk.write(b"STAT\r\nNOOP\r\nNONSENSE\r\nLIST 99\r\nQUIT\r\n")
        replies = [talk.file.readline() for _ in range(5)]
        assert [reply[:3] for reply in replies] == [b"+OK", b"+OK", b"-ER", b"-ER", b"+OK"]
        assert talk.is_closed()


def test_what_is_pipelined_behind_stls_is_thrown_away(system):
    with Talk(system.ports["pop3"]) as talk:
        talk.file.readline()
        talk.write(b"STLS\r\nNONSENSE\r\n")
        assert talk.file.readline().startswith(b"+OK")
        talk.start_tls(trust(system))
        talk.write(b"CAPA\r\n")
        assert talk.file.readline().startswith(b"+OK")


def test_a_line_without_end_is_refused(system):
    with Talk(system.ports["pop3"]) as talk:
        talk.file.readline()
        try:
            talk.write(b"x" * 1_000_000 + b"\r\n")
            assert not talk.file.readline().startswith(b"+OK")
        except ConnectionError:
            pass


def test_two_users_see_their_own_mail(system, poppy):
    client = pop3(system, BOB)
    seen = b"".join(b"\r\n".join(client.retr(number + 1)[1]) for number in range(min(client.stat()[0], 20)))
    client.quit()
    assert not any(subject.encode() in seen for subject in poppy)
