"""Daemons are killed with -9 at random instants while mail flows: what was acknowledged arrives, once."""

import collections
import random
import re
import smtplib
import threading
import time

import pytest
from conftest import ALICE, BOB
from layout import SERVICE_NAMES
from mail import messages_on_disk, receive, submission, token, wait_for, wait_for_empty_queue, wait_until
from sink import Sink

KILLS_EACH = 4
KILLS_ALL = 300
SENDERS = 6
MARK = re.compile(rb"^Subject: (t[0-9a-f]{16})\r?$", re.MULTILINE)


class Load:
    """Senders in threads; remembers what was acknowledged and what was left open when a connection broke."""

    def __init__(self, instance):
        self.instance = instance
        self.acknowledged: dict[str, str] = {}
        self.open: dict[str, str] = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(SENDERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def run(self, number: int) -> None:
        """One sender: every second message goes to the other host, most by submission with AUTH."""
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            recipient = "someone@example.net" if (number + turn) % 2 else BOB
            try:
                with self.connect(number) as client:
                    for _ in range(5):
                        self.send(client, recipient)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    def connect(self, number: int) -> smtplib.SMTP:
        if number % 3 == 0:
            return submission(self.instance, ALICE)
        return smtplib.SMTP("127.0.0.1", self.instance.ports["smtp"], "client.example.test", timeout=20)

    def send(self, client: smtplib.SMTP, recipient: str) -> None:
        mark = token()
        body = "x" * 72 + "\r\n"
        text = f"From: {ALICE}\r\nSubject: {mark}\r\n\r\n" + body * random.randrange(1, 400)
        with self.lock:
            self.open[mark] = recipient
        try:
            client.sendmail(ALICE, [recipient], text)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused):
            with self.lock:
                del self.open[mark]
            raise
        with self.lock:
            del self.open[mark]
            self.acknowledged[mark] = recipient


class Flow:
    """An instance with another host of its own, and a count of what has arrived where."""

    def __init__(self, instance, sink: Sink):
        self.instance = instance
        self.sink = sink
        self.marks: dict[str, str] = {}

    def count(self, load: Load) -> collections.Counter:
        """How often each message of a load lies in bob's mailbox or at the other host."""
        count = collections.Counter()
        known = load.acknowledged.keys() | load.open.keys()
        for path in messages_on_disk(self.instance, BOB):
            if path.name not in self.marks:
                self.marks[path.name] = mark_of(path.read_bytes())
            count[self.marks[path.name]] += 1
        with self.sink.lock:
            count.update(mark_of(message.octets) for message in self.sink.messages)
        return collections.Counter({mark: number for mark, number in count.items() if mark in known})

    def settle(self, load: Load) -> collections.Counter:
        """Waits until everything that was acknowledged has arrived and nothing waits."""
        self.instance.supervisor.wait_ready()
        try:
            wait_until(lambda: load.acknowledged.keys() <= self.count(load).keys(), 60, "everything has arrived")
        except TimeoutError:
            pass
        wait_for_empty_queue(self.instance, 60)
        return self.count(load)


def mark_of(octets: bytes) -> str:
    found = MARK.search(octets)
    return found[1].decode() if found else ""


@pytest.fixture(scope="module")
def flow(module_factory):
    """An instance that is quick to try again."""
    with Sink() as sink:
        changes = {
            "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
            "remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}},
            "smtpd": {"relay-from": ["127.0.0.0/8"]},
        }
        yield Flow(module_factory(changes), sink)


def judge(instance, load: Load, count: collections.Counter, relay_kills: int) -> None:
    """Nothing is lost; nothing is twice in a mailbox; what the other host has twice it had accepted before a kill."""
    lost = [mark for mark in load.acknowledged if not count[mark]]
    assert not lost
    twice = {mark: number for mark, number in count.items() if number > 1}
    everything = {**load.acknowledged, **load.open}
    assert not [mark for mark in twice if everything[mark] == BOB]
    concurrency = instance.read_configuration().get("queue-manager", {}).get("destination-concurrency", 20)
    print(
        f"{len(load.acknowledged)} acknowledged, {len(load.open)} left open, {len(twice)} twice at the other host "
        f"after {relay_kills} kills of remote-relay and queue-manager"
    )
    assert sum(twice.values()) - len(twice) <= relay_kills * concurrency


@pytest.mark.parametrize("name", SERVICE_NAMES)
def test_each_daemon_alone(flow, name):
    supervisor = flow.instance.supervisor
    with Load(flow.instance) as load:
        for _ in range(KILLS_EACH):
            pid = wait_until(lambda: supervisor.pid(name), what=f"{name} is up")
            time.sleep(random.uniform(0.05, 0.6))
            assert supervisor.kill(name)
            wait_until(lambda: supervisor.pid(name) not in (None, pid), what=f"{name} is up again")
    assert len(load.acknowledged) > 10
    judge(flow.instance, load, flow.settle(load), KILLS_EACH)


@pytest.mark.timeout(540)
def test_all_daemons(flow):
    kills = collections.Counter()
    end = time.monotonic() + 300
    with Load(flow.instance) as load:
        while kills.total() < KILLS_ALL and time.monotonic() < end:
            name = random.choice(SERVICE_NAMES)
            kills[name] += flow.instance.supervisor.kill(name)
            time.sleep(random.uniform(0.05, 0.25))
    assert kills.total() == KILLS_ALL, kills
    assert len(load.acknowledged) > 100
    judge(flow.instance, load, flow.settle(load), kills["remote-relay"] + kills["queue-manager"])


def test_killed_in_the_middle_of_data(flow):
    """smtpd and queue-manager die while a message comes in: it was never acknowledged, nothing of it stays."""
    instance = flow.instance
    for name in ("smtpd", "queue-manager"):
        mark = token()
        with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], timeout=20) as client:
            client.ehlo()
            client.mail(ALICE)
            client.rcpt(BOB)
            assert client.docmd("DATA")[0] == 354
            client.send(f"Subject: {mark}\r\n\r\n" + ("x" * 72 + "\r\n") * 5000)
            assert instance.supervisor.kill(name)
            if name == "queue-manager":
                client.send(("x" * 72 + "\r\n") * 5000)
                client.send("end\r\n.\r\n")
                assert client.getreply()[0] == 451
            client.close()
        instance.supervisor.wait_ready([name])
        wait_until(lambda: not list((instance.directory / "spool" / "incoming").iterdir()), what="nothing half-written")
        wait_for(instance, BOB, receive(instance, BOB))
        assert not [path for path in messages_on_disk(instance, BOB) if mark.encode() in path.read_bytes()]
