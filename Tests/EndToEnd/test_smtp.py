"""smtpd as a stranger meets it: replies, limits, refusals."""

import smtplib

import pytest
from conftest import ALICE, BOB
from mail import Talk, find, receive, submission, token, trust, wait_for


def refusal(call) -> tuple[int, str]:
    """The code and text with which a call of smtplib is refused."""
    with pytest.raises(smtplib.SMTPResponseException) as caught:
        call()
    return caught.value.smtp_code, caught.value.smtp_error.decode()


def greeted(system, port="smtp") -> Talk:
    talk = Talk(system.ports[port])
    assert talk.reply().startswith("220 mail.example.test ")
    assert talk.say(b"EHLO client.example.test").startswith("250")
    return talk


def test_ehlo_offers_what_is_there(system):
    with Talk(system.ports["smtp"]) as talk:
        assert talk.reply().startswith("220 mail.example.test ")
        lines = talk.say(b"EHLO client.example.test").splitlines()
    offered = {line[4:].split(" ")[0] for line in lines[1:]}
    assert lines[0].startswith("250-mail.example.test")
    assert {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "STARTTLS"} <= offered
    assert "AUTH" not in offered


def test_auth_is_offered_after_tls_only(system):
    with Talk(system.ports["submission"]) as talk:
        talk.reply()
        assert "AUTH" not in talk.say(b"EHLO client.example.test")
        assert talk.say(b"AUTH PLAIN AGEAYg==")[:3] in ("538", "530", "502", "503", "504")
        assert talk.say(b"STARTTLS").startswith("220")
        talk.start_tls(trust(system))
        (offered,) = (line for line in talk.say(b"EHLO client.example.test").splitlines() if line[4:].startswith("AUTH "))
        assert {"PLAIN", "LOGIN"} <= set(offered.split())


def test_relaying_is_refused(system):
    with greeted(system) as talk:
        assert talk.say(b"MAIL FROM:<someone@example.org>").startswith("250 2.1.0")
        for address in (b"someone@example.com", b"user%example.com@example.org", b"@example.test:someone@example.com"):
            reply = talk.say(b"RCPT TO:<" + address + b">")
            assert reply.startswith(("550 5.7.1", "554 5.7.1")), reply


def test_unknown_recipient(system):
    with greeted(system) as talk:
        talk.say(b"MAIL FROM:<someone@example.org>")
        assert talk.say(b"RCPT TO:<nobody@example.test>").startswith("550 5.1.1")
        assert talk.say(b"RCPT TO:<alice@example.test>").startswith("250 2.1.5")


def test_submission_needs_authentication(system):
    with greeted(system, "submission") as talk:
        assert talk.say(b"MAIL FROM:<alice@example.test>").startswith("530 5.7.")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_login(system, mechanism):
    with smtplib.SMTP_SSL("localhost", system.ports["submissions"], context=trust(system), timeout=30) as client:
        client.user, client.password = ALICE, system.passwords[ALICE]
        client.ehlo()
        code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        assert code == 235


def test_wrong_password(system):
    with smtplib.SMTP_SSL("localhost", system.ports["submissions"], context=trust(system), timeout=30) as client:
        code, text = refusal(lambda: client.login(ALICE, "wrong"))
    assert code == 535 and text.startswith("5.7.8")


def test_what_is_pipelined_behind_starttls_is_thrown_away(system):
    with Talk(system.ports["submission"]) as talk:
        talk.reply()
        talk.say(b"EHLO client.example.test")
        talk.write(b"STARTTLS\r\nNOOP injected\r\nMAIL FROM:<injected@example.org>\r\n")
        assert talk.reply().startswith("220")
        talk.start_tls(trust(system))
        # The only reply is the one to what was said inside TLS.
        assert talk.say(b"VRFY alice").startswith("252")
        assert talk.say(b"EHLO client.example.test").startswith("250-mail.example.test")


SMUGGLING = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n", b"\r\n\x00.\r\n"]


@pytest.mark.parametrize("ending", SMUGGLING, ids=[repr(ending)[2:-1] for ending in SMUGGLING])
def test_smuggling(system, ending):
    first, second = token(), token()
    with greeted(system) as talk:
        talk.say(b"MAIL FROM:<someone@example.org>")
        talk.say(b"RCPT TO:<bob@example.test>")
        assert talk.say(b"DATA").startswith("354")
        smuggled = b"MAIL FROM:<boss@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
        talk.write(f"Subject: {first}\r\n\r\nfirst".encode() + ending + smuggled)
        reply = talk.say(f"Subject: {second}\r\n\r\nsecond\r\n.".encode())
        if ending == b"\r\n\x00.\r\n":
            assert reply[0] in "25"
        else:
            assert reply.startswith("5"), reply
        assert talk.say(b"NOOP").startswith(("250", "421"))
    marker = receive(system, BOB)
    wait_for(system, BOB, marker)
    assert not [octets for octets in find(system, BOB, second) if f"Subject: {second}".encode() in octets.replace(b"\r\n", b"\n").split(b"\n\n")[0]]


def test_dots_and_long_lines_arrive_unharmed(system):
    subject = token()
    lines = [b".", b"..", b".hidden", b"x" * 900, b"", b"end."]
    with greeted(system) as talk:
        talk.say(b"MAIL FROM:<someone@example.org> BODY=8BITMIME")
        talk.say(b"RCPT TO:<bob@example.test>")
        talk.say(b"DATA")
        talk.write(f"Subject: {subject}\r\n\r\n".encode())
        for line in lines:
            talk.write((b"." + line if line.startswith(b".") else line) + b"\r\n")
        talk.write("grüße\r\n".encode())
        assert talk.say(b".").startswith("250 2.")
    wait_for(system, BOB, subject)
    body = find(system, BOB, subject)[0].replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    assert body == b"\n".join(lines) + "\ngrüße\n".encode()


def test_received_field(system):
    message = wait_for(system, BOB, receive(system, BOB))
    field = message.get_all("Received")[0]
    assert "client.example.test" in field and "127.0.0.1" in field and "by mail.example.test" in field
    assert " with ESMTP" in field
    assert message["Return-Path"] == "<someone@example.org>"
    assert message["Delivered-To"] == BOB


def test_the_submission_protocol_is_recorded(system):
    subject = token()
    with submission(system, ALICE) as client:
        client.sendmail(ALICE, [BOB], f"Subject: {subject}\r\n\r\nhi\r\n")
    assert " with ESMTPSA" in wait_for(system, BOB, subject).get_all("Received")[0]


def test_size(system):
    with greeted(system) as talk:
        assert talk.say(b"MAIL FROM:<someone@example.org> SIZE=99999999999").startswith("552 5.3.4")
        assert talk.say(b"MAIL FROM:<someone@example.org> SIZE=1000").startswith("250")


def test_pipelining(system):
    subject = token()
    with greeted(system) as talk:
        talk.write(
            b"MAIL FROM:<someone@example.org>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
        )
        assert [talk.reply()[:3] for _ in range(4)] == ["250", "550", "250", "354"]
        talk.write(f"Subject: {subject}\r\n\r\nhi\r\n.\r\nRSET\r\nNOOP\r\nQUIT\r\n".encode())
        assert [talk.reply()[:3] for _ in range(4)] == ["250", "250", "250", "221"]
        assert talk.is_closed()
    wait_for(system, BOB, subject)


def test_data_without_recipient(system):
    with greeted(system) as talk:
        assert talk.say(b"DATA").startswith("503 5.5.1")
        talk.say(b"MAIL FROM:<someone@example.org>")
        assert talk.say(b"DATA")[:3] in ("503", "554")


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        (b"NONSENSE", ("500", "502")),
        (b"MAIL FROM:nobrackets", ("501",)),
        (b"MAIL FROM:<a@b@c>", ("501", "553")),
        (b"MAIL FROM:<a@example.org> COLOUR=BLUE", ("555", "501", "504")),
        (b"RCPT TO:<bob@example.test>", ("503",)),
        (b"VRFY bob", ("252",)),
        (b"HELP", ("214",)),
        (b"x" * 5000, ("500",)),
        (b"\x00\xff\x80", ("500", "502")),
    ],
)
def test_replies(system, line, codes):
    with greeted(system) as talk:
        assert talk.say(line)[:3] in codes
        assert talk.say(b"NOOP").startswith("250")


def test_too_many_errors(system):
    with greeted(system) as talk:
        replies = []
        for _ in range(30):
            replies.append(talk.say(b"NONSENSE"))
            if replies[-1].startswith("421"):
                break
        assert replies[-1].startswith("421"), replies[-1]
        assert talk.is_closed()


def test_the_null_sender_and_postmaster(system):
    subject = token()
    with greeted(system) as talk:
        assert talk.say(b"MAIL FROM:<>").startswith("250")
        assert talk.say(b"RCPT TO:<bob@example.test>").startswith("250")
        talk.say(b"DATA")
        assert talk.say(f"Subject: {subject}\r\n\r\nhi\r\n.".encode()).startswith("250")
    assert wait_for(system, BOB, subject)["Return-Path"] == "<>"


def test_ipv6(system):
    subject = token()
    with smtplib.SMTP("::1", system.ports["smtp"], timeout=30) as client:
        client.sendmail("someone@example.org", [BOB], f"Subject: {subject}\r\n\r\nhi\r\n")
    assert "IPv6:::1" in wait_for(system, BOB, subject).get_all("Received")[0]
