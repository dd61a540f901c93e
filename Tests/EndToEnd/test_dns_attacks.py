"""Attacks on the resolver, each with a server or a client written for it. docs/dns-security.md names them all."""

import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import time
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from instance import PROGRAMS
from internet import attackers, keytrap
from internet.wire import Server, reply

pytestmark = pytest.mark.root

# What no answer may ever hold, and what the true owners say.
POISON = "45.66.6.6"
TRUTH = "45.103.9.9"
MIB = 1 << 20
# Octets of memory that come and go with the allocator and the kernel.
SLACK = 24 * MIB


def rr(name: str, kind: str, *data: str, ttl: int = 300) -> dns.rrset.RRset:
    return dns.rrset.from_text(name, ttl, "IN", kind, *data)


def addresses(answer) -> set[str]:
    """Every address in a whole message."""
    kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
    sections = (answer.answer, answer.authority, answer.additional)
    return {item.address for rrsets in sections for rrset in rrsets if rrset.rdtype in kinds for item in rrset}


def attacker(internet, name: str, answer, **options) -> Server:
    return Server(internet.loop, [attackers.address(name)], answer, **options)


@contextlib.contextmanager
def victim(internet):
    """The true server of victim.com."""

    def answer(asked):
        if asked.kind == "A":
            return reply(asked, [rr(asked.name, "A", TRUTH)])
        return reply(asked, authority=[rr("victim.com.", "SOA", "ns. h. 1 2 3 4 60")])

    with Server(internet.loop, [attackers.VICTIM], answer) as server:
        yield server


def processor_time(resolver) -> float:
    """Seconds of CPU that a resolver has used."""
    fields = Path(f"/proc/{resolver.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_well(resolver) -> bool:
    """Whether it still answers something that it must look for."""
    name = f"n{random.randrange(1 << 40)}.wild.plain.com"
    return resolver.ask(name, timeout=5).rcode() == dns.rcode.NOERROR


# Poisoning: who may say what


def test_poison_in_other_sections(internet, martlet):
    """Records beside the answer are not believed about names elsewhere (RFC 2181 §5.4.1)."""

    def answer(asked):
        return reply(
            asked,
            [rr(asked.name, "A", "45.6.0.99"), rr("www.victim.com.", "A", POISON)],
            [rr("victim.com.", "NS", "ns.poison.evil."), rr("com.", "NS", "ns.poison.evil.")],
            [rr("www.victim.com.", "A", POISON), rr("ns.victim.com.", "A", POISON), rr("a.nic.com.", "A", POISON)],
        )

    with attacker(internet, "poison", answer) as server, victim(internet):
        for number in range(3):
            assert addresses(martlet.ask(f"www{number}.poison.evil")) == {"45.6.0.99"}
        assert addresses(martlet.ask("www.victim.com")) == {TRUTH}
        assert addresses(martlet.ask("ns.victim.com")) <= {TRUTH, attackers.VICTIM}
        assert addresses(martlet.ask("www.plain.com")) == {"45.100.0.1"}
        assert not [name for name, _ in server.names() if not name.endswith("poison.evil.")]


def test_an_alias_with_its_target(internet, martlet):
    """An alias may lead anywhere, but what is there only its owner says."""

    def answer(asked):
        return reply(asked, [rr(asked.name, "CNAME", "alias.victim.com."), rr("alias.victim.com.", "A", POISON)])

    with attacker(internet, "bailiwick", answer), victim(internet):
        assert addresses(martlet.ask("www.bailiwick.evil")) == {TRUTH}
        assert addresses(martlet.ask("alias.victim.com")) == {TRUTH}


@pytest.mark.parametrize("zone", ["com.", ".", "evil.", "victim.com."])
def test_referrals_upwards_and_sideways(internet, martlet, zone):
    """A server delegates only what is below its own zone."""

    def answer(asked):
        if asked.name.lower().startswith("ok."):
            return reply(asked, [rr(asked.name, "A", "45.6.0.99")])
        server = rr(zone, "NS", "ns.sideways.evil.")
        return reply(asked, (), [server], [rr("ns.sideways.evil.", "A", attackers.address("sideways"))], aa=False)

    with attacker(internet, "sideways", answer) as server, victim(internet):
        martlet.ask(f"x{random.randrange(1 << 30)}.sideways.evil", timeout=30)
        server.forget()
        assert POISON not in addresses(martlet.ask(f"side{random.randrange(1 << 30)}.victim.com"))
        assert martlet.rcode(f"new{random.randrange(1 << 30)}.com") == "NXDOMAIN"
        assert not server.asked


# Spoofing: answers that nobody asked for


def test_spoofed_answers(internet, martlet):
    """A flood of answers before the true one: wrong IDs, wrong names, wrong cases, wrong addresses."""

    async def answer(asked):
        transport = server.transports.get(asked.server)
        lie = reply(asked, [rr(asked.name, "A", POISON)])
        octets = lie.to_wire()
        if asked.transport == "udp":
            identifier = int.from_bytes(octets[:2], "big")
            for offset in range(1, 400):
                transport.sendto(((identifier + offset) % 65536).to_bytes(2, "big") + octets[2:], asked.client)
            other = dns.message.make_query("other.spoof.evil", "A", id=asked.message.id)
            other.flags |= dns.flags.QR | dns.flags.AA
            other.answer = [rr("other.spoof.evil.", "A", POISON)]
            transport.sendto(other.to_wire(), asked.client)
            # The right ID and port, from the attacker's own address.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind((attackers.address("lower"), 0))
                stranger.sendto(octets, asked.client)
            await asyncio.sleep(0.05)
        return reply(asked, [rr(asked.name, "A", TRUTH)])

    with attacker(internet, "spoof", answer) as server:
        for number in range(5):
            assert addresses(martlet.ask(f"www{number}.spoof.evil")) <= {TRUTH}
        assert addresses(martlet.ask("www9.spoof.evil")) == {TRUTH}
        assert POISON not in addresses(martlet.ask("other.spoof.evil"))


def test_answers_from_elsewhere(internet, martlet):
    """The right answer from another address is none."""

    def answer(asked):
        if asked.transport == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind((attackers.address("lower"), 0))
                stranger.sendto(reply(asked, [rr(asked.name, "A", POISON)]).to_wire(), asked.client)
        return None

    with attacker(internet, "elsewhere", answer, tcp=False) as server:
        assert POISON not in addresses(martlet.ask("www.elsewhere.evil", timeout=60))
        assert server.asked


# Amplification: one question, many queries

# More than a martlet needs on any honest way down, and far less than any of these attacks wants.
ENOUGH = 110


def test_a_referral_to_many_servers(internet, martlet):
    """NXNSAttack: a hundred names of servers, each of which would cost the victim a query."""

    def answer(asked):
        return reply(asked, (), [rr(asked.name, "NS", *(f"n{n}.x{random.random():.12f}.victim.com." for n in range(100)))], aa=False)

    def nobody(asked):
        return reply(asked, (), [rr("victim.com.", "SOA", "ns. h. 1 2 3 4 60")], rcode=dns.rcode.NXDOMAIN)

    with attacker(internet, "bomb", answer), Server(internet.loop, [attackers.VICTIM], nobody) as server:
        answer = martlet.ask("www.bomb.evil", timeout=30)
        assert answer.rcode() == dns.rcode.SERVFAIL
        print(f"{len(server.asked)} queries at the victim")
        assert len(server.asked) <= ENOUGH


def test_a_delegation_to_servers_that_delegate(internet, martlet):
    """NRDelegation: 1,500 names of servers, whose server only refers to one that answers nothing."""

    def answer(asked):
        names = [f"n{number}.delegator.evil." for number in range(1500)]
        if asked.name.lower().startswith(("n", "_")) and asked.name.count(".") == 3:
            return reply(asked, (), [rr(asked.name, "NS", "ns.silent.com.")], aa=False)
        return reply(asked, (), [rr(asked.name, "NS", *names)], aa=False)

    with attacker(internet, "delegator", answer) as server:
        before = processor_time(martlet)
        for number in range(5):
            with contextlib.suppress(dns.exception.Timeout):
                martlet.ask(f"www{number}.delegator.evil", timeout=10)
        assert processor_time(martlet) - before < 2
        assert len(server.asked) <= 5 * ENOUGH
        assert is_well(martlet)


@pytest.mark.parametrize("kind", ["ring", "endless"])
def test_chains_of_aliases(internet, martlet, kind):
    def answer(asked):
        first = asked.name.lower().split(".")[0]
        if kind == "ring":
            return reply(asked, [rr(asked.name, "CNAME", {"a": "b", "b": "c"}.get(first, "a") + ".loop.evil.")])
        number = int(first[1:]) if first[1:].isdigit() else 0
        return reply(asked, [rr(asked.name, "CNAME", f"c{number + 1}.chain.evil.")])

    name = "loop" if kind == "ring" else "chain"
    with attacker(internet, name, answer) as server:
        assert martlet.rcode(f"a.{name}.evil") == "SERVFAIL"
        assert len(server.asked) <= ENOUGH


def test_dnames_without_end(internet, martlet):
    """Each alias makes the name longer, or leads round."""

    def answer(asked):
        return reply(asked, [rr("dname.evil.", "DNAME", "again.dname.evil."),
                             rr(asked.name, "CNAME", asked.name.replace("dname.evil", "again.dname.evil"))])  # fmt: skip

    with attacker(internet, "dname", answer) as server:
        assert martlet.rcode("a.dname.evil") in ("SERVFAIL", "YXDOMAIN")
        assert len(server.asked) <= ENOUGH


# Servers that waste time


@pytest.mark.parametrize("octets", ["random", "empty", "half", "loop", "counts"])
def test_garbage(internet, martlet, octets):
    noise = random.Random(4)

    def answer(asked):
        head = asked.octets[:2] + b"\x84\x00"
        good = reply(asked, [rr(asked.name, "A", POISON)]).to_wire()
        return {
            "random": asked.octets[:2] + noise.randbytes(noise.randrange(600)),
            "empty": asked.octets[:2],
            "half": good[: len(good) - 3],
            "loop": head + b"\x00\x01\x00\x01\x00\x00\x00\x00" + b"\xc0\x0c\x00\x01\x00\x01" * 9,
            "counts": head + b"\xff\xff" * 4 + good[12:],
        }[octets]

    with attacker(internet, "garbage", answer) as server:
        for _ in range(3):
            with contextlib.suppress(dns.exception.Timeout):
                said = martlet.ask(f"{octets}.garbage.evil", timeout=8)
                assert said.rcode() == dns.rcode.SERVFAIL and not said.answer
        assert server.asked and is_well(martlet)


def test_truncation_without_end(internet, martlet):
    def answer(asked):
        message = reply(asked)
        message.flags |= dns.flags.TC
        return message

    with attacker(internet, "truncated", answer) as server:
        assert martlet.rcode("www.truncated.evil") == "SERVFAIL"
        assert len(server.asked) <= ENOUGH


def test_a_server_that_hangs(internet, martlet):
    """It asks for TCP, takes the connection and says nothing: others are answered meanwhile, and it ends."""

    async def answer(asked):
        if asked.transport == "tcp":
            await asyncio.sleep(60)
        message = reply(asked)
        message.flags |= dns.flags.TC
        return message

    with attacker(internet, "hanging", answer):
        query = dns.message.make_query("www.hanging.evil", "A")
        with martlet.namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(15)
            client.connect((martlet.address, 53))
            client.send(query.to_wire())
            assert is_well(martlet)
            assert dns.message.from_wire(client.recv(4096)).rcode() == dns.rcode.SERVFAIL


def test_a_huge_answer(internet, martlet):
    """Sixty thousand octets of records, honest otherwise."""

    def answer(asked):
        return reply(asked, [rr(asked.name, "A", *(f"45.{n >> 8}.{n & 255}.1" for n in range(3700)))])

    with attacker(internet, "huge", answer):
        before = martlet.resident()
        for number in range(20):
            assert martlet.rcode(f"www{number}.huge.evil") in ("NOERROR", "SERVFAIL")
        assert martlet.resident() - before < 64 * MIB
        assert is_well(martlet)


# Rebinding


PRIVATE = ["127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.1.1", "0.0.0.0"]
PRIVATE6 = ["::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "::"]


@pytest.mark.parametrize("address", PRIVATE + PRIVATE6)
def test_rebinding(internet, martlet, address):
    """A public name with an address of the client's own network."""
    kind = "AAAA" if ":" in address else "A"
    with attacker(internet, "rebind", lambda asked: reply(asked, [rr(asked.name, kind, address)])):
        name = f"h{random.randrange(1 << 40)}.rebind.evil"
        answer = martlet.ask(name, kind)
        assert not addresses(answer) and answer.rcode() != dns.rcode.NXDOMAIN


# Work for the processor


@pytest.mark.parametrize("trap", keytrap.TRAPS)
def test_keytrap(internet, martlet, trap):
    """Many keys with one tag, many signatures by it: each pair would be tried."""
    zone = keytrap.Zone(attackers.SIGNED["keytrap"][0], trap)
    with attacker(internet, "keytrap", zone.answer) as server:
        # Each trap has keys of its own.
        martlet.restart()
        is_well(martlet)
        before = processor_time(martlet)
        answer = martlet.ask(f"{trap}.keytrap.evil", timeout=30)
        used = processor_time(martlet) - before
        print(f"{trap}: {used:.2f} s of CPU, {len(server.asked)} queries")
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert used < 0.5 and is_well(martlet)


def test_many_iterations(internet, martlet):
    """NSEC3 with 65,535 rounds of hashing for each name (RFC 9276, CVE-2023-50868)."""
    zone = keytrap.Iterated(attackers.SIGNED["iterated"][0])
    with attacker(internet, "iterated", zone.answer):
        martlet.ask("first.iterated.evil")
        before = processor_time(martlet)
        for number in range(20):
            name = ".".join(["a"] * 60) + f".n{number}.iterated.evil"
            assert not martlet.ask(name).flags & dns.flags.AD
        assert processor_time(martlet) - before < 1


# Floods


def flood(resolver, count: int, make) -> None:
    """Sends questions without waiting for answers, from another network than that of those who ask besides."""
    with resolver.namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        client.bind(("127.3.0.1", 0))
        client.connect((resolver.address, 53))
        for index in range(count):
            with contextlib.suppress(ConnectionRefusedError):
                client.send(dns.message.make_query(make(index), "A").to_wire())


def test_random_subdomains_of_a_silent_zone(internet, martlet):
    """What waits for a dead server takes neither all places nor the time of others."""
    def names(index: int) -> str:
        return f"r{random.randrange(1 << 60)}.flood.evil"

    with attacker(internet, "flood", lambda asked: None) as server:
        flood(martlet, 4000, names)
        for _ in range(20):
            began = time.monotonic()
            assert is_well(martlet)
            assert time.monotonic() - began < 2
        # What they took is used again for the next ones.
        before = martlet.resident()
        for _ in range(3):
            flood(martlet, 4000, names)
            assert is_well(martlet)
        assert martlet.resident() - before < SLACK
        # Few of them have reached the zone's server at all.
        assert len(server.asked) < 8000


def test_nonsense_from_clients(martlet):
    noise = random.Random(5)
    with martlet.namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((martlet.address, 53))
        for _ in range(3000):
            client.send(noise.randbytes(noise.randrange(1, 200)))
        good = dns.message.make_query("www.plain.com", "A").to_wire()
        for _ in range(3000):
            octets = bytearray(good)
            octets[noise.randrange(len(octets))] = noise.randrange(256)
            client.send(octets)
    assert is_well(martlet)


def anonymous(resolver) -> int:
    """Octets of memory that aren't a file's."""
    status = Path(f"/proc/{resolver.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:"))) * 1024


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names, below, signatures, code", [
    (100_000, "wild.plain.com", False, "NOERROR"),
    (40_000, "plain.com", False, "NXDOMAIN"),
    (20_000, "wild.a13-nsec3.com", True, "NOERROR"),
], ids=["plain", "missing", "signed"])  # fmt: skip
def test_the_limit_of_the_cache_holds(internet, tmp_path, names, below, signatures, code):
    """Very many names, far more than fit: the process grows by the cache's limit, a tenth more or less."""
    limit = 16 * MIB
    resolver = internet.martlet(address="127.0.0.8", changes={"cache-size": "16MiB"})

    def ask(first: int, count: int):
        path = tmp_path / "names"
        path.write_text("".join(f"n{n}.{'x' * (n % 40)}y.{below} A\n" for n in range(first, first + count)))
        command = ["dnsperf", "-s", resolver.address, "-d", str(path), "-n", "1", "-c", "4", "-q", "100", "-t", "20"]
        with resolver.namespace.inside():
            command += ["-D"] if signatures else []
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    try:
        # What so many questions at once take beside the cache.
        ask(names, 500).communicate()
        base = peak = anonymous(resolver)
        process = ask(0, names)
        while process.poll() is None:
            peak = max(peak, anonymous(resolver))
            time.sleep(0.1)
        said = process.stdout.read()
        print(said, f"{base / MIB:.1f} MiB before, {peak / MIB:.1f} MiB at most")
        assert int(said.split("Queries completed:")[1].split()[0]) >= names * 0.99
        assert code in said.split("Response codes:")[1].splitlines()[0]
        assert 0.9 * limit <= peak - base <= 1.1 * limit
        stats = ["dns", "cache", "stats", "--json", "--instance", str(resolver.directory)]
        counted = json.loads(resolver.run(str(PROGRAMS / "martlet"), *stats))
        assert 0.9 * limit <= counted["octets"] <= counted["limit"] <= limit
    finally:
        resolver.stop()
