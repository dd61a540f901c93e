"""Daemons are killed with -9 at random instants while mail flows and an administrator changes the queue.

What was acknowledged arrives, once, or its sender is told.
"""

import collections
import contextlib
import json
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

pytestmark = pytest.mark.alone
KILLS_EACH = 4
KILLS_ALL = 300
SENDERS = 6
# The other host puts mail for this one off as long as there is load: so there is always something in the queue.
BUSY = "busy@example.net"
# What is done to the queue as a whole, or by filters.
WHOLE = {
    "flush": [("flush", "--destination", "example.net")],
    "summary": [("summary", "--json")],
    "pause": [("pause", "--destination", "example.net", "--for", "1s")],
    "resume": [("pause", "--sender", ALICE, "--for", "2s"), ("resume", "--sender", ALICE)],
    "filter": [("reroute", "--domain", "example.net", "--state", "deferred", "--newer", "1h")],
}
CHANGES = ("hold", "release", "requeue", "reroute", "bounce", "expire", "remove", *WHOLE)
# Among what is done while these are killed are changes of the queue.
CHANGED = ("queue-manager", "local-deliver", "remote-relay")
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
        """One sender: every second message goes to the other host, a third by submission with AUTH."""
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            recipient = "someone@example.net" if (number + turn) % 2 else BOB
            if turn % 8 == 0:
                recipient = BUSY
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


class Administrator:
    """Changes the queue at random, in a thread: holds, releases, requeues, reroutes, returns and removes messages, flushes and pauses."""

    def __init__(self, flow: "Flow"):
        self.instance = flow.instance
        self.removed = flow.removed
        self.done = collections.Counter()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "a command for the queue has no end"

    def run(self) -> None:
        while not self.stopping.is_set():
            # Half of the time one that wasn't made yet: all are wanted.
            rest = [change for change in CHANGES if not self.done[change]]
            change = random.choice(rest if rest and random.random() < 0.5 else CHANGES)
            if change in WHOLE:
                self.done[change] += all(self.martlet(*command) for command in WHOLE[change])
                continue
            # A report that is returned is gone: nobody would hear of its message.
            is_return = change in ("bounce", "expire", "remove")
            entries = [entry for entry in listed(self.instance) if not is_return or entry["sender"] != "<>"]
            if change == "release":
                entries = [entry for entry in entries if entry["state"] == "held"]
            for entry in random.sample(entries, min(len(entries), random.randrange(1, 4))):
                if change == "remove" and not self.expect_removal(entry["id"]):
                    continue
                # It may have left meanwhile, and queue-manager may be dead.
                self.done[change] += self.martlet(change, entry["id"])
            time.sleep(random.uniform(0, 0.1))


    def martlet(self, *arguments: str) -> bool:
        return self.instance.martlet("queue", *arguments, check=False).returncode == 0

    def expect_removal(self, identifier: str) -> bool:
        """Notes which message may be gone in a moment, by its header."""
        shown = self.instance.martlet("queue", "show", identifier, check=False).stdout
        if mark := mark_of(shown.encode()):
            self.removed.add(mark)
        return bool(mark)


def listed(instance, *options: str) -> list[dict]:
    """What is in the queue; nothing where queue-manager is away."""
    said = instance.martlet("queue", "list", "--json", *options, check=False)
    return json.loads(said.stdout) if said.returncode == 0 else []


class Flow:
    """An instance with another host of its own, and a count of what has arrived where."""

    def __init__(self, instance, sink: Sink):
        self.instance = instance
        self.sink = sink
        self.marks: dict[str, str] = {}
        # What the administrator has removed, or wanted to.
        self.removed: set[str] = set()

    def count(self, load: Load) -> collections.Counter:
        """How often each message of a load lies in bob's mailbox or at the other host."""
        count = self.on_disk(BOB)
        with self.sink.lock:
            count.update(mark_of(message.octets) for message in self.sink.messages)
        return self.of_load(load, count)

    def reports(self, load: Load) -> collections.Counter:
        """How many reports about each message of a load lie in its sender's mailbox."""
        return self.of_load(load, self.on_disk(ALICE))

    def on_disk(self, address: str) -> collections.Counter:
        paths = messages_on_disk(self.instance, address)
        for path in paths:
            if path.name not in self.marks:
                self.marks[path.name] = mark_of(path.read_bytes())
        return collections.Counter(self.marks[path.name] for path in paths)

    def of_load(self, load: Load, count: collections.Counter) -> collections.Counter:
        known = load.acknowledged.keys() | load.open.keys()
        return collections.Counter({mark: number for mark, number in count.items() if mark in known})

    def settle(self, load: Load) -> collections.Counter:
        """Waits until everything that was acknowledged has arrived or was returned; what is held goes on."""
        self.instance.supervisor.wait_ready()
        self.sink.replies.pop(BUSY.partition("@")[0], None)

        def is_settled():
            # A message that was being delivered when it was to be held is held a little later.
            if held := [entry["id"] for entry in listed(self.instance, "--state", "held")]:
                self.instance.martlet("queue", "release", *held)
            return load.acknowledged.keys() <= self.count(load).keys() | self.reports(load).keys() | self.removed

        try:
            wait_until(is_settled, 60, "everything has arrived or was returned")
        except TimeoutError:
            pass
        wait_for_empty_queue(self.instance, 60)
        return self.count(load)

    def keep_busy(self) -> None:
        """Has the other host put off what is for `BUSY` until `settle`."""
        self.sink.replies[BUSY.partition("@")[0]] = "450 4.2.1 busy"


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
            # More than any user may send.
            "authd": {"sending": {f"{what}-per-{time}": 0 for what in ("messages", "recipients") for time in ("hour", "day")}},
        }
        yield Flow(module_factory(changes), sink)


def judge(flow: Flow, load: Load, kills: collections.Counter) -> None:
    """Nothing is lost, and nothing is twice in a mailbox.

    What the other host has twice it had accepted before a kill. What arrived and was returned as well had arrived
    before a kill too: nobody knew of it when it was returned.
    """
    count = flow.settle(load)
    reports = flow.reports(load)
    lost = [mark for mark in load.acknowledged if not count[mark] and not reports[mark] and mark not in flow.removed]
    assert not lost
    twice = {mark: number for mark, number in count.items() if number > 1}
    everything = {**load.acknowledged, **load.open}
    assert not [mark for mark in twice if everything[mark] == BOB]
    assert not [mark for mark, number in reports.items() if number > 1]
    both = count.keys() & reports.keys()
    relay_kills = kills["remote-relay"] + kills["queue-manager"]
    local_kills = kills["local-deliver"] + kills["queue-manager"]
    print(
        f"{len(load.acknowledged)} acknowledged, {len(load.open)} left open, {len(reports)} returned, "
        f"{len(twice)} twice at the other host, {len(both)} arrived and returned, after {dict(kills)}"
    )
    concurrency = flow.instance.read_configuration().get("queue-manager", {}).get("destination-concurrency", 20)
    assert sum(twice.values()) - len(twice) <= relay_kills * concurrency
    assert len([mark for mark in both if everything[mark] != BOB]) <= relay_kills * concurrency
    assert len([mark for mark in both if everything[mark] == BOB]) <= local_kills * SENDERS


@contextlib.contextmanager
def changes_meanwhile(flow: Flow):
    """The queue is changed, beside a load, at least once in every way."""
    flow.keep_busy()
    with Administrator(flow) as administrator:
        yield
        # While there is load, there is something to change.
        wait_until(lambda: all(administrator.done[change] for change in CHANGES), what="every kind of change")
    print(dict(administrator.done))


@pytest.mark.parametrize("name", SERVICE_NAMES)
def test_each_daemon_alone(flow, name):
    supervisor = flow.instance.supervisor
    with Load(flow.instance) as load, changes_meanwhile(flow) if name in CHANGED else contextlib.nullcontext():
        for _ in range(KILLS_EACH):
            pid = wait_until(lambda: supervisor.pid(name), what=f"{name} is up")
            time.sleep(random.uniform(0.05, 0.6))
            assert supervisor.kill(name)
            wait_until(lambda: supervisor.pid(name) not in (None, pid), what=f"{name} is up again")
    assert len(load.acknowledged) > 10
    judge(flow, load, collections.Counter({name: KILLS_EACH}))


def test_changes_without_kills(flow):
    """Each message arrives or is returned, and never both."""
    with Load(flow.instance) as load, changes_meanwhile(flow):
        time.sleep(5)
    judge(flow, load, collections.Counter())


@pytest.mark.timeout(540)
def test_all_daemons(flow):
    kills = collections.Counter()
    end = time.monotonic() + 300
    with Load(flow.instance) as load, changes_meanwhile(flow):
        while kills.total() < KILLS_ALL and time.monotonic() < end:
            name = random.choice(SERVICE_NAMES)
            kills[name] += flow.instance.supervisor.kill(name)
            time.sleep(random.uniform(0.05, 0.25))
    assert kills.total() == KILLS_ALL, kills
    assert len(load.acknowledged) > 100
    judge(flow, load, kills)


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
