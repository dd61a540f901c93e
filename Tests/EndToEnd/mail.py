"""What the tests do with mail: write messages, hand them in, look for them."""

import email
import email.policy
import imaplib
import json
import os
import poplib
import secrets
import smtplib
import socket
import ssl
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path

from instance import Instance

PATIENCE = 30


def trust(instance: Instance) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(instance.certificate))


def wait_until(condition, seconds: float = PATIENCE, what: str = "a condition"):
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not within {seconds} s")


def wait_for_log(instance: Instance, service: str, words: str) -> None:
    """Waits until a service's log holds these words: its logger is another process, and may be a little behind."""
    wait_until(lambda: words in instance.supervisor.log_text(service), what=f"{words!r} in the log of {service}")


def token() -> str:
    """A word that no other message contains."""
    return "t" + secrets.token_hex(8)


def compose(sender: str, *recipients: str, body: str = "Hello\n") -> EmailMessage:
    """A message whose subject is a token."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = token()
    message["Message-ID"] = f"<{message['Subject']}@client.example.test>"
    message.set_content(body)
    return message


def smtp(instance: Instance, port: str = "smtp", host: str = "127.0.0.1") -> smtplib.SMTP:
    return smtplib.SMTP(host, instance.ports[port], local_hostname="client.example.test", timeout=PATIENCE)


def submission(instance: Instance, address: str) -> smtplib.SMTP:
    """A session on the submission port after STARTTLS and AUTH."""
    client = smtp(instance, "submission", "localhost")
    client.starttls(context=trust(instance))
    client.login(address, instance.passwords[address])
    return client


def submit(instance: Instance, sender: str, *recipients: str, **options) -> str:
    """Sends a new message by submission; returns its token."""
    message = compose(sender, *recipients, **options)
    with submission(instance, sender) as client:
        client.send_message(message)
    return message["Subject"]


def receive(instance: Instance, recipient: str, sender: str = "someone@example.org", **options) -> str:
    """Sends a new message from outside to the smtp port; returns its token."""
    message = compose(sender, recipient, **options)
    with smtp(instance) as client:
        # Not send_message: Python's generator would quote "From " at the start of a line.
        client.sendmail(sender, [recipient], message.as_bytes(policy=message.policy.clone(linesep="\r\n")))
    return message["Subject"]


def sendmail(instance, *arguments, input: str = "", name: str = "sendmail") -> subprocess.CompletedProcess:
    """What a local program gets that hands a message over, or asks by another of the command's names."""
    return subprocess.run(
        [name, *arguments],
        executable=instance.programs / "sendmail",
        input=input,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MARTLET_INSTANCE": str(instance.directory)},
    )


def mailbox_directory(instance: Instance, address: str) -> Path:
    """Where the mailbox of an address lies on disk."""
    name, _, domain = address.partition("@")
    mail = instance.directory / "mail"
    for path in (mail / address, mail / domain / name):
        if path.exists():
            return path
    return mail / domain / name


def files(directory: Path) -> list[Path]:
    """The files below a directory that daemons write to meanwhile: what vanishes is left out, and so is what lies
    in a Maildir's `tmp`, which is not delivered yet."""
    found = []
    for path, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name != "tmp"]
        found += [Path(path, name) for name in names]
    return found


def holding(paths: list[Path], words: str | bytes) -> list[tuple[Path, bytes]]:
    """Those of the files that hold these words, with all that they hold."""
    wanted = words.encode() if isinstance(words, str) else words
    found = []
    for path in paths:
        try:
            if path.is_file() and wanted in (octets := path.read_bytes()):
                found.append((path, octets))
        except FileNotFoundError:  # moved or removed meanwhile
            continue
    return found


def files_with(directory: Path, words: str | bytes) -> list[Path]:
    """The files below a directory, as `files` finds them, that hold these words."""
    return [path for path, _ in holding(files(directory), words)]


def messages_on_disk(instance: Instance, address: str) -> list[Path]:
    """The files of a Maildir's INBOX."""
    directory = mailbox_directory(instance, address)
    return [path for part in ("new", "cur") for path in (directory / part).glob("*")]


def read(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)


def find(instance: Instance, address: str, text: str) -> list[bytes]:
    """The messages in the INBOX of an address that contain a text."""
    return [octets for _, octets in holding(messages_on_disk(instance, address), text)]


def wait_for(instance: Instance, address: str, text: str, seconds: float = PATIENCE) -> EmailMessage:
    """The message with this text in the INBOX of an address, as soon as it is there."""
    return read(wait_until(lambda: find(instance, address, text), seconds, f"{text} for {address}")[0])


def pop3(instance: Instance, address: str) -> poplib.POP3:
    client = poplib.POP3_SSL("localhost", instance.ports["pop3s"], timeout=PATIENCE, context=trust(instance))
    client.user(address)
    client.pass_(instance.passwords[address])
    return client


def imap(instance: Instance, address: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4_SSL("localhost", instance.ports["imaps"], timeout=PATIENCE, ssl_context=trust(instance))
    client.login(address, instance.passwords[address])
    return client


def queue(instance: Instance) -> list[dict]:
    """What waits in the queue, as `martlet queue list` says it."""
    return json.loads(instance.martlet("queue", "list", "--json").stdout)


def wait_for_empty_queue(instance: Instance, seconds: float = PATIENCE) -> None:
    try:
        wait_until(lambda: not queue(instance), seconds, "an empty queue")
    except TimeoutError as error:
        rest = [instance.martlet("queue", "show", entry["id"], check=False).stdout for entry in queue(instance)[:3]]
        raise TimeoutError(f"{error}; it holds\n" + "\n".join(rest)) from None


class Talk:
    """A conversation line by line, for what no client library would say."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def write(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> str:
        """An SMTP reply with all its lines; empty at the end of the stream."""
        lines = []
        while line := self.file.readline():
            lines.append(line.decode("latin-1").rstrip("\r\n"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    def say(self, octets: bytes) -> str:
        """Sends a line and returns the reply."""
        self.write(octets + b"\r\n")
        return self.reply()

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")

    def is_closed(self) -> bool:
        """Whether the other side closes now, without another octet."""
        try:
            return self.file.read(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
