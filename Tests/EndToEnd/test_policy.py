"""The table of rules in smtpd, and martlet policy, as the page docs/policy.md describes them."""

import json
import smtplib

import pytest
from conftest import ALICE, BOB
from mail import compose, files_with, find, queue, read, submission, wait_for_log, wait_until

LISTED, GOOD, PLAIN = "127.0.3.2", "127.0.3.3", "127.0.3.4"
POLICY = '''\
reject 5.7.1 "that is my own name" if listener smtp and own-helo
accept if sender friend@partner.test
reject if recipient bob@example.test and sender *@noise.test
reject 5.7.27 "listed" if listener smtp and score >= 5
score 1 if listener smtp and sender *@doubtful.test
junk if score >= 1 and listener smtp
greylist if listener smtp and sender *@grey.test
discard if sender void@partner.test
defer 4.7.5 "too large for now" if size > 100000
add "X-Rule: seen" if sender seen@partner.test
reject 5.7.1 "no lotteries" if header Subject *lottery* and not body "I really won"
hold if sender held@partner.test
reject "no spoofing" if listener submission and not sender *@example.test
'''
LISTS = {
    "bad": {"zone": "bl.test", "weight": 5, "codes": ["2-3"]},
    "good": {"zone": "wl.test", "weight": -5},
}
ZONES = {
    "bl.test": "2.0.0.127 A 127.0.0.2\n2.3.0.127 A 127.0.0.2\n3.3.0.127 A 127.0.0.3\n4.3.0.127 A 127.0.0.9\n",
    "wl.test": "2.0.0.127 A 127.0.0.2\n3.3.0.127 A 127.0.0.1\n",
}


@pytest.fixture(scope="module")
def instance(module_factory):
    changes = {
        "smtpd": {"policy": POLICY, "dns-lists": LISTS, "enforce-sender": False},
        "authd": {"greylist": {"wait": "0s"}},
        "resolverd": {"zones": {zone: f"etc/zones/{zone}" for zone in ZONES}},
    }
    instance = module_factory(changes, start=False)
    for zone, text in ZONES.items():
        records = "$TTL 60\n@ SOA ns.ns.test. root.ns.test. 1 60 60 60 60\n@ NS ns.ns.test.\n" + text
        instance.write(instance.directory / "etc" / "zones" / zone, records)
    instance.start()
    return instance


def send(instance, sender, *recipients, address=PLAIN, helo="client.test", body="Hello\n"):
    message = compose(sender or "mailer@partner.test", *recipients, body=body)
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], helo, timeout=30, source_address=(address, 0)) as client:
        client.sendmail(sender, list(recipients), message.as_bytes(policy=message.policy.clone(linesep="\r\n")))
    return message["Subject"]


def refusal(instance, *arguments, **options):
    with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
        send(instance, *arguments, **options)
    error = refused.value
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((code, text),) = error.recipients.values()
        return "RCPT", code, text.decode()
    return "DATA", error.smtp_code, error.smtp_error.decode()


def test_own_name(instance):
    assert refusal(instance, "x@partner.test", ALICE, helo="mail.example.test") == ("RCPT", 550, "5.7.1 that is my own name")
    assert refusal(instance, "x@partner.test", ALICE, helo="EXAMPLE.test")[0] == "RCPT"
    assert refusal(instance, "x@partner.test", ALICE, helo="[127.0.0.1]")[0] == "RCPT"
    # This host itself may.
    send(instance, "x@partner.test", ALICE, address="127.0.0.1", helo="mail.example.test")


def test_first_rule_decides(instance):
    assert refusal(instance, "a@noise.test", BOB)[:2] == ("RCPT", 550)
    wait_for_log(instance, "smtpd", "recipient refused by a rule")
    token = send(instance, "a@noise.test", ALICE)
    wait_until(lambda: find(instance, ALICE, token))


def test_lists_and_scores(instance):
    assert refusal(instance, "x@partner.test", ALICE, address=LISTED) == ("RCPT", 550, "5.7.27 listed")
    # Listed and praised; a code that doesn't count; accepted by a rule above.
    for sender, address in (("x@partner.test", GOOD), ("x@partner.test", PLAIN), ("friend@partner.test", LISTED)):
        token = send(instance, sender, ALICE, address=address)
        wait_until(lambda token=token: find(instance, ALICE, token))


def test_junk(instance):
    token = send(instance, "x@doubtful.test", ALICE)
    mail = instance.directory / "mail"

    def there():
        return files_with(mail, token)

    assert all(".Junk/" in str(path) for path in wait_until(there))
    assert not find(instance, ALICE, token)


def test_discarded(instance):
    token = send(instance, "void@partner.test", ALICE)
    wait_for_log(instance, "smtpd", "sender=<void@partner.test>")
    later = send(instance, "x@partner.test", ALICE)
    wait_until(lambda: find(instance, ALICE, later))
    assert not find(instance, ALICE, token)


def test_rules_about_the_message(instance):
    body = ("x" * 70 + "\n") * 1600
    assert refusal(instance, "x@partner.test", ALICE, body=body) == ("DATA", 450, "4.7.5 too large for now")
    token = send(instance, "seen@partner.test", ALICE)
    assert read(wait_until(lambda: find(instance, ALICE, token))[0])["X-Rule"] == "seen"


def test_users(instance):
    # A rule above it asks about the message's size.
    with submission(instance, ALICE) as client, pytest.raises(smtplib.SMTPDataError):
        client.sendmail("bank@elsewhere.test", [BOB], b"Subject: x\r\n\r\n")


def test_content(instance):
    def message(subject, body):
        return f"From: x@partner.test\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()

    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], "client.test", timeout=30) as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("x@partner.test", [ALICE], message("=?utf-8?q?LOT=54ERY?=", "You won"))
        assert refused.value.smtp_error == b"5.7.1 no lotteries"
        client.sendmail("x@partner.test", [ALICE], message("The lottery", "I REALLY won"))


def test_greylisting(instance):
    where, code, text = refusal(instance, "a@grey.test", ALICE)
    assert (where, code) == ("RCPT", 450) and text.startswith("4.7.1 greylisted, try again in ")
    # From a neighbour, and after authd has forgotten what it has in memory.
    wait_until(lambda: "a@grey.test" in instance.martlet("greylist", "list").stdout)
    instance.supervisor.kill("authd")
    # It also says something about users then.
    wait_until(lambda: instance.martlet("user", "sending", ALICE, check=False).returncode == 0)
    token = send(instance, "a@grey.test", ALICE, address="127.0.3.77")
    wait_until(lambda: find(instance, ALICE, token))
    assert refusal(instance, "b@grey.test", BOB)[1] == 450
    entries = json.loads(instance.martlet("greylist", "list", "--matching", "grey.test", "--json").stdout)
    assert {(entry["network"], entry["sender"]) for entry in entries} >= {("127.0.3.0/24", "a@grey.test")}
    instance.martlet("greylist", "pass", "127.0.3.0/24")
    send(instance, "c@grey.test", ALICE)
    instance.martlet("greylist", "remove", "127.0.3.0/24")
    assert refusal(instance, "d@grey.test", ALICE)[1] == 450


def test_held(instance):
    token = send(instance, "held@partner.test", ALICE)
    (entry,) = [entry for entry in queue(instance) if entry["state"] == "held"]
    instance.martlet("queue", "release", entry["id"])
    wait_until(lambda: find(instance, ALICE, token))


def test_trial(instance, tmp_path):
    def trial(*arguments, code=0):
        done = instance.martlet("policy", "test", "--recipient", ALICE, *arguments, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    document = json.loads(trial("--client", LISTED, "--json", code=1))
    assert document["end"] == "refused"
    decided = document["recipients"][0]["decided-by"]
    assert decided["rule"].startswith("reject 5.7.27")
    # The number is that of the line in the configuration.
    lines = (instance.directory / "etc" / "martlet.toml").read_text().split("\n")
    assert lines[decided["line"] - 1].replace('\\"', '"') == decided["rule"]
    shown = json.loads(instance.martlet("policy", "show", "--json").stdout)
    assert [rule["rule"] for rule in shown] == [line for line in POLICY.split("\n") if line]
    message = tmp_path / "message"
    message.write_text("From: x@partner.test\nSubject: x\n\nHello.\n")
    document = json.loads(trial("--client", PLAIN, "--sender", "x@partner.test", "--json", str(message)))
    assert document["end"] == "taken" and document["results"]["dmarc"] == "none"
    text = trial("--client", PLAIN, "--sender", "x@grey.test", code=75)
    assert "decides: greylist" in text
    text = trial("--client", PLAIN, "--sender", "x@grey.test", "--came-back")
    assert "no rule decides" in text or "to be decided" in text
    assert "it is held" in trial("--client", PLAIN, "--sender", "held@partner.test", str(message))
    text = trial("--client", PLAIN, "--sender", "void@partner.test", str(message))
    assert text.endswith("it is discarded\n")


def test_faulty_rules_are_named(instance):
    path = instance.directory / "etc" / "martlet.toml"
    whole = path.read_text()
    try:
        instance.write(path, whole.replace("discard if sender", "discard if colour"))
        done = instance.martlet("check", check=False)
        assert done.returncode == 78 and "smtpd.policy" in done.stdout and '"colour" is not a condition' in done.stdout
    finally:
        instance.write(path, whole)
