"""The session's pretended internet, and the resolvers that ask it."""

import shutil
import tempfile
from pathlib import Path

import pytest

from . import trouble, watched
from .domains import BEHIND, BIND_HOSTS, GROUPS, TROUBLE_HOSTS
from .namespace import Namespace
from .processes import BIND, NSD, Knot
from .resolvers import Martlet, Unbound
from .wire import Loop, Relay
from .world import World


class Internet:
    """Everything together, running."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.namespace = Namespace(interface_addresses=BIND_HOSTS)
        self.loop = Loop(self.namespace)
        knot = Knot(directory / "knot", GROUPS["knot"], {}, signed=["online.com."])
        self.world = World(directory, knot)
        self.hints = self.world.write_hints(directory / "hints")
        self.anchors = self.world.write_anchors(directory / "anchors")
        knot.zones = self.world.zones("knot")
        self.servers = [knot, BIND(directory / "bind", GROUPS["bind"], self.world.zones("bind"))]
        for group in ("root", "top", "nsd"):
            self.servers.append(NSD(directory / group, GROUPS[group], self.world.zones(group)))
        for group, (address, port) in BEHIND.items():
            self.servers.append(NSD(directory / group, [address], self.world.zones(group), port))
        self.trouble = Relay(self.loop, TROUBLE_HOSTS, BEHIND["trouble"], trouble.change)
        self.watched = Relay(self.loop, [watched.PLAIN, watched.SIGNED, watched.SIGNED3], BEHIND["watched"])
        self.resolvers = []

    def start(self) -> None:
        for server in self.servers:
            server.start(self.namespace)
        for server in self.servers:
            server.wait_ready(self.namespace)
        for relay in (self.trouble, self.watched):
            self.loop.do(relay.open())

    def stop(self) -> None:
        for resolver in self.resolvers:
            resolver.stop()
        for relay in (self.trouble, self.watched):
            self.loop.do(relay.close())
        for server in self.servers:
            server.stop()
        self.loop.close()
        self.namespace.close()

    def place(self, name: str) -> Path:
        return self.directory / f"{name}-{len(self.resolvers)}"

    def unbound(self, **options) -> Unbound:
        """A new unbound, running."""
        return self.begin(Unbound(self.namespace, self.place("unbound"), self.hints, self.anchors, **options))

    def martlet(self, start: bool = True, **options) -> Martlet:
        """A new resolverd, running unless it shall be prepared first."""
        resolver = Martlet(self.namespace, self.place("martlet"), self.hints, self.anchors, **options)
        return self.begin(resolver, start)

    def begin(self, resolver, start: bool = True):
        self.resolvers.append(resolver)
        if start:
            resolver.start()
        return resolver


@pytest.fixture(scope="session")
def internet():
    # Servers that give up their rights must be able to read what is below.
    directory = Path(tempfile.mkdtemp(prefix="mlt-net-", dir="/var/tmp"))
    directory.chmod(0o755)
    running = Internet(directory)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def unbound(internet):
    return internet.unbound()


@pytest.fixture(scope="session")
def martlet(internet):
    return internet.martlet()


@pytest.fixture(scope="session", params=["unbound", "martlet"])
def resolver(request):
    """Each resolver in turn: unbound, which shows that the internet is right, and Martlet's."""
    return request.getfixturevalue(request.param)
