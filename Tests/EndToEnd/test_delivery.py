"""Where mail goes: mailboxes, aliases, forwards, other hosts, and back as a bounce."""

import json
import mailbox
import smtplib

import pytest
from conftest import ALICE, BOB, CAROL, DAVE
from mail import (
    files,
    Talk,
    find,
    mailbox_directory,
    messages_on_disk,
    queue,
    read,
    receive,
    submit,
    token,
    wait_for,
    wait_until,
)


@pytest.fixture(scope="module", autouse=True)
def aliases(system):
    system.add_alias("team@example.test: alice@example.test, bob@example.test")
    system.add_alias("out@example.test: outside@example.net")
    system.add_alias("both@example.test: bob@example.test, outside@example.net")
    system.add_alias("loop-a@example.test: loop-b@example.test")
    system.add_alias("loop-b@example.test: loop-a@example.test")


def test_several_recipients(system):
    subject = submit(system, ALICE, ALICE, BOB)
    assert wait_for(system, ALICE, subject)["Delivered-To"] == ALICE
    assert wait_for(system, BOB, subject)["Delivered-To"] == BOB


def test_an_alias_leads_to_several_mailboxes(system):
    subject = receive(system, "team@example.test")
    wait_for(system, ALICE, subject)
    wait_for(system, BOB, subject)


def test_a_forward_goes_out(system, sink):
    accepted = sink.wait_for(receive(system, "out@example.test"))
    assert accepted.recipients == ["outside@example.net"]
    assert b"Delivered-To: out@example.test" in accepted.octets


def test_an_alias_to_a_mailbox_and_out(system, sink):
    subject = receive(system, "both@example.test")
    wait_for(system, BOB, subject)
    sink.wait_for(subject)


def test_an_alias_loop_ends(system):
    """authd sees that aliases lead round in a circle: the sender is told at once, at RCPT."""
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        submit(system, ALICE, "loop-a@example.test")
    assert refused.value.recipients["loop-a@example.test"][0] == 550
    assert b"5.4.6" in refused.value.recipients["loop-a@example.test"][1]
    wait_until_gone(system, "loop-")


def wait_until_gone(system, address):
    """Waits until nothing in the queue is for an address."""
    wait_until(lambda: address not in json.dumps(queue(system)), what=f"{address} leaves the queue")


def test_extension(system):
    subject = receive(system, "bob+lists@example.test")
    assert wait_for(system, BOB, subject)["Delivered-To"] == "bob+lists@example.test"


def test_case_of_the_domain_and_local_part(system):
    wait_for(system, BOB, receive(system, "Bob@EXAMPLE.test"))


def test_mbox(system):
    subjects = [receive(system, CAROL, body="From the start\n>From quoted\nend\n") for _ in range(3)]

    def arrived():
        for path in files(system.directory / "mail"):
            if path.name == "carol" or path.parent.name == "carol":
                box = mailbox.mbox(path, create=False)
                found = {message["Subject"]: message for message in box}
                if set(subjects) <= set(found):
                    return found
        return None

    found = wait_until(arrived, what="three messages in carol's mbox")
    octets = found[subjects[0]].get_payload()
    assert octets.replace("\r\n", "\n") == ">From the start\n>>From quoted\nend\n"
    assert found[subjects[0]]["Delivered-To"] == CAROL


def test_names_in_the_maildir(system):
    subject = receive(system, DAVE)
    wait_for(system, DAVE, subject)
    (path,) = [path for path in messages_on_disk(system, DAVE) if subject.encode() in path.read_bytes()]
    octets = path.read_bytes()
    fields = dict(part.split("=", 1) for part in path.name.partition(":2,")[0].split(",")[1:])
    assert int(fields["S"]) == len(octets)
    assert int(fields["W"]) == len(octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert not list((mailbox_directory(system, DAVE) / "tmp").iterdir())


def test_to_another_host(system, sink):
    subject = submit(system, ALICE, "somebody@example.net", body="line\n.dot\n..dots\n" + "x" * 500 + "\n")
    accepted = sink.wait_for(subject)
    assert accepted.sender == ALICE
    assert accepted.recipients == ["somebody@example.net"]
    assert read(accepted.octets).get_content().replace("\r\n", "\n") == "line\n.dot\n..dots\n" + "x" * 500 + "\n"


def test_many_recipients_of_one_host_share_a_transaction(system, sink):
    subject = submit(system, ALICE, *[f"user{number}@example.net" for number in range(20)])
    wait_until(lambda: sum(len(message.recipients) for message in sink.find(subject)) == 20)
    assert len(sink.find(subject)) <= 2


def test_connections_are_reused(system, sink):
    before = sink.connections
    subjects = [submit(system, ALICE, f"reuse{number}@example.net") for number in range(10)]
    for subject in subjects:
        sink.wait_for(subject)
    assert sink.connections - before < 10


def test_a_refused_recipient_bounces(system, sink):
    sink.replies["refused"] = "550 5.1.1 <refused@example.net>: no such person"
    subject = submit(system, ALICE, "refused@example.net", "taken@example.net")
    sink.wait_for(subject)
    bounce = wait_for(system, ALICE, subject)
    assert bounce["Return-Path"] == "<>"
    assert bounce["To"] and ALICE in bounce["To"]
    assert bounce["Auto-Submitted"].startswith("auto-")
    assert bounce.get_content_type() == "multipart/report"
    assert bounce.get_param("report-type") == "delivery-status"
    text, status, original = bounce.iter_parts()
    assert "refused@example.net" in text.get_content()
    assert status.get_content_type() == "message/delivery-status"
    per_message, *per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mail.example.test"
    assert len(per_recipient) == 1
    fields = per_recipient[0]
    assert fields["Final-Recipient"].replace(" ", "").lower() == "rfc822;refused@example.net"
    assert fields["Action"] == "failed"
    assert fields["Status"] == "5.1.1"
    assert "550 5.1.1" in fields["Diagnostic-Code"]
    assert fields["Remote-MTA"]
    assert original.get_content_type() in ("text/rfc822-headers", "message/rfc822")
    assert subject in original.as_string()


def test_a_bounce_that_cannot_be_delivered_is_dropped(system, sink):
    sink.replies["refused"] = "550 5.1.1 no such person"
    before = len(sink.messages)
    subject = token()
    with Talk(system.ports["smtp"]) as talk:
        talk.reply()
        talk.say(b"EHLO client.example.test")
        talk.say(b"MAIL FROM:<>")
        assert talk.say(b"RCPT TO:<out@example.test>").startswith("250")
        talk.say(b"DATA")
        sink.replies["outside"] = "550 5.1.1 gone"
        try:
            assert talk.say(f"Subject: {subject}\r\n\r\nhi\r\n.".encode()).startswith("250")
            wait_until_gone(system, "outside@example.net")
            wait_until_gone(system, "out@example.test")
        finally:
            del sink.replies["outside"]
    assert len(sink.messages) == before
    assert not find(system, ALICE, subject)


def test_a_temporary_refusal_is_tried_again(system, sink):
    sink.replies["later"] = "450 4.2.0 come back later"
    subject = submit(system, ALICE, "later@example.net")
    wait_until(lambda: "later@example.net" in system.martlet("queue", "list").stdout, what="it waits in the queue")
    assert not sink.find(subject)
    del sink.replies["later"]
    sink.wait_for(subject)
    wait_until_gone(system, "later@example.net")
