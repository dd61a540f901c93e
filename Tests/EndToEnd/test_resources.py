"""How much memory the daemons take: a large message through every path, many idle connections."""

import contextlib
import hashlib
import os
import re
import resource
import smtplib
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from conftest import ALICE, BOB
from layout import SERVICE_NAMES
from mail import imap, pop3, submission, token, trust, wait_until
from sink import Sink

pytestmark = pytest.mark.alone
MIB = 1 << 20
LINE = b"0123456789" * 7 + b"\r\n"


@pytest.fixture(scope="module")
def large():
    """A message of 50 MB: its octets and its token."""
    mark = token()
    head = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: {mark}\r\n\r\n".encode()
    octets = head + LINE * ((50_000_000 - len(head)) // len(LINE))
    return octets, mark


def body_hash(octets: bytes) -> str:
    body = octets.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    return hashlib.sha256(body).hexdigest()


def peak(pid: int) -> int:
    """The peak resident memory of a process, in octets."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


@pytest.mark.timeout(240)
def test_a_large_message_through_every_path(make_instance, large):
    octets, mark = large
    expected = body_hash(octets)
    with Sink() as sink:
        instance = make_instance({"remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}}})
        with submission(instance, ALICE) as client:
            client.sendmail(ALICE, [BOB, "someone@example.net"], octets)
        with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], timeout=60) as client:
            client.sendmail("someone@example.org", [ALICE], octets)
        environment = {**os.environ, "MARTLET_INSTANCE": str(instance.directory)}
        command = [str(instance.programs / "sendmail"), "-i", "-f", ALICE, ALICE]
        subprocess.run(command, input=octets.replace(b"\r\n", b"\n"), check=True, env=environment, timeout=60)

        assert body_hash(sink.wait_for(mark, 60).octets) == expected
        for address, number in ((BOB, 1), (ALICE, 2)):
            wait_until(lambda a=address, n=number: count(instance, a) == n, what=f"{number} large messages for {address}")
        client = pop3(instance, BOB)
        assert body_hash(b"\r\n".join(client.retr(1)[1]) + b"\r\n") == expected
        client.quit()
        client = imap(instance, ALICE)
        client.select("INBOX")
        for number in ("1", "2"):
            _, data = client.fetch(number, "(BODY.PEEK[])")
            assert body_hash(data[0][1]) == expected
        assert client.append("INBOX", "", None, octets)[0] == "OK"
        _, data = client.uid("SEARCH", "BODY", "nowhere-to-be-found")
        assert data == [b""]
        client.logout()

        peaks = {name: peak(instance.supervisor.pid(name)) for name in SERVICE_NAMES}
        print({name: f"{octets / MIB:.1f} MiB" for name, octets in peaks.items()})
        assert max(peaks.values()) < 64 * MIB, peaks


def count(instance, address: str) -> int:
    client = pop3(instance, address)
    number = client.stat()[0]
    client.quit()
    return number


@pytest.mark.timeout(240)
def test_a_thousand_idle_imap_connections(make_instance):
    wanted = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    limits = {"maximum-connections": 2000, "maximum-connections-per-client": 2000}
    instance = make_instance({"imapd": limits})
    context = trust(instance)
    secret = f'a LOGIN {BOB} "{instance.passwords[BOB]}"\r\nb SELECT INBOX\r\nc IDLE\r\n'.encode()
    try:
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(idle(instance, context, secret)) for _ in range(wanted)]
            pids = [instance.supervisor.pid(name) for name in ("imapd", "imapd-mailbox")]
            total = sum(proportional_set_size(pid) for pid in pids)
            print(f"{wanted} idle connections: {total / MIB:.1f} MiB")
            assert total < 150 * MIB
            for connection in connections[:: wanted // 20]:
                connection.sendall(b"DONE\r\n")
                assert b"c OK" in connection.recv(4096)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def idle(instance, context: ssl.SSLContext, secret: bytes) -> ssl.SSLSocket:
    """A connection that has logged in, selected INBOX and idles."""
    plain = socket.create_connection(("127.0.0.1", instance.ports["imaps"]), timeout=30)
    connection = context.wrap_socket(plain, server_hostname="localhost")
    connection.sendall(secret)
    heard = b""
    while b"\n+" not in heard:
        octets = connection.recv(4096)
        assert octets and b" NO " not in heard, heard
        heard += octets
    return connection


def proportional_set_size(pid: int) -> int:
    """A process's share of memory (PSS), in octets."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024
