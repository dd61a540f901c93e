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
        except smtplib.SMTPResponseException:
            with self.lock:
                del self.open[mark]
            raise
        except smtplib.SMTPRecipientsRefused as error:
            with self.lock:
                del self.open[mark]
            raise smtplib.SMTPException("refused") from error
        with self.lock:
            del self.open[mark]
            self.acknowledged[mark] = recipient


@pytest.fixture(scope="module")
def flow(module_factory):
    """An instance with a sink of its own, quick to try again."""
    with Sink() as sink:
        changes = {
            "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
            "remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}},
            "smtpd": {"relay-from": ["127.0.0.0/8"]},
        }
        yield module_factory(changes), sink


def copies(instance, sink) -> collections.Counter:
    """How often each message lies in bob's mailbox or at the other host."""
    count = collections.Counter()
    texts = [path.read_bytes() for path in messages_on_disk(instance, BOB)]
    with sink.lock:
        texts += [message.octets for message in sink.messages]
    for octets in texts:
        count[MARK.search(octets)[1].decode()] += 1
    return count


def settle(instance, sink, load) -> collections.Counter:
    """Waits until the queue is empty and everything that was acknowledged has arrived."""
    instance.supervisor.wait_ready()
    wait_for_empty_queue(instance, 60)
    wait_until(lambda: load.acknowledged.keys() <= copies(instance, sink).keys(), 10, "everything has arrived")
    return copies(instance, sink)


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
    assert set(count) <= set(everything)


@pytest.mark.parametrize("name", SERVICE_NAMES)
def test_each_daemon_alone(flow, name):
    instance, sink = flow
    with Load(instance) as load:
        for _ in range(KILLS_EACH):
            wait_until(lambda: instance.supervisor.pid(name), what=f"{name} is up")
            time.sleep(random.uniform(0.05, 0.6))
            assert instance.supervisor.kill(name)
            wait_until(lambda: instance.supervisor.pid(name), what=f"{name} is up again")
    assert len(load.acknowledged) > 10
    judge(instance, load, settle(instance, sink, load) - earlier(flow, load), KILLS_EACH)


def earlier(flow, load) -> collections.Counter:
    """The messages of other tests with the same instance."""
    known = load.acknowledged.keys() | load.open.keys()
    return collections.Counter({mark: number for mark, number in copies(*flow).items() if mark not in known})


@pytest.mark.timeout(300)
def test_all_daemons(flow):
    instance, sink = flow
    kills = collections.Counter()
    end = time.monotonic() + 180
    with Load(instance) as load:
        while kills.total() < KILLS_ALL and time.monotonic() < end:
            name = random.choice(SERVICE_NAMES)
            kills[name] += instance.supervisor.kill(name)
            time.sleep(random.uniform(0.05, 0.25))
    assert kills.total() == KILLS_ALL, kills
    assert len(load.acknowledged) > 100
    count = settle(instance, sink, load) - earlier(flow, load)
    judge(instance, load, count, kills["remote-relay"] + kills["queue-manager"])


def test_killed_in_the_middle_of_data(flow):
    """smtpd and queue-manager die while a message comes in: it was never acknowledged, nothing of it stays."""
    instance, _ = flow
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
                assert client.docmd("end\r\n.")[0] == 451
            client.close()
        instance.supervisor.wait_ready([name])
        wait_until(lambda: not list((instance.directory / "spool" / "incoming").iterdir()), what="nothing half-written")
        wait_for(instance, BOB, receive(instance, BOB))
        assert not [path for path in messages_on_disk(instance, BOB) if mark.encode() in path.read_bytes()]
