"""resolverd is killed with -9 in the middle of a flood of questions that all need validation: it comes back, and mail goes on."""

import contextlib
import shutil
import smtplib
import subprocess
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from conftest import ALICE
from mail import token, wait_until
from sink import Sink

pytestmark = [pytest.mark.root, pytest.mark.alone]

KILLS = 4
# Its MX is mail.plain.com, at this address.
DOMAIN, EXCHANGE = "plain.com", "45.100.0.25"


@pytest.fixture
def instance(internet, make_instance):
    """All of Martlet in the pretended internet."""
    resolverd = {"mode": "recursive", "root-hints": "etc/root.hints", "trust-anchors": "etc/root.anchors", "threads": 1}
    changes = {
        "resolverd": resolverd,
        "smtpd": {"relay-from": ["127.0.0.0/8"]},
        "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
    }
    made = make_instance(changes, start=False)
    shutil.copy(internet.hints, made.directory / "etc/root.hints")
    shutil.copy(internet.anchors, made.directory / "etc/root.anchors")
    with internet.namespace.inside():
        made.start()
    return made


def ask(internet, instance, name: str, seconds: float = 1) -> dns.message.Message | None:
    query = dns.message.make_query(name, "A", want_dnssec=True)
    with internet.namespace.inside(), contextlib.suppress(OSError, dns.exception.Timeout):
        return dns.query.udp(query, "127.0.0.1", seconds, instance.ports["dns"])
    return None


def is_well(internet, instance, name: str) -> bool:
    answer = ask(internet, instance, name)
    return bool(answer and answer.answer and answer.flags & dns.flags.AD)


def send(internet, instance) -> str:
    mark = token()
    with internet.namespace.inside(), smtplib.SMTP("127.0.0.1", instance.ports["smtp"], "client.example.test", timeout=30) as client:
        client.sendmail(ALICE, [f"someone@{DOMAIN}"], f"From: {ALICE}\r\nSubject: {mark}\r\n\r\nhello\r\n")
    return mark


@pytest.mark.timeout(240)
def test_killed_in_the_middle_of_a_flood(internet, instance, tmp_path):
    supervisor = instance.supervisor
    names = tmp_path / "names"
    names.write_text("".join(f"n{number}.wild.a13-nsec3.com A\nno{number}.a10-nsec.org A\n" for number in range(100_000)))
    others = {name: wait_until(lambda: supervisor.pid(name), what=f"{name} is up") for name in ("smtpd", "remote-relay")}
    with internet.namespace.inside():
        sink = Sink((EXCHANGE, 25))
        sink.__enter__()
        command = ["dnsperf", "-s", "127.0.0.1", "-p", str(instance.ports["dns"]), "-d", str(names), "-D", "-l", "200", "-q", "200", "-t", "1"]
        flood = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        marks = []
        for turn in range(KILLS):
            # In the middle: it validates at this very moment.
            wait_until(lambda: is_well(internet, instance, f"before{turn}.wild.a8-nsec.com"), 30, "answers come in the flood")
            pid = supervisor.pid("resolverd")
            assert supervisor.kill("resolverd")
            # Taken while there is no resolver.
            marks.append(send(internet, instance))
            wait_until(lambda: supervisor.pid("resolverd") not in (None, pid), 30, "resolverd is up again")
            wait_until(lambda: is_well(internet, instance, f"after{turn}.wild.a8-nsec.com"), 30, "answers come again")
        assert flood.poll() is None, "the flood was over before its time"
        flood.terminate()
        flood.wait()
        for mark in marks:
            sink.wait_for(mark, 60)
        assert {name: supervisor.pid(name) for name in others} == others
        # What is false is still false.
        answer = ask(internet, instance, "www.expired.bogus", 10)
        assert dns.rcode.to_text(answer.rcode()) == "SERVFAIL"
    finally:
        flood.kill()
        flood.wait()
        sink.__exit__()


def test_it_ends_in_the_middle_of_a_flood(internet, tmp_path):
    """Asked to end by SIGTERM in a flood, it ends at once and by itself."""
    resolver = internet.martlet(address="127.0.0.42")
    try:
        names = tmp_path / "names"
        names.write_text("".join(f"n{number}.wild.a13-nsec3.com A\n" for number in range(20_000)))
        with resolver.namespace.inside():
            command = ["dnsperf", "-s", resolver.address, "-d", str(names), "-D", "-l", "30", "-q", "100", "-t", "1"]
            flood = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: resolver.ask("now.wild.a8-nsec.com").flags & dns.flags.AD, 30, "answers come in the flood")
        before = time.monotonic()
        resolver.process.terminate()
        assert resolver.process.wait(20) == 0
        assert time.monotonic() - before < 20
    finally:
        flood.kill()
        flood.wait()
        resolver.stop()
