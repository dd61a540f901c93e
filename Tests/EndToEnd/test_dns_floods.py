"""Floods and forgeries by clients, and what clients and servers show each other against them: rate limits, cookies, limits
on what waits. Each has a client or a server written for it; docs/dns-security.md names them all."""

import asyncio
import contextlib
import random
import re
import select
import socket
import struct
import subprocess
import time

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from instance import PROGRAMS
from internet import attackers
from internet.wire import Server, reply
from test_dns_attacks import MIB, POISON, SLACK, TRUTH, addresses, attacker, is_well, rr, victim

pytestmark = [pytest.mark.root, pytest.mark.alone]

ADDRESS = "45.80.0.1"
# Who may ask for everything, and who only for local zones.
GUEST, OTHER_GUEST, STRANGER = "45.70.1.1", "45.70.2.1", "45.71.1.1"
ZONE = "@ 300 SOA ns root 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\nsmall A 192.0.2.2\n"
TEXTS = "".join(f'@ TXT "{number} {"x" * 200}"\n' for number in range(5))
HUGE = "".join(f'huge TXT "{number} {"x" * 240}"\n' for number in range(200))


@pytest.fixture(scope="module")
def guarded(internet):
    """A resolver with small limits, open to guests for recursion and to everybody for its zone."""
    changes = {
        "allow-recursion": ["44.0.0.0/8", "45.70.0.0/16"],
        "rate-limit": 10,
        "rate-limit-all": 100,
        "maximum-pending-per-client": 200,
        "nsid": "guarded-1",
        "dns64": "64:ff9b::/96",
        "dns64-clients": ["45.70.0.0/16"],
        "trust-anchor-updates": "yes",
        "zones": {"flood.test": "etc/zones/flood.test"},
        "forward-zones": {"poison.evil": [attackers.address("poison")]},
    }
    resolver = internet.martlet(start=False, address=ADDRESS, changes=changes)
    (resolver.directory / "etc" / "zones" / "flood.test").write_text(ZONE + TEXTS + HUGE)
    resolver.start()
    yield resolver
    resolver.stop()


@contextlib.contextmanager
def client(resolver, source: str):
    with resolver.namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        bound.bind((source, 0))
        bound.connect((resolver.address, 53))
        yield bound


def received(bound: socket.socket, silence: float = 1.0) -> list[bytes]:
    """Everything that comes until it has been silent for a while."""
    datagrams = []
    while select.select([bound], [], [], silence)[0]:
        with contextlib.suppress(OSError):
            datagrams.append(bound.recv(65536))
    return datagrams


def ask(resolver, source: str, name: str, kind: str = "A", tcp: bool = False, **options) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)
    with resolver.namespace.inside():
        return (dns.query.tcp if tcp else dns.query.udp)(query, resolver.address, 20, source=source)


def dig(resolver, *words: str, source: str = STRANGER) -> str:
    return resolver.run("dig", f"@{resolver.address}", "-b", source, "+tries=1", "+time=10", *words)


# Reflection


def test_a_reflection_flood(guarded):
    """Whoever's address is forged gets less than the forger sent, and true clients get their answers all the same."""
    query = dns.message.make_query("flood.test", "TXT", use_edns=0, payload=4096).to_wire()
    with client(guarded, STRANGER) as bound:
        began = time.monotonic()
        for _ in range(2000):
            bound.send(query)
        answers = received(bound)
        seconds = time.monotonic() - began
    octets = sum(map(len, answers))
    parsed = [dns.message.from_wire(answer, ignore_trailing=True) for answer in answers]
    whole = [answer for answer in parsed if not answer.flags & dns.flags.TC]
    print(f"{len(answers)} answers, {len(whole)} whole, {octets} octets for {2000 * len(query)}, {seconds:.1f} s")
    assert 1 <= len(whole) <= 10 * (seconds + 2)
    # One in two of the others says that there is more by TCP.
    assert 300 <= len(parsed) - len(whole) <= 1000
    assert octets < 2000 * len(query) + len(whole) * 1300
    assert ask(guarded, STRANGER, "flood.test", "TXT", tcp=True).answer
    # Another network, and one that may recurse, notice nothing.
    assert ask(guarded, "45.72.1.1", "flood.test", "TXT", use_edns=0, payload=1232).answer
    for _ in range(50):
        assert ask(guarded, GUEST, "flood.test", "TXT", use_edns=0, payload=1232).answer


def test_a_flood_of_names_that_are_not_there(guarded):
    with client(guarded, "45.71.2.1") as bound:
        began = time.monotonic()
        for number in range(1000):
            bound.send(dns.message.make_query(f"x{number}.flood.test", "A").to_wire())
        answers = received(bound)
        seconds = time.monotonic() - began
    missing = [answer for answer in answers if answer[3] & 15 == 3]
    assert 1 <= len(missing) <= 10 * (seconds + 2)


def test_answers_have_the_df_bit(guarded):
    with guarded.namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as tap:
        tap.settimeout(20)
        ask(guarded, GUEST, "flood.test", "TXT", use_edns=0, payload=4096)
        while True:
            packet = tap.recv(65536)
            (source,) = struct.unpack_from("!H", packet, 20)
            if source == 53:
                break
    assert packet[6] & 0x40, "don't fragment"


# Cookies and identity


def test_cookies_with_dig(guarded):
    first = dig(guarded, "+cookie", "small.flood.test", "A")
    found = re.search(r"COOKIE: ([0-9a-f]{48})", first)
    assert found and "NOERROR" in first, first
    again = dig(guarded, f"+cookie={found[1]}", "small.flood.test", "A")
    assert f"COOKIE: {found[1]} (good)" in again
    assert "FORMERR" in dig(guarded, "+nocookie", "+ednsopt=10:0102", "small.flood.test", "A")


def test_a_cookie_gets_past_the_flood(guarded):
    """Without one a client under the limit's pressure gets BADCOOKIE with a good one, and with that its answer."""
    source = "45.71.3.1"
    cookie = bytes(range(8))

    def query(octets: bytes) -> dns.message.Message:
        made = dns.message.make_query("small.flood.test", "A", use_edns=0)
        made.use_edns(0, options=[dns.edns.GenericOption(10, octets)])
        return made

    with client(guarded, source) as bound:
        for _ in range(400):
            bound.send(query(cookie).to_wire())
        answers = [dns.message.from_wire(answer) for answer in received(bound)]
        bad = [answer for answer in answers if answer.rcode() == dns.rcode.BADCOOKIE]
        assert bad and not any(answer.answer for answer in bad)
        (option,) = [option for option in bad[0].options if option.otype == 10]
        good = query(option.to_wire()).to_wire()
        for _ in range(100):
            bound.send(good)
        answers = [dns.message.from_wire(answer) for answer in received(bound)]
    assert len(answers) == 100 and all(answer.answer for answer in answers)


def test_kdig_and_the_servers_identity(guarded):
    printed = guarded.run("kdig", f"@{ADDRESS}", "-b", GUEST, "+cookie", "+nsid", "small.flood.test", "A")
    assert "guarded-1" in printed and "192.0.2.2" in printed and "COOKIE" in printed.upper(), printed
    assert "guarded-1" in dig(guarded, "+nsid", "small.flood.test", "A", source=GUEST)
    assert "NSID" not in dig(guarded, "small.flood.test", "A", source=GUEST)


def test_forged_answers_with_a_wrong_cookie(internet, guarded):
    """The right ID, port, question and case, and no idea of the cookie."""
    cookies = []

    async def answer(asked):
        (option,) = [option for option in asked.message.options if option.otype == 10]
        sent = option.to_wire()
        cookies.append(sent)
        transport = server.transports.get(asked.server)
        if asked.transport == "udp":
            lie = reply(asked, [rr(asked.name, "A", POISON)])
            lie.use_edns(0, options=[dns.edns.GenericOption(10, bytes(8) + b"s" * 16)])
            transport.sendto(lie.to_wire(), asked.client)
            if len(sent) > 8:
                # And without one, although the server gives cookies.
                bare = reply(asked, [rr(asked.name, "A", POISON)])
                bare.use_edns(0)
                transport.sendto(bare.to_wire(), asked.client)
            await asyncio.sleep(0.05)
        truth = reply(asked, [rr(asked.name, "A", TRUTH)])
        truth.use_edns(0, options=[dns.edns.GenericOption(10, sent[:8] + b"s" * 16)])
        return truth

    with attacker(internet, "spoof", answer) as server:
        for number in range(4):
            assert addresses(ask(guarded, GUEST, f"cookie{number}.spoof.evil")) == {TRUTH}
    assert len({cookie[:8] for cookie in cookies}) == 1
    assert cookies[-1][8:] == b"s" * 16, "the server's cookie comes back to it"


# What waits


def test_dnsbomb(internet, guarded):
    """Answers that are gathered at a slow server and let go at once don't fall on one client together."""
    release = None

    async def answer(asked):
        await asyncio.wait_for(release.wait(), 60)
        return reply(asked, [rr(asked.name, "TXT", *(f'"{"x" * 240}"' for _ in range(4)))])

    async def make():
        return asyncio.Event()

    async def let_go():
        release.set()

    release = internet.loop.do(make())
    with attacker(internet, "flood", answer), client(guarded, OTHER_GUEST) as bound:
        for number in range(2000):
            bound.send(dns.message.make_query(f"b{random.randrange(1 << 40)}.flood.evil", "TXT", use_edns=0).to_wire())
        refused = received(bound)
        assert all(answer[3] & 15 == 2 for answer in refused), "those over the limit are told so at once"
        assert len(refused) >= 1500
        time.sleep(1.5)
        internet.loop.do(let_go())
        burst = received(bound)
        octets = sum(map(len, burst))
        print(f"{len(burst)} answers, {octets} octets at once")
        assert len(burst) <= 200
        assert octets < 100_000
        assert addresses(ask(guarded, GUEST, "www.plain.com")) == {"45.100.0.1"}


def test_one_client_leaves_places_for_others(internet, guarded):
    """Random names below a dead zone, from one client: others are served."""
    with attacker(internet, "flood", lambda asked: None), client(guarded, OTHER_GUEST) as bound:
        for _ in range(3000):
            bound.send(dns.message.make_query(f"r{random.randrange(1 << 60)}.flood.evil", "A").to_wire())
        refused = received(bound, 0.5)
        assert len([answer for answer in refused if answer[3] & 15 == 2]) >= 2500
        for number in range(10):
            name = f"n{random.randrange(1 << 40)}.wild.plain.com"
            assert ask(guarded, GUEST, name).rcode() == dns.rcode.NOERROR


def test_clients_that_do_not_read(guarded):
    """Many connections that ask for much and take nothing: 1 MiB of answers waits for each, at most."""
    query = dns.message.make_query("huge.flood.test", "TXT").to_wire()
    framed = (len(query).to_bytes(2, "big") + query) * 300
    assert len(ask(guarded, GUEST, "huge.flood.test", "TXT", tcp=True).to_wire()) > 45_000
    before = guarded.resident()
    connections = 60
    with contextlib.ExitStack() as stack:
        stack.enter_context(guarded.namespace.inside())
        for number in range(connections):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.bind((f"45.70.3.{number + 1}", 0))
            connection.settimeout(20)
            connection.connect((ADDRESS, 53))
            connection.sendall(framed)
        assert ask(guarded, GUEST, "small.flood.test").answer
        time.sleep(1)
        growth = guarded.resident() - before
        print(f"{growth / MIB:.0f} MiB for {connections} clients")
        assert growth < connections * 1.2 * MIB + SLACK
    assert is_well_for_guests(guarded)


def is_well_for_guests(resolver) -> bool:
    name = f"n{random.randrange(1 << 40)}.wild.plain.com"
    return ask(resolver, GUEST, name).rcode() == dns.rcode.NOERROR


# Others


def test_poison_from_a_forwarder(internet, guarded):
    """MaginotDNS: who is asked for one zone, with the rest of the world found from the root, speaks of that zone only."""

    def answer(asked):
        return reply(
            asked,
            [rr(asked.name, "A", "45.6.0.99"), rr("www.victim.com.", "A", POISON)],
            [rr("com.", "NS", "ns.poison.evil."), rr(".", "NS", "ns.poison.evil."), rr("victim.com.", "NS", "ns.poison.evil.")],
            [rr("ns.poison.evil.", "A", attackers.address("poison")), rr("a.nic.com.", "A", POISON), rr("www.victim.com.", "A", POISON)],
        )

    with attacker(internet, "poison", answer) as server, victim(internet):
        for number in range(3):
            assert addresses(ask(guarded, GUEST, f"m{number}.poison.evil")) == {"45.6.0.99"}
        assert addresses(ask(guarded, GUEST, "www.victim.com")) == {TRUTH}
        assert addresses(ask(guarded, GUEST, f"maginot{random.randrange(1 << 30)}.victim.com")) == {TRUTH}
        assert addresses(ask(guarded, GUEST, "www.plain.com")) == {"45.100.0.1"}
        assert not [name for name, _ in server.names() if not name.lower().endswith("poison.evil.")]

    def alias(asked):
        return reply(asked, [rr(asked.name, "CNAME", "alias.victim.com."), rr("alias.victim.com.", "A", POISON)])

    with attacker(internet, "poison", alias), victim(internet):
        assert addresses(ask(guarded, GUEST, "alias.poison.evil")) == {TRUTH}


def test_dns64_with_dig(internet, guarded):
    own = dig(guarded, "+short", "www.plain.com", "AAAA", source=GUEST).strip()
    assert own and not own.startswith("64:ff9b:"), "its own address where it has one"

    def answer(asked):
        if asked.kind == "A":
            return reply(asked, [rr(asked.name, "A", "45.103.9.9")])
        return reply(asked, authority=[rr("victim.com.", "SOA", "ns. h. 1 2 3 4 60")])

    with Server(internet.loop, [attackers.VICTIM], answer):
        made = dig(guarded, "+short", "only4.victim.com", "AAAA", source=GUEST)
        assert made.strip() == "64:ff9b::2d67:909"
        assert dig(guarded, "+short", "+dnssec", "+cdflag", "only4.victim.com", "AAAA", source=GUEST).strip() == ""
        # Not for those whom it isn't for.
        assert dig(guarded, "+short", "only4.victim.com", "AAAA", source="44.0.0.1").strip() == ""
    found = dig(guarded, "+short", "ipv4only.arpa", "AAAA", source=GUEST).split()
    assert sorted(found) == ["64:ff9b::c000:aa", "64:ff9b::c000:ab"]


def test_recursion_for_guests_only(guarded):
    refused = dig(guarded, "www.plain.com", "A")
    assert "REFUSED" in refused and "EDE: 18" in refused, refused


def test_trust_anchors_are_followed(guarded):
    """The root's key is found by its DS record, and kept over a restart."""
    command = [str(PROGRAMS / "martlet"), "dns", "anchors", "--instance", str(guarded.directory)]
    for _ in range(2):
        end = time.monotonic() + 20
        while " valid " not in (printed := guarded.run(*command)) and time.monotonic() < end:
            time.sleep(0.1)
        assert re.search(r"^\. \d+ \d+ valid for 0 days$", printed, re.MULTILINE), printed
        state = (guarded.directory / "dns" / "trust-anchors").read_text()
        assert state.startswith("#") and state.endswith("end\n")
        guarded.restart()
    (guarded.directory / "dns" / "trust-anchors").write_text("version 1\nkey nonsense\n")
    guarded.restart()
    assert "dns/trust-anchors is damaged" in guarded.log()
    assert ask(guarded, GUEST, "www.plain.com").rcode() == dns.rcode.NOERROR
