"""Sends a message with an attachment through a running instance and reads it back, as a person's programs would."""

import email
import email.policy
import email.utils
import imaplib
import poplib
import smtplib
import ssl
import time
from email.message import EmailMessage

from instance import Instance

PATIENCE = 30


def trust(instance: Instance) -> ssl.SSLContext:
    """A TLS context that trusts this instance's certificate and no other."""
    return ssl.create_default_context(cafile=str(instance.certificate))


def compose(sender: str, recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = "A first message"
    message["Date"] = email.utils.formatdate()
    message["Message-ID"] = email.utils.make_msgid(domain=sender.rpartition("@")[2])
    message.set_content("Hello Bob,\n\nthis came in by submission with STARTTLS and AUTH.\n\nAlice\n")
    message.add_attachment(bytes(range(256)) * 16, maintype="application", subtype="octet-stream", filename="octets.bin")
    return message


def submit(instance: Instance, sender: str, password: str, message: EmailMessage) -> None:
    with smtplib.SMTP("localhost", instance.ports["submission"], timeout=PATIENCE) as client:
        client.starttls(context=trust(instance))
        client.login(sender, password)
        client.send_message(message)


def read_by_pop3(instance: Instance, address: str, password: str, message_id: str) -> EmailMessage:
    """The message with this ID, as soon as it is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        client = poplib.POP3("localhost", instance.ports["pop3"], timeout=PATIENCE)
        try:
            client.stls(context=trust(instance))
            client.user(address)
            client.pass_(password)
            for number in range(client.stat()[0], 0, -1):
                octets = b"\r\n".join(client.retr(number)[1]) + b"\r\n"
                message = email.message_from_bytes(octets, policy=email.policy.default)
                if message["Message-ID"] == message_id:
                    return message
        finally:
            client.quit()
        time.sleep(0.1)
    raise TimeoutError(f"{address} has no message {message_id} after {PATIENCE} s")


def read_by_imap(instance: Instance, address: str, password: str, message_id: str) -> EmailMessage:
    with imaplib.IMAP4("localhost", instance.ports["imap"], timeout=PATIENCE) as client:
        client.starttls(trust(instance))
        client.login(address, password)
        client.select("INBOX")
        _, (found,) = client.search(None, "HEADER", "Message-ID", f'"{message_id}"')
        _, data = client.fetch(found.split()[-1], "(BODY.PEEK[])")
        return email.message_from_bytes(data[0][1], policy=email.policy.default)


def run(instance: Instance, sender: str, recipient: str) -> None:
    """Alice writes to Bob, Bob reads it twice; raises if anything differs."""
    message = compose(sender, recipient)
    print(f"sending a message from {sender} to {recipient}: submission, STARTTLS, AUTH", flush=True)
    submit(instance, sender, instance.passwords[sender], message)
    password = instance.passwords[recipient]
    received = {
        "POP3": read_by_pop3(instance, recipient, password, message["Message-ID"]),
        "IMAP": read_by_imap(instance, recipient, password, message["Message-ID"]),
    }
    sent = list(message.iter_attachments())[0].get_content()
    for protocol, copy in received.items():
        (attachment,) = copy.iter_attachments()
        if attachment.get_content() != sent:
            raise ValueError(f"the attachment read by {protocol} is not the one that was sent")
        print(f"read back by {protocol}, attachment {attachment.get_filename()} of {len(sent)} octets unharmed", flush=True)
    copy = received["IMAP"]
    print("\n" + "".join(f"    {name}: {value}\n" for name, value in copy.items()))
    print("".join(f"    {line}\n" for line in copy.get_body().get_content().splitlines()))
