"""Programs that people use with mail servers, as they come with Debian."""

import os
import re
import subprocess
import threading
import time

import pytest
from configuration import free_port
from conftest import ALICE, BOB
from mail import compose, find, messages_on_disk, pop3, read, receive, token, wait_for, wait_for_empty_queue, wait_until

ERIN = "erin@example.test"


def run(*command, input: str | None = None, env: dict | None = None) -> subprocess.CompletedProcess:
    """Runs a program to its end; a failure shows what it said."""
    stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=env, **stdin)
    assert done.returncode == 0, f"{words[0]}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def erin(system):
    """A mailbox of its own, emptied, with one message; returns the message's token."""
    if ERIN not in system.passwords:
        system.add_user(ERIN)
    client = pop3(system, ERIN)
    for number in range(client.stat()[0]):
        client.dele(number + 1)
    client.quit()
    subject = receive(system, ERIN)
    wait_for(system, ERIN, subject)
    return subject


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_curl_sends(system, tmp_path, scheme):
    message = compose(ALICE, BOB)
    file = tmp_path / "message"
    file.write_bytes(message.as_bytes().replace(b"\n", b"\r\n"))
    port = system.ports["submission" if scheme == "smtp" else "submissions"]
    run(
        "curl", "--silent", "--show-error", "--cacert", system.certificate, "--ssl-reqd", f"{scheme}://localhost:{port}",
        "--user", f"{ALICE}:{system.passwords[ALICE]}", "--mail-from", ALICE, "--mail-rcpt", BOB, "--upload-file", file,
    )  # fmt: skip
    wait_for(system, BOB, message["Subject"])


@pytest.mark.parametrize("scheme", ["pop3", "pop3s", "imap", "imaps"])
def test_curl_reads(system, erin, scheme):
    path = "1" if scheme.startswith("pop3") else "INBOX;MAILINDEX=1"
    done = run(
        "curl", "--silent", "--show-error", "--cacert", system.certificate, "--ssl-reqd",
        f"{scheme}://localhost:{system.ports[scheme]}/{path}", "--user", f"{ERIN}:{system.passwords[ERIN]}",
    )  # fmt: skip
    assert read(done.stdout.encode())["Subject"] == erin


@pytest.mark.parametrize("options", [["--tls"], ["--tls-on-connect"]])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(system, options, mechanism):
    subject = token()
    port = system.ports["submissions" if "--tls-on-connect" in options else "submission"]
    done = run(
        "swaks", "--server", "localhost", "--port", port, *options, "--auth", mechanism, "--auth-user", ALICE,
        "--auth-password", system.passwords[ALICE], "--from", ALICE, "--to", BOB, "--header", f"Subject: {subject}",
        "--attach-type", "text/plain", "--attach", "-", input="an attachment\n",
    )  # fmt: skip
    assert re.search(r"250 2\.", done.stdout)
    wait_for(system, BOB, subject)


def test_msmtp(system, tmp_path):
    message = compose(ALICE, BOB)
    run(
        "msmtp", "--host=localhost", f"--port={system.ports['submission']}", "--tls=on", "--tls-starttls=on",
        f"--tls-trust-file={system.certificate}", "--auth=plain", f"--user={ALICE}",
        f"--passwordeval=echo {system.passwords[ALICE]}", f"--from={ALICE}", BOB, input=message.as_string(),
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    wait_for(system, BOB, message["Subject"])


@pytest.mark.parametrize("protocol", ["POP3", "IMAP"])
def test_fetchmail(system, erin, tmp_path, protocol):
    fetched = tmp_path / "fetched"
    settings = tmp_path / "fetchmailrc"
    settings.write_text(
        f"poll localhost protocol {protocol} port {system.ports[protocol.lower() + 's']} user '{ERIN}' "
        f"password '{system.passwords[ERIN]}' ssl sslcertfile '{system.certificate}' sslcertck "
        f"mda 'cat >>{fetched}'\n"
    )
    settings.chmod(0o600)
    run(
        "fetchmail", "--fetchmailrc", settings, "--pidfile", tmp_path / "pid", "--nosyslog", "--nodetach",
        env={**os.environ, "HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path)},
    )  # fmt: skip
    assert erin in fetched.read_text()
    client = pop3(system, ERIN)
    assert client.stat()[0] == 0
    client.quit()


def test_mbsync(system, erin, tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    settings = tmp_path / "mbsyncrc"
    settings.write_text(
        f"""\
IMAPAccount martlet
Host localhost
Port {system.ports["imaps"]}
User {ERIN}
Pass {system.passwords[ERIN]}
SSLType IMAPS
CertificateFile {system.certificate}

IMAPStore far
Account martlet

MaildirStore near
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel mail
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Sync All
SyncState *
"""
    )
    mbsync = ["mbsync", "-c", settings, "mail"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    run(*mbsync, env=environment)
    (copy,) = [path for part in ("new", "cur") for path in (local / "INBOX" / part).iterdir()]
    assert erin in copy.read_text()

    # A message written here goes up, a flag set here too, and a deletion there comes down.
    message = compose(ERIN, BOB)
    (local / "INBOX" / "new" / f"{int(time.time())}.1.here").write_bytes(message.as_bytes())
    copy.rename(local / "INBOX" / "cur" / (copy.name.partition(":")[0] + ":2,FS"))
    run(*mbsync, env=environment)
    wait_until(lambda: find(system, ERIN, message["Subject"]))
    assert any(path.name.endswith(":2,FS") for path in messages_on_disk(system, ERIN))
    client = pop3(system, ERIN)
    for number in range(client.stat()[0]):
        client.dele(number + 1)
    client.quit()
    run(*mbsync, env=environment)
    assert not [path for part in ("new", "cur") for path in (local / "INBOX" / part).iterdir()]


def test_smtp_source(system, make_instance):
    """Many sessions at once by Postfix's load generator, every message counted."""
    instance = make_instance(users=[BOB])
    run(
        "smtp-source", "-s", "10", "-m", "200", "-l", "2048", "-c", "-f", "someone@example.org", "-t", BOB,
        f"inet:127.0.0.1:{instance.ports['smtp']}",
    )  # fmt: skip
    wait_until(lambda: len(messages_on_disk(instance, BOB)) == 200, what="200 messages")


def test_smtp_sink(make_instance):
    """Relaying to Postfix's sink, which counts."""
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = ["smtp-sink", *user, "-c", f"127.0.0.1:{port}", "100"]
    sink = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    output: list[str] = []

    def read() -> None:
        while octets := sink.stdout.read1(65536):
            output.append(octets.decode())

    def counts() -> list[int]:
        return [int(number) for number in re.findall(r"mesg=([0-9]+)", "".join(output))]

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        instance = make_instance(
            {"remote-relay": {"routes": {"example.net": f"127.0.0.1:{port}"}}, "smtpd": {"relay-from": ["127.0.0.0/8"]}}
        )
        run(
            "smtp-source", "-s", "5", "-m", "100", "-l", "2048", "-f", ALICE, "-t", "someone@example.net",
            f"inet:127.0.0.1:{instance.ports['smtp']}",
        )  # fmt: skip
        # The queue may look empty just before the last message is known to it: the sink's count is what matters.
        wait_until(lambda: counts() and counts()[-1] == 100, what="the sink has all messages")
        wait_for_empty_queue(instance)
    finally:
        sink.terminate()
        sink.wait(timeout=10)
        reader.join(timeout=10)
    assert counts()[-1] == 100, "".join(output)[-500:]
