"""No stranger and no local user takes the places of all: connections in crowds, and who still gets in."""

import contextlib
import imaplib
import pwd
import smtplib
import socket
import subprocess
import sys

import pytest
from conftest import ALICE, BOB
from mail import compose, messages_on_disk, read, submission, trust, wait_for, wait_for_empty_queue, wait_until
from sink import Handler, Sink
from test_commands import sendmail


@pytest.fixture
def instance(make_instance):
    """One for each test: what a crowd leaves behind takes places for a moment."""
    places = {"maximum-connections": 20, "maximum-connections-per-client": 10}
    return make_instance({"imapd": places, "smtpd": places})


@contextlib.contextmanager
def crowd(port: int, hosts: list[str], each: int):
    """So many connections from each address; only those that are still open count."""
    with contextlib.ExitStack() as stack:
        connections = []
        for host in hosts:
            for _ in range(each):
                connection = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(host, 0))
                stack.enter_context(connection)
                connections.append(connection)
        yield connections


def greeting(connection: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return connection.recv(1000)
    return b""


def test_one_address_has_its_share_of_imap(instance):
    with crowd(instance.ports["imap"], ["127.0.0.2"], 15) as connections:
        greetings = [greeting(connection) for connection in connections]
        assert sum(line.startswith(b"* OK") for line in greetings) == 10


def test_who_logs_in_gets_in_and_stays(instance):
    """Two addresses take all places of IMAP; a third one gets in, logs in, and is not sent away for a fourth."""
    with crowd(instance.ports["imap"], ["127.0.0.2", "127.0.0.3"], 10) as connections:
        assert all(greeting(connection).startswith(b"* OK") for connection in connections)
        with imaplib.IMAP4("127.0.0.1", instance.ports["imap"], timeout=30) as client:
            client.starttls(trust(instance))
            client.login(ALICE, instance.passwords[ALICE])
            with crowd(instance.ports["imap"], ["127.0.0.4"], 5) as others:
                assert all(greeting(connection).startswith(b"* OK") for connection in others)
                assert client.noop()[0] == "OK"
        gone = [connection for connection in connections if b"BYE" in greeting_now(connection)]
        assert len(gone) == 6


def greeting_now(connection: socket.socket) -> bytes:
    connection.settimeout(0.5)
    return greeting(connection)


def test_crowd_at_one_port_leaves_the_others_alone(instance):
    """Port 25 is full of strangers: mail comes in there all the same, and users submit theirs."""
    with crowd(instance.ports["smtp"], ["127.0.0.2", "127.0.0.3"], 10) as connections:
        assert all(greeting(connection).startswith(b"220") for connection in connections)
        message = compose(ALICE, BOB)
        with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], timeout=30) as client:
            client.sendmail("someone@example.org", [BOB], message.as_string())
        wait_for(instance, BOB, message["Subject"])
        message = compose(ALICE, BOB)
        with submission(instance, ALICE) as client:
            client.send_message(message)
        wait_for(instance, BOB, message["Subject"])


@pytest.mark.root
def test_crowd_of_one_local_user_leaves_the_sockets_to_others(instance):
    """Of nobody's connections to queue.sock and control.sock the first hundred and twenty count; root gets in."""
    script = (
        "import socket, sys, time\n"
        "all = []\n"
        "for path, count in ((sys.argv[1], 2000), (sys.argv[2], 100)):\n"
        "    for _ in range(count):\n"
        "        connection = socket.socket(socket.AF_UNIX)\n"
        "        connection.connect(path)\n"
        "        all.append(connection)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    user = pwd.getpwnam("nobody")
    instance.directory.parent.chmod(0o755)
    paths = [str(instance.directory / "run" / name) for name in ("queue.sock", "control.sock")]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *paths],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    )
    try:
        assert process.stdout.readline() == "ready\n"
        message = compose(ALICE, BOB)
        assert sendmail(instance, "-f", ALICE, BOB, input=message.as_string()).returncode == 0
        assert instance.martlet("queue", "list").returncode == 0
        wait_for(instance, BOB, message["Subject"])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class CountingSink(Sink):
    """Knows how many sessions went on at the same time."""

    def __init__(self):
        super().__init__()
        self.open = 0
        self.most = 0


class CountingHandler(Handler):
    def serve(self):
        sink = self.server.sink
        with sink.lock:
            sink.open += 1
            sink.most = max(sink.most, sink.open)
        try:
            super().serve()
        finally:
            with sink.lock:
                sink.open -= 1


def test_many_domains_with_one_host(make_instance):
    """A mailing to 200 domains that have one mail host: twenty sessions with it at a time, and everything arrives."""
    with CountingSink() as sink:
        sink.server.RequestHandlerClass = CountingHandler
        instance = make_instance({"remote-relay": {"routes": {".many.test": f"127.0.0.1:{sink.port}"}}})
        recipients = [f"user{number % 3}@d{number}.many.test" for number in range(200)]
        message = compose(ALICE, BOB)
        assert sendmail(instance, "-f", ALICE, *recipients, input=message.as_string()).returncode == 0
        wait_until(lambda: len(sink.messages) >= 200, what="all copies")
        assert sorted(recipient for kept in sink.messages for recipient in kept.recipients) == sorted(recipients)
        assert sink.most <= 20
        wait_for_empty_queue(instance)


def test_many_failures_of_one_message_are_one_report(make_instance):
    """A bulk to people who don't exist, at several hosts and here: its sender gets one report, with a block for each."""
    with Sink() as sink:
        sink.replies["nobody"] = "550 5.1.1 no such user"
        instance = make_instance({"remote-relay": {"routes": {".many.test": f"127.0.0.1:{sink.port}"}}})
        recipients = [f"nobody@d{number}.many.test" for number in range(120)]
        message = compose(ALICE, BOB)
        assert sendmail(instance, "-f", ALICE, *recipients, input=message.as_string()).returncode == 0
        wait_for_empty_queue(instance)
        (path,) = messages_on_disk(instance, ALICE)
        report = read(path.read_bytes())
        assert report.get_content_type() == "multipart/report"
        status = report.get_payload()[1]
        blocks = [block["Final-Recipient"] for block in status.get_payload() if block["Final-Recipient"]]
        assert sorted(block.split("; ")[1] for block in blocks) == sorted(recipients)
