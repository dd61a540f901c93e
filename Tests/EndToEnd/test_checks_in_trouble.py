"""What becomes of strangers' mail while DNS lists and authd are in trouble: never a refusal for good, and never a long wait."""

import smtplib
import socket
import time

import pytest
from conftest import ALICE
from mail import compose, find, trust, wait_for_empty_queue, wait_until
from troubles import NO_FRAME, hanging, replaced

LISTS = ("bad", "silent", "broken", "closed", "given-up", "sold")
POLICY = "\n".join(
    [f'reject 5.7.1 "listed by {name}" if sender *@{name}.test and listed {name}' for name in LISTS]
    + ['reject 5.7.1 "too bad" if sender *@score.test and score >= 5', "greylist if sender *@grey.test"]
)
HEAD = "$TTL 60\n@ SOA ns.ns.test. root.ns.test. 1 60 60 60 60\n@ NS ns.ns.test.\n"
ZONES = {
    "bad": "2.0.0.127 A 127.0.0.2\n7.5.0.127 A 127.0.0.2\n",
    # A loop of aliases is SERVFAIL.
    "broken": "2.0.0.127 A 127.0.0.2\n*.5.0.127 CNAME 1.5.0.127\n1.5.0.127 CNAME 1.5.0.127\n",
    "closed": "* A 127.255.255.254\n",
    "given-up": "nothing TXT here\n",
    "sold": "* A 127.0.0.2\n",
}
CLIENT = "127.0.5.7"
NAME = "client.named.test"


@pytest.fixture(scope="module")
def instance(module_factory):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        zones = {f"{name}.list.test": HEAD + text for name, text in ZONES.items()}
        zones["named.test"] = f"{HEAD}client A {CLIENT}\n"
        zones["5.0.127.in-addr.arpa"] = f"{HEAD}7 PTR {NAME}.\n"
        weights = {"bad": 5, "broken": -5}
        changes = {
            "smtpd": {
                "policy": POLICY,
                "client-timeout": "1s",
                "recipient-cache": "1h",
                "threads": 1,
                "authentication": {"enabled": False},
                "dns-lists": {name: {"zone": f"{name}.list.test", "weight": weights.get(name, 0)} for name in LISTS},
            },
            "resolverd": {
                "zones": {zone: f"etc/zones/{zone}" for zone in zones},
                "forward-zones": {"silent.list.test": [f"127.0.0.1:{silent.getsockname()[1]}"]},
            },
        }
        instance = module_factory(changes, start=False)
        for zone, text in zones.items():
            instance.write(instance.directory / "etc" / "zones" / zone, text)
        instance.start()
        yield instance


def attempt(instance, sender: str) -> tuple[int, str, float]:
    """The last code, the message's token, and how long it took."""
    message = compose(sender, ALICE)
    octets = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    began = time.monotonic()
    code = 250
    try:
        with smtplib.SMTP(
            "127.0.0.1", instance.ports["smtp"], "client.test", timeout=30, source_address=(CLIENT, 0)
        ) as client:
            client.sendmail(sender, [ALICE], octets)
    except smtplib.SMTPRecipientsRefused as error:
        ((code, _),) = error.recipients.values()
    return code, message["Subject"], time.monotonic() - began


@pytest.mark.parametrize(
    ("sender", "expected"), [("bad", 550)] + [(name, 250) for name in (*LISTS[1:], "score")], ids=lambda value: str(value)
)
def test_lists(instance, sender, expected):
    code, token, seconds = attempt(instance, f"x@{sender}.test")
    assert code == expected
    # The DNS is waited for one second; a question's own time would be ten.
    assert seconds < (9 if sender == "silent" else 25)
    if code == 250:
        (octets,) = wait_until(lambda: find(instance, ALICE, token))
        assert f"({NAME} [{CLIENT}])".encode() in octets
    wait_for_empty_queue(instance)


def test_lists_that_are_none(instance):
    attempt(instance, "x@elsewhere.test")
    for name in ("given-up", "sold"):
        wait_until(lambda name=name: any(
            "DNS list ignored" in line and f"list={name} " in line for line in instance.supervisor.log_text("smtpd").splitlines()
        ))
    checked = instance.martlet("check", check=False).stdout
    assert "dns-lists: bad answers as a list" in checked
    assert "dns-lists: sold: it lists 127.0.0.1" in checked and "dns-lists: given-up: it does not list" in checked


def test_names_of_users(instance):
    """Their messages aren't authenticated, and show the client's name all the same, once the DNS has told it."""

    def is_named():
        message = compose(ALICE, ALICE)
        with smtplib.SMTP("localhost", instance.ports["submission"], timeout=30, source_address=(CLIENT, 0)) as client:
            client.starttls(context=trust(instance))
            client.login(ALICE, instance.passwords[ALICE])
            client.send_message(message)
        (octets,) = wait_until(lambda: find(instance, ALICE, message["Subject"]))
        return f"({NAME} [{CLIENT}])".encode() in octets

    wait_until(is_named)


AUTHD = {
    "hangs": lambda instance: hanging(instance, "authd"),
    "talks nonsense": lambda instance: replaced(instance, "authd", "auth.sock", NO_FRAME),
}


@pytest.mark.parametrize("trouble", AUTHD)
def test_greylisting_without_authd(instance, trouble):
    """Mail passes within a few seconds, and arrives once authd is back."""
    # The recipient is known from here on.
    assert attempt(instance, "x@elsewhere.test")[0] == 250
    with AUTHD[trouble](instance):
        code, token, seconds = attempt(instance, f"{trouble.replace(' ', '-')}@grey.test")
    assert code == 250 and seconds < 20
    wait_until(lambda: find(instance, ALICE, token))
    wait_for_empty_queue(instance)
