"""What Python's email package finds in a message, for comparison with what Martlet finds."""

import email
import email.header
from email.message import Message
from typing import NamedTuple


class Part(NamedTuple):
    """One part; depth 0 is the message. Parts that hold others have neither name nor body."""

    depth: int
    type: str
    name: str | None
    body: bytes | None
    text: str | None


def words(value: str | None) -> str | None:
    """A field's value with encoded words decoded."""
    return None if value is None else str(email.header.make_header(email.header.decode_header(value)))


def text(leaf: Message, body: bytes) -> str:
    return body.decode(leaf.get_content_charset("utf-8"), "replace").replace("\r\n", "\n")


def read(message: Message, depth: int = 0) -> list[Part]:
    """The message's parts from the top."""
    kind = message.get_content_type()
    if message.is_multipart():
        inner = [part for child in message.get_payload() for part in read(child, depth + 1)]
        return [Part(depth, kind, None, None, None), *inner]
    body = message.get_payload(decode=True)
    shown = text(message, body) if message.get_content_maintype() == "text" else None
    return [Part(depth, kind, message.get_filename(), body, shown)]
