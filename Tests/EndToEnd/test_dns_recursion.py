"""Recursion: from the root to every kind of delegation, with servers that are slow, lame, old or silent."""

import asyncio
import collections
import concurrent.futures
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest
from internet import watched
from internet.domains import BEHIND
from internet.wire import Relay, Server, reply
from internet.world import ORDINARY

pytestmark = pytest.mark.root

WWW = "45.103.0.1"
BACKEND = BEHIND["watched"]


def records(answer, kind: str = "A") -> list[str]:
    """The data of one type in the answer section."""
    wanted = dns.rdatatype.from_text(kind)
    return sorted(item.to_text() for rrset in answer.answer for item in rrset if item.rdtype == wanted)


@pytest.fixture
def log(internet):
    """What the watched servers are asked from now on."""
    internet.watched.forget()
    return internet.watched


# Ways down from the root


@pytest.mark.parametrize("number", range(len(ORDINARY)), ids=lambda number: ORDINARY[number][0])
def test_every_kind_of_domain(resolver, number):
    origin = ORDINARY[number][0]
    answer = resolver.ask(f"www.{origin}")
    assert answer.rcode() == dns.rcode.NOERROR and answer.flags & dns.flags.RA
    assert not answer.flags & dns.flags.AA
    assert records(answer) == [f"45.100.{number}.1"]
    assert records(answer, "CNAME") == [f"{origin}."]
    assert records(resolver.ask(origin, "MX"), "MX") == [f"10 mail.{origin}.", "20 mail.plain.net."]


@pytest.mark.parametrize("origin", ["glueless.com", "disagreeing.com", "six.com", "six-signed.com", "watched.com"])
def test_delegations(resolver, origin):
    assert records(resolver.ask(f"www.{origin}")) == [WWW]


def test_servers_that_can_only_be_found_through_each_other(resolver):
    began = time.monotonic()
    assert resolver.rcode("www.circle-one.com") == "SERVFAIL"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "name, kind, expected",
    [
        ("c1.plain.com", "A", ["45.100.0.1"]),
        ("mail.dout.plain.com", "A", ["45.100.1.25"]),
        ("host.d.plain.com", "A", ["45.100.0.43"]),
        ("anything.d.plain.com", "A", ["45.100.0.42"]),
        ("x.y.wild.plain.com", "A", ["45.100.0.42"]),
        ("host.wild.plain.com", "A", ["45.100.0.43"]),
        ("x.wildalias.plain.com", "A", ["45.100.0.25"]),
        ("outside.a8-nsec.com", "A", ["45.100.0.1"]),
        ("strange.plain.com", "TYPE65400", ["\\# 5 0102030405"]),
        ("esc\\.aped.plain.com", "A", ["45.100.0.46"]),
        ("1.0.100.45.in-addr.arpa", "PTR", ["www.plain.com."]),
        ("sub.gov.uk", "TXT", ['"below an empty name"']),
    ],
)
def test_aliases_and_wildcards(resolver, name, kind, expected):
    assert records(resolver.ask(name, kind), kind) == expected


@pytest.mark.parametrize(
    "name, kind, code",
    [
        ("no.plain.com", "A", "NXDOMAIN"),
        ("www.plain.com", "SRV", "NOERROR"),
        ("ent.plain.com", "A", "NOERROR"),
        ("b.ent.plain.com", "A", "NOERROR"),
        ("no.b.ent.plain.com", "A", "NXDOMAIN"),
        ("z.host.wild.plain.com", "A", "NXDOMAIN"),
        ("x.wild.plain.com", "MX", "NOERROR"),
        ("dangling.plain.com", "A", "NXDOMAIN"),
        ("gov.uk", "A", "NOERROR"),
        ("no-such-domain.com", "A", "NXDOMAIN"),
        ("no-such-top-level", "A", "NXDOMAIN"),
    ],
)
def test_what_is_not_there(resolver, name, kind, code):
    answer = resolver.ask(name, kind)
    assert dns.rcode.to_text(answer.rcode()) == code
    assert not records(answer, kind)
    assert [rrset.rdtype for rrset in answer.authority if rrset.rdtype == dns.rdatatype.SOA]


def test_an_alias_into_a_zone_below(resolver):
    """The answer holds the alias only: its target is elsewhere, though its name is below the zone's."""
    assert records(resolver.ask("into-child.watched.com")) == ["45.103.0.9"]


def test_chains_of_aliases(resolver):
    """Short ones are followed, endless ones are not."""
    assert records(resolver.ask(f"chain{watched.CHAIN - 6}.watched.com")) == ["45.103.0.8"]
    assert resolver.rcode("ring1.plain.com") == "SERVFAIL"


# Clients


def test_dig(resolver):
    assert resolver.run("dig", f"@{resolver.address}", "+short", "www.a13-nsec.info") == "a13-nsec.info.\n45.100.9.1\n"
    traced = resolver.run("dig", f"@{resolver.address}", "+nocookie", "+tcp", "huge.plain.com", "TXT")
    assert "status: NOERROR" in traced and traced.count("\tIN\tTXT\t") == 40


def test_kdig(resolver):
    said = resolver.run("kdig", f"@{resolver.address}", "+short", "www.a13-nsec.info", "AAAA")
    assert said.split() == ["a13-nsec.info.", "2a0e:100:9::1"]


def test_drill(resolver):
    said = resolver.run("drill", f"@{resolver.address}", "www.plain.com")
    assert "rcode: NOERROR" in said and "45.100.0.1" in said


def test_nslookup(resolver):
    said = resolver.run("nslookup", "www.plain.com", resolver.address)
    assert "Address: 45.100.0.1" in said


def test_dnspython(resolver):
    client = dns.resolver.Resolver(configure=False)
    client.nameservers = [resolver.address]
    client.search = [dns.name.from_text("plain.com")]
    with resolver.namespace.inside():
        assert client.resolve("www.plain.de.", "A")[0].address == "45.100.2.1"
        assert client.resolve("mail", "A", search=True)[0].address == "45.100.0.25"
        assert client.resolve_address("45.100.0.1")[0].target.to_text() == "www.plain.com."
        with pytest.raises(dns.resolver.NXDOMAIN):
            client.resolve("no.plain.com.", "A")
        with pytest.raises(dns.resolver.NoAnswer):
            client.resolve("www.plain.com.", "SRV")


def test_getaddrinfo(internet, resolver):
    """What every program on a machine does that has us in its resolv.conf."""
    path = internet.directory / f"resolv.conf.{resolver.name}"
    path.write_text(f"nameserver {resolver.address}\nsearch plain.com\noptions edns0 trust-ad\n")
    program = (
        "import socket\n"
        "print(sorted({item[4][0] for item in socket.getaddrinfo('www.a8-nsec.com', 25)}))\n"
        "print(socket.getaddrinfo('mail', 25, socket.AF_INET)[0][4][0])\n"
        "print(socket.gethostbyaddr('45.100.0.1')[0])\n"
        "try: socket.getaddrinfo('no.plain.de', 25)\n"
        "except socket.gaierror as error: print(error.errno == socket.EAI_NONAME)\n"
    )
    script = 'mount --bind "$0" /etc/resolv.conf && exec /usr/bin/python3 -c "$1"'
    said = resolver.run("unshare", "-m", "sh", "-c", script, str(path), program)
    assert said.splitlines() == ["['2a0e:100:6::1', '45.100.6.1']", "45.100.0.25", "www.plain.com", "True"]


# Sizes


def test_long_answers(resolver):
    """By UDP as much as the client takes; the rest by TCP."""
    name = "huge.a8-nsec.com"
    query = dns.message.make_query(name, "TXT", use_edns=0, payload=1232)
    with resolver.namespace.inside():
        short = dns.query.udp(query, resolver.address, 10)
        assert short.flags & dns.flags.TC and len(short.to_wire()) <= 1232
    assert len(records(resolver.ask(name, "TXT"), "TXT")) == 40
    query = dns.message.make_query("big.plain.com", "TXT")
    with resolver.namespace.inside():
        assert dns.query.udp(query, resolver.address, 10).flags & dns.flags.TC


# Servers with faults


def truncate(asked, message):
    if asked.transport == "udp":
        message = dns.message.make_response(asked.message)
        message.flags |= dns.flags.TC
    return message


def without_edns(asked, message):
    """An old server: FORMERR for what it doesn't know."""
    if asked.message.edns >= 0:
        return asked.octets[:2] + bytes([0x80 | asked.octets[2], 1]) + bytes(8)
    return message


def in_lower_case(asked, message):
    for section in (message.question, message.answer, message.authority, message.additional):
        for rrset in section:
            rrset.name = dns.name.from_text(rrset.name.to_text().lower())
    return message


def fail(asked, message):
    return reply(asked, rcode=dns.rcode.SERVFAIL)


def deny_empty_names(asked, message):
    """A server that says NXDOMAIN where there is only something below."""
    if not message.answer and asked.name.lower().startswith(("ent.", "y.ent.")):
        message.set_rcode(dns.rcode.NXDOMAIN)
    return message


async def late(asked, message):
    await asyncio.sleep(0.4)
    return message


@pytest.mark.parametrize(
    "address, origin, change, options",
    [
        (watched.TCP_ONLY, "tcp-only.com", truncate, {}),
        (watched.UDP_ONLY, "udp-only.com", None, {"tcp": False}),
        (watched.OLD, "old.com", without_edns, {}),
        (watched.LOWER, "lower.com", in_lower_case, {}),
        (watched.SLOW, "slow.com", late, {}),
    ],
    ids=lambda value: value if isinstance(value, str) and ".com" in value else "",
)
def test_peculiar_servers(internet, resolver, address, origin, change, options):
    with Relay(internet.loop, [address], BACKEND, change, **options) as server:
        assert records(resolver.ask(f"www.{origin}")) == [WWW]
        assert resolver.rcode(f"no.{origin}") == "NXDOMAIN"
        assert server.asked


def test_a_server_that_denies_empty_names(internet, resolver):
    """Names are given away label by label, but a wrong NXDOMAIN on the way must not hide what is below."""
    with Relay(internet.loop, [watched.ENT], BACKEND, deny_empty_names):
        assert records(resolver.ask("x.y.ent.ent.com")) == ["45.103.0.6"]
        assert records(resolver.ask("www.ent.com")) == [WWW]


@pytest.mark.parametrize("origin", ["half-lame.com", "half-unreachable.com", "half-failing.com", "half-silent.com"])
def test_one_good_server_is_enough(internet, resolver, origin):
    if resolver.name == "unbound" and origin in ("half-unreachable.com", "half-silent.com"):
        pytest.skip("unbound may go on for half a minute")
    with (
        Relay(internet.loop, [watched.FAILING], BACKEND, fail),
        Server(internet.loop, [watched.SILENT], lambda asked: None),
    ):
        for index in range(6):
            assert records(resolver.ask(f"n{index}.{origin}")) == [f"45.103.1.{index}"]
        assert records(resolver.ask(f"www.{origin}")) == [WWW]


@pytest.mark.parametrize("origin", ["lame.com", "unreachable.com", "failing.com", "silent.com"])
def test_no_good_server(internet, resolver, origin):
    if resolver.name == "unbound" and origin in ("unreachable.com", "silent.com"):
        pytest.skip("unbound goes on for minutes")
    with (
        Relay(internet.loop, [watched.FAILING], BACKEND, fail),
        Server(internet.loop, [watched.SILENT], lambda asked: None) as silent,
    ):
        answer = resolver.ask(f"www.{origin}", timeout=60)
        assert answer.rcode() == dns.rcode.SERVFAIL and not answer.answer
        assert len(silent.asked) < 60


# The cache


def test_answers_are_kept(resolver, log):
    for _ in range(3):
        assert records(resolver.ask("n1.watched.com")) == ["45.103.1.1"]
        assert resolver.rcode("gone.watched.com") == "NXDOMAIN"
        assert not resolver.ask("n1.watched.com", "MX").answer
    counts = log.counts()
    assert counts["n1.watched.com.", "A"] <= 2 and counts["gone.watched.com.", "A"] <= 1
    assert counts["n1.watched.com.", "MX"] == 1


def test_times_to_live(resolver, log):
    first = resolver.ask("second.watched.com")
    assert first.answer[0].ttl <= 1
    long = resolver.ask("n2.watched.com").answer[0].ttl
    time.sleep(2.1)
    assert resolver.ask("n2.watched.com").answer[0].ttl <= long - 2
    resolver.ask("second.watched.com")
    assert log.counts()["second.watched.com.", "A"] >= 2
    negative = resolver.ask("nothing.watched.com")
    assert negative.authority[0].ttl <= 300


def test_the_same_question_is_asked_once(internet, resolver):
    with Relay(internet.loop, [watched.SLOW], BACKEND, late) as server:
        resolver.ask("www.slow.com")
        server.forget()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: resolver.ask("n7.slow.com"), range(20)))
        assert all(records(answer) == ["45.103.1.7"] for answer in answers)
        assert server.counts()["n7.slow.com.", "A"] <= 2


# What is given away


def test_minimised_names(resolver, log):
    """RFC 9156: a server hears one label more than its zone, and not the type."""
    assert records(resolver.ask("a.b.c.d.e.f.watched.com")) == ["45.103.0.2"]
    asked = [(name, kind) for name, kind in log.names() if name.endswith(".f.watched.com.") or name.startswith("f.")]
    assert asked[0][0] == "f.watched.com." and asked[-1] == ("a.b.c.d.e.f.watched.com.", "A")
    assert [len(name) for name, _ in asked] == sorted(len(name) for name, _ in asked)
    log.forget()
    deep = ".".join(["very"] * 14) + ".deep.watched.com"
    assert records(resolver.ask(deep)) == ["45.103.0.3"]
    assert len({name for name, _ in log.names()}) <= 12
    log.forget()
    assert not resolver.ask("x.www.watched.com", "TXT").answer
    assert ("www.watched.com.", "TXT") not in log.names()


def test_minimised_names_are_remembered(martlet, log):
    """A second name in the same place costs one query."""
    martlet.ask("n0.wild.watched.com")
    log.forget()
    for number in range(1, 4):
        assert records(martlet.ask(f"n{number}.wild.watched.com")) == ["45.103.0.7"]
    assert log.names() == [(f"n{number}.wild.watched.com.", "A") for number in range(1, 4)]


def test_how_queries_look(resolver, log):
    """1232 octets, no more, in EDNS; random IDs and ports; the name in random case where that is done."""
    for index in range(60):
        resolver.ask(f"look{index}.watched.com")
    asked = [item for item in log.asked if "look" in item.name.lower()]
    assert len(asked) >= 60
    assert {item.message.payload for item in asked} == {1232}
    assert not any(item.message.flags & dns.flags.RD for item in asked)
    assert len({item.message.id for item in asked}) >= 55
    ports = collections.Counter((item.client[0], item.client[1]) for item in asked)
    assert max(ports.values()) <= 16 or resolver.name != "martlet"
    if resolver.name == "martlet":
        assert len({item.name for item in asked} & {item.name.lower() for item in asked}) < 5


# Connections to servers


class Counting(Relay):
    """A relay whose answers by UDP are cut; it notes how many connections it had, and may end them after some answers."""

    def __init__(self, *arguments, answers: int | None = None, **options):
        super().__init__(*arguments, change=truncate, **options)
        self.connections, self.most = 0, answers

    async def stream(self, reader, writer, address):
        self.connections += 1
        if self.most is not None:
            writer = Ending(writer, self.most)
        await super().stream(reader, writer, address)


class Ending:
    """Closes behind so many messages."""

    def __init__(self, writer, left: int):
        self.writer, self.left = writer, left

    def __getattr__(self, name):
        return getattr(self.writer, name)

    def write(self, octets):
        self.writer.write(octets)
        self.left -= 1
        if self.left == 0:
            self.writer.close()


def all_hosts(resolver, origin: str, numbers) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda number: records(resolver.ask(f"n{number}.{origin}")), numbers)
        assert list(answers) == [[f"45.103.1.{number}"] for number in numbers]


def test_queries_share_connections(internet, martlet):
    martlet.restart()
    with Counting(internet.loop, [watched.TCP_ONLY], BACKEND) as server:
        all_hosts(martlet, "tcp-only.com", range(40))
        assert sum(item.transport == "tcp" for item in server.asked) >= 40
        assert server.connections < 10


@pytest.mark.parametrize("answers", [1, 7])
def test_servers_that_close_connections(internet, martlet, answers):
    """After each answer, or after a few, with others under way or not: every question is answered."""
    martlet.restart()
    with Counting(internet.loop, [watched.TCP_ONLY], BACKEND, answers=answers) as server:
        all_hosts(martlet, "tcp-only.com", range(40, 80))
        assert server.connections >= 40 / answers
