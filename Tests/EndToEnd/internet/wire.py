"""Name servers written in Python, for what no honest name server would do; and relays that change what one says."""

import asyncio
import collections
import contextlib
import socket
import struct
import threading
import traceback
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

from .namespace import Namespace

BACKLOG = 256


@dataclass
class Asked:
    """A query that came."""

    name: str
    kind: str
    transport: str
    server: str
    client: tuple
    octets: bytes
    message: dns.message.Message | None


class Loop:
    """A thread in the namespace whose event loop runs all servers written in Python."""

    def __init__(self, namespace: Namespace):
        self.namespace = namespace
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        self.namespace.enter()
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


class Server:
    """A name server on port 53 of some addresses.

    `answer(asked)` returns a message, octets, a list of those, or None for silence; it may be a coroutine function.
    Everything that was asked is in `asked`.
    """

    def __init__(self, loop: Loop, addresses: list[str], answer, tcp: bool = True, udp: bool = True):
        self.loop, self.addresses, self.answer = loop, addresses, answer
        self.tcp, self.udp = tcp, udp
        self.asked: list[Asked] = []
        self.transports: dict[str, asyncio.DatagramTransport] = {}
        self.listeners: list[asyncio.Server] = []
        self.tasks: set[asyncio.Task] = set()

    def __enter__(self):
        self.loop.do(self.open())
        return self

    def __exit__(self, *_):
        self.loop.do(self.close())

    async def open(self) -> None:
        for address in self.addresses:
            if self.udp:
                bound = self.bind(address, socket.SOCK_DGRAM)
                make = lambda address=address: Datagrams(self, address)  # noqa: E731
                self.transports[address], _ = await self.loop.loop.create_datagram_endpoint(make, sock=bound)
            if self.tcp:
                bound = self.bind(address, socket.SOCK_STREAM)
                serve = lambda reader, writer, address=address: self.stream(reader, writer, address)  # noqa: E731
                self.listeners.append(await asyncio.start_server(serve, sock=bound, backlog=BACKLOG))

    @staticmethod
    def bind(address: str, kind: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == socket.SOCK_DGRAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        bound.bind((address, 53))
        bound.setblocking(False)
        return bound

    async def close(self) -> None:
        for transport in self.transports.values():
            transport.close()
        for listener in self.listeners:
            listener.close()
        for task in list(self.tasks):
            task.cancel()
        self.transports, self.listeners = {}, []
        await asyncio.sleep(0)

    def note(self, octets: bytes, transport: str, server: str, client) -> Asked:
        try:
            message = dns.message.from_wire(octets)
            question = message.question[0]
            name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        except (dns.exception.DNSException, IndexError):
            message, name, kind = None, "", ""
        item = Asked(name, kind, transport, server, client, octets, message)
        self.asked.append(item)
        return item

    async def replies(self, asked: Asked) -> list[bytes]:
        """The messages to send back."""
        try:
            said = self.answer(asked)
            if asyncio.iscoroutine(said):
                said = await said
            messages = said if isinstance(said, list) else [] if said is None else [said]
            return [self.wire(asked, message) for message in messages]
        except Exception:
            # Else nobody would hear of it before the resolver gives up.
            traceback.print_exc(limit=3)
            return []

    @staticmethod
    def wire(asked: Asked, message) -> bytes:
        """The octets of a message, truncated where UDP can't carry as much as the client takes."""
        if isinstance(message, bytes):
            return message
        octets = message.to_wire(max_size=65535)
        limit = max(512, asked.message.payload if asked.message and asked.message.edns >= 0 else 512)
        if asked.transport == "udp" and len(octets) > limit:
            short = dns.message.make_response(asked.message)
            short.flags = message.flags | dns.flags.TC
            return short.to_wire()
        return octets

    def datagram(self, octets: bytes, address: str, client) -> None:
        task = self.loop.loop.create_task(self.answer_datagram(octets, address, client))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer_datagram(self, octets: bytes, address: str, client) -> None:
        for reply in await self.replies(self.note(octets, "udp", address, client)):
            if address in self.transports:
                self.transports[address].sendto(reply, client)

    async def stream(self, reader, writer, address: str) -> None:
        task = asyncio.current_task()
        self.tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                octets = await reader.readexactly(length)
                client = writer.get_extra_info("peername")
                for reply in await self.replies(self.note(octets, "tcp", address, client)):
                    writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        self.tasks.discard(task)
        with contextlib.suppress(RuntimeError):
            writer.close()

    # What was asked

    def forget(self) -> None:
        self.asked.clear()

    def names(self) -> list[tuple[str, str]]:
        """Name in lower case and type of everything asked."""
        return [(item.name.lower(), item.kind) for item in self.asked]

    def counts(self) -> collections.Counter:
        return collections.Counter(self.names())


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server, address: str):
        self.server, self.address = server, address

    def datagram_received(self, data, addr):
        self.server.datagram(data, self.address, addr)


class Relay(Server):
    """A server that asks another one, and hands its answers to `change(asked, message)` before it sends them."""

    def __init__(self, loop: Loop, addresses: list[str], behind: tuple[str, int], change=None, **options):
        super().__init__(loop, addresses, self.ask, **options)
        self.behind, self.change = behind, change

    async def fetch(self, octets: bytes) -> dns.message.Message:
        """The real answer."""
        reader, writer = await asyncio.open_connection(*self.behind)
        try:
            writer.write(struct.pack("!H", len(octets)) + octets)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return dns.message.from_wire(await reader.readexactly(length))
        finally:
            writer.close()

    async def ask(self, asked: Asked):
        if asked.message is None:
            return None
        message = await self.fetch(asked.octets)
        if self.change is None:
            return message
        changed = self.change(asked, message)
        return await changed if asyncio.iscoroutine(changed) else changed


def reply(asked: Asked, answer=(), authority=(), additional=(), rcode: int = 0, aa: bool = True):
    """An answer made of RRsets."""
    message = dns.message.make_response(asked.message)
    if aa:
        message.flags |= dns.flags.AA
    message.set_rcode(rcode)
    message.answer, message.authority, message.additional = list(answer), list(authority), list(additional)
    return message
