"""A root whose key rolls over (RFC 5011), and resolvers that follow it: resolverd and unbound, as they are, for months.

Both live in a pretended time (pretended_time.c), later with each phase, and are killed between the phases. So it's the real
30 days for which a new key has to wait.
"""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import dns.flags
import dns.rcode
import internet
import pytest
from internet.domains import make
from internet.keys import ECDSAP256, REVOKE, SEP, ZONE, Key
from internet.processes import NSD
from internet.resolvers import Martlet, Unbound
from internet.signing import NOW

pytestmark = pytest.mark.root

PATIENCE = 30
DAY = 86400
PRETENDED_TIME = Path(internet.__file__).parent / "pretended_time.c"
ADDRESSES = {"rolls": "45.6.1.1", "stolen": "45.6.1.2"}
# What unbound calls the states that a key has in RFC 5011 §4.2.
STATES = {"ADDPEND": "pending", "VALID": "valid", "MISSING": "missing", "REVOKED": "revoked", "REMOVED": "removed"}


@dataclass
class Phase:
    """What the root's zone is like from a day on, and what a resolver is to make of it."""

    day: int
    # Keys that sign the keys, those with "!" revoked; keys that are there and sign nothing.
    signers: str
    published: str = ""
    # Whether its data are proved; else they are bogus.
    proved: bool = True
    # The known keys' states, where they are to be other than before.
    states: dict[str, str] = field(default_factory=dict)


class Root:
    """A root server with a key that signs the zone, and others, by their letters, that sign its keys."""

    def __init__(self, internet, name: str):
        self.internet, self.address = internet, ADDRESSES[name]
        self.directory = internet.directory / f"root-{name}"
        self.server = NSD(self.directory, [self.address], {})
        self.zone_key = Key(ECDSAP256, ZONE)
        self.keys = {letter: Key(ECDSAP256) for letter in "ABC"}
        self.hints = self.directory / "hints"
        self.hints.write_text(f". 3600000 IN NS ns.\nns. 3600000 IN A {self.address}\n")
        self.anchors = self.directory / "anchors"
        self.anchors.write_text(f". 172800 IN DNSKEY {self.keys['A'].dnskey}\n")

    def key(self, letter: str, revoked: bool = False) -> Key:
        key = self.keys[letter]
        return Key(key.algorithm, ZONE | SEP | REVOKE, private=key.private) if revoked else key

    def serve(self, phase: Phase) -> None:
        domain = make(".", "root", "www A 45.6.2.1\n", servers={"ns": [self.address]})
        signers = [self.key(word[0], word.endswith("!")) for word in phase.signers.split()]
        publish = [self.key(letter) for letter in phase.published.split()]
        signers.append(self.zone_key)
        domain.zone.sign(signers, publish=publish, inception=NOW - DAY, expiration=NOW + 400 * DAY)
        self.server.stop()
        self.server.zones = {".": domain.zone.text()}
        self.server.start(self.internet.namespace)
        self.server.wait_ready(self.internet.namespace)

    def resolvers(self) -> list:
        internet, number = self.internet, len(self.internet.resolvers)
        changes = {"trust-anchor-updates": "yes"}
        martlet = Martlet(
            internet.namespace, internet.place("martlet"), self.hints, self.anchors, f"127.0.1.{number}", changes
        )
        state = self.directory / "unbound.anchors"
        state.write_text(self.anchors.read_text())
        empty = self.directory / "none"
        empty.write_text("")
        unbound = Unbound(
            internet.namespace,
            internet.place("unbound"),
            self.hints,
            empty,
            f"127.0.2.{number}",
            lines=[f'auto-trust-anchor-file: "{state}"'],
        )
        martlet.state, unbound.state = martlet.directory / "dns" / "trust-anchors", state
        for resolver in (martlet, unbound):
            internet.begin(resolver, start=False)
        return [martlet, unbound]

    def states(self, resolver) -> dict[str, str]:
        """What a resolver has written of the keys."""
        letters = {key.dnskey.to_text().split(" ", 3)[3].replace(" ", ""): name for name, key in self.keys.items()}
        found = {}
        for line in resolver.state.read_text().splitlines() if resolver.state.exists() else []:
            record, _, comment = line.partition(";")
            words = record.split()
            letter = letters.get("".join(words[words.index("DNSKEY") + 4 :])) if "DNSKEY" in words else None
            if letter and words[0] == "key":
                found[letter] = words[1]
            elif letter and "[" in comment:
                found[letter] = STATES[comment.split("[")[1].split("]")[0].strip()]
        return found


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> str:
    """What is loaded into programs that are to live later."""
    made = tmp_path_factory.mktemp("time") / "pretended_time.so"
    subprocess.run(["clang", "-O1", "-shared", "-fPIC", "-o", made, PRETENDED_TIME], check=True)
    return str(made)


@pytest.fixture
def pretended(internet, library, request):
    """Goes through phases with both resolvers."""
    root = Root(internet, request.param)
    resolvers = root.resolvers()

    def go(phases: list[Phase]):
        known: dict[str, str] = {}
        for phase in phases:
            root.serve(phase)
            known = {name: state for name, state in (known | phase.states).items() if state}
            for resolver in resolvers:
                resolver.kill()
                resolver.environment = {"LD_PRELOAD": library, "PRETENDED_SECONDS": str(phase.day * DAY)}
                resolver.start()
            for resolver in resolvers:
                where = f"{resolver.name}, day {phase.day}"
                answer = resolver.ask("www")
                verdict = answer.rcode() == dns.rcode.NOERROR and bool(answer.flags & dns.flags.AD)
                assert verdict == phase.proved, where
                assert verdict or answer.rcode() == dns.rcode.SERVFAIL, where
                end = time.monotonic() + PATIENCE
                # unbound doesn't write down what was removed.
                expected = {key: state for key, state in known.items() if resolver.name == "martlet" or state != "removed"}
                while (states := root.states(resolver)) != expected and time.monotonic() < end:
                    time.sleep(0.05)
                assert states == expected, where
                # What it has learned meanwhile proves as much.
                again = resolver.ask("www")
                assert bool(again.flags & dns.flags.AD) == phase.proved, where
        return resolvers

    yield go
    for resolver in resolvers:
        resolver.stop()
    root.server.stop()


@pytest.mark.parametrize("pretended", ["rolls"], indirect=True)
def test_the_root_rolls_its_key(pretended):
    pretended(
        [
            Phase(0, "A", states={"A": "valid"}),
            # B is there; it is on its way, and doesn't count before its time.
            Phase(2, "A", "B", states={"B": "pending"}),
            Phase(21, "B", proved=False),
            Phase(31, "A", "B"),
            Phase(33, "A", "B", states={"B": "valid"}),
            # A takes itself back, and never counts again, though the configuration names it.
            Phase(35, "A! B", states={"A": "revoked"}),
            Phase(36, "B"),
            Phase(37, "A", proved=False),
            Phase(70, "B", states={"A": "removed"}),
            Phase(72, "A", proved=False),
        ]
    )


@pytest.mark.parametrize("pretended", ["stolen"], indirect=True)
def test_a_key_that_no_trusted_one_signed(pretended):
    """However long it is there."""
    martlet, _ = pretended(
        [
            Phase(0, "A", states={"A": "valid"}),
            Phase(2, "C", "A", proved=False),
            Phase(40, "C", "A", proved=False),
            Phase(80, "C", proved=False),
            # Neither can it revoke another, nor does its own revocation matter.
            Phase(82, "C!", "A", proved=False),
            Phase(84, "A"),
        ]
    )
    assert "the keys of a trust anchor's zone aren't believed" in martlet.log()
