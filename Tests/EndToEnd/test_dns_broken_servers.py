"""Servers that give bad answers: what comes of them in recursive, stub and forward mode, and what unbound makes of the same."""

import smtplib
import time

import dns.flags
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from conftest import ALICE
from internet.keys import ECDSAP256, Key
from internet.scripted import DEAD, INSIDE, ONE, OTHER, ROOT, TWO, WAYS, Answerer, Script, start
from internet.signing import DAY, NOW, NSEC, NSEC3, RRSIG, Denial, Zone, bitmap
from internet.wire import reply
from mail import token
from sink import Sink

pytestmark = pytest.mark.root

CONTENT = """
www A 45.104.0.1
www AAAA 2a0e:104::1
mail A 45.104.0.25
@ MX 10 mail
a.b.c.d A 45.104.0.2
*.wild A 45.104.0.9
"""
PLAIN, HASHED, OPT_OUT = Denial(), Denial(nsec3=True), Denial(nsec3=True, opt_out=True)


@pytest.fixture(params=["unbound", "martlet"])
def name(request) -> str:
    return request.param


@pytest.fixture
def script(internet):
    """Makes a small internet; it ends with the test."""
    made = []

    def make(content=CONTENT, **options) -> Script:
        directory = internet.directory / f"script-{time.monotonic_ns()}"
        made.append(Script(internet, directory, content, **options))
        return made[-1].__enter__()

    yield make
    for item in made:
        item.__exit__()


def addresses(answer) -> list[str]:
    return sorted(item.to_text() for rrset in answer.answer if rrset.rdtype in (1, 28) for item in rrset)


def is_secure(answer) -> bool:
    return answer.rcode() in (0, 3) and bool(answer.flags & dns.flags.AD)


def as_way(way: str, message):
    """What is right for a server of a zone, or for one that is forwarded to."""
    if way == "forward":
        message.flags = message.flags & ~dns.flags.AA | dns.flags.RA
    return message


# One bad answer is not a bad server


def fault(kind: str, asked):
    if kind == "empty":
        return reply(asked, aa=False)
    if kind == "as a resolver":
        message = reply(asked, aa=False)
        message.flags |= dns.flags.RA
        return message
    return reply(asked, rcode=dns.rcode.from_text(kind), aa=False)


FAULTS = ["REFUSED", "SERVFAIL", "NOTIMP", "FORMERR", "empty", "as a resolver"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FAULTS)
def test_an_error_to_one_question(script, name, kind, way):
    world = script()

    def answer(asked, message):
        return fault(kind, asked) if asked.kind in ("AAAA", "TLSA") else as_way(way, message)

    for address in (ONE, TWO):
        world.serve(address, world.changed(answer))
    resolver = world.resolver(name, way)
    for host in ("www", "mail", "x", "y"):
        for asked in ("AAAA", "TLSA"):
            assert not resolver.ask(f"{host}.example.tld", asked).answer
    assert addresses(resolver.ask("www.example.tld")) == ["45.104.0.1"]
    assert addresses(resolver.ask("mail.example.tld")) == ["45.104.0.25"]
    assert resolver.ask("example.tld", "MX").answer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FAULTS[:4])
def test_an_error_of_one_of_two(script, name, kind, way):
    world = script()
    world.serve(ONE, world.changed(lambda asked, message: fault(kind, asked) if asked.kind == "AAAA" else as_way(way, message)))
    world.serve(TWO, world.changed(lambda asked, message: as_way(way, message)))
    resolver = world.resolver(name, way)
    assert addresses(resolver.ask("www.example.tld", "AAAA")) == ["2a0e:104::1"]
    assert addresses(resolver.ask("www.example.tld", "A")) == ["45.104.0.1"]


@pytest.mark.parametrize("way", ["recursive", "stub"])
def test_answers_without_authority(script, name, way):
    """They are used where nothing better comes."""
    world = script()

    def lesser(asked, message):
        message.flags = message.flags & ~dns.flags.AA | dns.flags.RA
        return message

    for address in (ONE, TWO):
        world.serve(address, world.changed(lesser))
    resolver = world.resolver(name, way)
    assert addresses(resolver.ask("www.example.tld")) == ["45.104.0.1"]
    assert resolver.rcode("none.example.tld") == "NXDOMAIN"


# A bogus answer is one server's


def stale(world: Script, how: str):
    """What a server says whose copy of the zone is old, or that is no good otherwise."""
    if how == "expired":
        zone = Zone("example.tld.")
        zone.sets = {owner: dict(sets) for owner, sets in world.zone.sets.items()}
        zone.keys = world.zone.keys
        for owner, kind in world.zone.signatures:
            zone.sign_set(owner, kind, inception=NOW - 60 * DAY, expiration=NOW - 30 * DAY)
        return Answerer(zone)
    if how == "other keys":
        zone = Zone("example.tld.", start() + "@ NS ns1\n@ NS ns2\n" + f"ns1 A {ONE}\nns2 A {TWO}\n" + CONTENT)
        return Answerer(zone.sign([Key(ECDSAP256)], world.signed))

    def strip(asked, message):
        message.answer = [item for item in message.answer if item.rdtype != RRSIG]
        message.authority = [item for item in message.authority if item.rdtype not in (RRSIG, NSEC, NSEC3)]

    return world.changed(strip)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["expired", "other keys", "unsigned"])
@pytest.mark.parametrize("denial", [PLAIN, HASHED], ids=["nsec", "nsec3"])
def test_one_stale_server(script, name, how, way, denial):
    if name == "unbound" and way != "recursive":
        pytest.skip("what unbound makes of it is seen where it walks")
    world = script(signed=denial)
    world.serve(ONE, world.changed(lambda asked, message: as_way(way, message), stale(world, how)))
    world.serve(TWO, world.changed(lambda asked, message: as_way(way, message)))
    resolver = world.resolver(name, way)
    for number in range(6):
        answers = [resolver.ask("www.example.tld"), resolver.ask(f"x{number}.wild.example.tld"), resolver.ask(f"no{number}.example.tld")]
        if name == "martlet":
            assert all(is_secure(answer) for answer in answers), number
        # unbound sometimes gives up before it has asked the good one.
        assert all(is_secure(answer) or answer.rcode() == dns.rcode.SERVFAIL for answer in answers)


# Names in between


@pytest.mark.parametrize("way", ["recursive", "stub"])
@pytest.mark.parametrize("kind", FAULTS[:4])
def test_an_error_to_a_name_in_between(script, name, kind, way):
    world = script()
    between = {f"{part}.example.tld." for part in ("d", "c.d", "b.c.d")}

    def answer(asked, message):
        return fault(kind, asked) if asked.name.lower() in between else None

    servers = [world.serve(address, world.changed(answer)) for address in (ONE, TWO)]
    resolver = world.resolver(name, way)
    assert addresses(resolver.ask("a.b.c.d.example.tld")) == ["45.104.0.2"]
    assert addresses(resolver.ask("www.example.tld")) == ["45.104.0.1"]
    if name == "martlet":
        asked = [item for server in servers for item in server.names() if item[0].endswith("d.example.tld.")]
        assert asked == [("d.example.tld.", "A"), ("a.b.c.d.example.tld.", "A")]


# Gaps end at cuts


@pytest.mark.parametrize("way", ["stub", "forward"])
def test_an_internal_zone_in_a_gap(script, name, way):
    world = script(signed=PLAIN)
    for address in (ONE, TWO):
        world.serve(address, world.honest)
    inside = Answerer(Zone("inside.example.tld.", start() + f"@ NS ns\nns A {INSIDE}\n*.x A 10.0.0.1\n"))
    world.serve(INSIDE, world.changed(lambda asked, message: as_way(way, message), inside))
    changes = {f"{way}-zones": {"inside.example.tld": [INSIDE]}, "negative-trust-anchors": ["inside.example.tld"]}
    lines = ['domain-insecure: "inside.example.tld"', "aggressive-nsec: yes", f"{way}-zone:", 'name: "inside.example.tld"']
    resolver = world.resolver(name, "recursive", changes=changes, lines=[*lines, f"{way}-addr: {INSIDE}"])
    for part in ("insidd", "insidf", "inside0", "e", "j"):
        assert is_secure(resolver.ask(f"{part}.example.tld"))
    assert addresses(resolver.ask("a.x.inside.example.tld")) == ["10.0.0.1"]


# Phoenix domains


def test_a_domain_that_was_taken_away(script, name):
    sub = f"sub 100000 NS ns.sub\nns.sub 100000 A {OTHER}\n"
    world = script(CONTENT + sub, cut_ttl=3)
    for address in (ONE, TWO):
        world.serve(address, world.honest)
    below = Zone("sub.example.tld.", start() + f"@ 100000 NS ns\nns 100000 A {OTHER}\n*.w 1 A 45.104.0.7\n")
    world.serve(OTHER, Answerer(below))
    resolver = world.resolver(name, lines=["cache-max-negative-ttl: 1"])
    assert addresses(resolver.ask("a.w.sub.example.tld")) == ["45.104.0.7"]
    cut = dns.name.from_text("example.tld.")
    for owner in [owner for owner in world.tld.sets if owner.is_subdomain(cut)]:
        del world.tld.sets[owner]
    time.sleep(2)
    resolver.ask("b.w.sub.example.tld")
    time.sleep(3)
    assert resolver.rcode("c.w.sub.example.tld") == "NXDOMAIN"


# Glue of one family


@pytest.mark.parametrize("uses_ipv6", [False, True])
def test_glue_of_the_other_family(script, name, uses_ipv6):
    if name == "unbound" and uses_ipv6:
        pytest.skip("unbound may try the dead address for longer than a client waits")
    world = script(tld=f"far NS ns.other\nother NS ns1.other\nns1.other A {OTHER}\nns.other AAAA {DEAD}\n")
    other = Zone("other.tld.", start() + f"@ NS ns1\nns1 A {OTHER}\nns A {INSIDE}\nns AAAA {DEAD}\n")
    world.serve(OTHER, Answerer(other))
    far = world.serve(INSIDE, Answerer(Zone("far.tld.", start() + "@ NS ns.other.tld.\nwww A 45.104.0.3\n")))
    resolver = world.resolver(name, changes={"ipv6": uses_ipv6}, lines=[f"do-ip6: {'yes' if uses_ipv6 else 'no'}"])
    assert addresses(resolver.ask("www.far.tld")) == ["45.104.0.3"]
    assert far.asked


# Opt-out


@pytest.mark.parametrize("wildcard", ["", "* A 45.104.0.9\n", "* TXT x\n"], ids=["none", "with A", "without A"])
@pytest.mark.parametrize("kind", ["A", "AAAA", "TXT", "DS", "MX"])
def test_no_data_below_an_opt_out_span(script, name, kind, wildcard):
    """The empty name above an unsigned zone has no NSEC3 record (RFC 5155 §7.1)."""
    world = script(f"www A 45.104.0.1\nzone.ent NS ns.zone.ent\nns.zone.ent A {OTHER}\n{wildcard}", signed=OPT_OUT)
    for address in (ONE, TWO):
        world.serve(address, world.honest)
    resolver = world.resolver(name)
    answer = resolver.ask("ent.example.tld", kind)
    if name == "martlet":
        assert answer.rcode() == dns.rcode.NOERROR and not answer.answer
        assert not answer.flags & dns.flags.AD
    # unbound knows that for DS only.
    assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.SERVFAIL)


# DNAME


def without_last_proof(asked, message):
    """As NSD answers: nothing is proved of what the alias leads to."""
    if any(item.rdtype == dns.rdatatype.CNAME for item in message.answer):
        kinds = (NSEC, NSEC3)
        message.authority = [item for item in message.authority if item.rdtype not in kinds and item.covers not in kinds]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("denial", [PLAIN, HASHED], ids=["nsec", "nsec3"])
def test_a_chain_without_the_proof_of_its_end(script, name, way, denial):
    world = script(CONTENT + "d DNAME wild\ngone DNAME missing\nalias CNAME x.wild\n", signed=denial)
    for address in (ONE, TWO):
        world.serve(address, world.changed(lambda asked, message: as_way(way, without_last_proof(asked, message) or message)))
    resolver = world.resolver(name, way)
    answers = [resolver.ask("a.d.example.tld"), resolver.ask("alias.example.tld"), resolver.ask("a.gone.example.tld")]
    if name == "martlet":
        assert all(is_secure(answer) for answer in answers)
        assert [addresses(answer) for answer in answers] == [["45.104.0.9"], ["45.104.0.9"], []]
        assert answers[2].rcode() == dns.rcode.NXDOMAIN
    assert not any(answer.rcode() == dns.rcode.NOERROR and not answer.answer for answer in answers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signed", [None, PLAIN], ids=["unsigned", "signed"])
def test_a_name_that_gets_too_long(script, name, way, signed):
    target = ".".join([character * 60 for character in "xyz"])
    world = script(CONTENT + f"long DNAME {target}\n", signed=signed)
    for address in (ONE, TWO):
        world.serve(address, world.changed(lambda asked, message: as_way(way, message)))
    resolver = world.resolver(name, way)
    answer = resolver.ask(f"{'a' * 60}.long.example.tld")
    assert answer.rcode() == dns.rcode.YXDOMAIN
    if name == "martlet":
        assert any(item.rdtype == dns.rdatatype.DNAME for item in answer.answer)
        assert bool(answer.flags & dns.flags.AD) == (signed is not None)


# Private addresses in hints


@pytest.mark.parametrize("hint", ["ipv4hint=10.0.0.1", "ipv6hint=fd00::1", "ipv4hint=45.1.1.1,192.168.1.1"])
@pytest.mark.parametrize("kind", ["HTTPS", "SVCB"])
def test_private_addresses_in_hints(script, hint, kind):
    world = script(CONTENT + f"svc {kind} 1 . alpn=h2 {hint}\nfine {kind} 1 . ipv4hint=45.1.1.1\n")
    for address in (ONE, TWO):
        world.serve(address, world.honest)
    resolver = world.resolver("martlet")
    assert resolver.rcode("svc.example.tld", kind) == "REFUSED"
    assert resolver.ask("fine.example.tld", kind).answer


# One entry for all


@pytest.mark.parametrize("way", WAYS)
def test_clients_with_and_without_do(script, name, way):
    world = script()
    servers = [world.serve(address, world.changed(lambda asked, message: as_way(way, message))) for address in (ONE, TWO)]
    resolver = world.resolver(name, way)
    for do in (False, True, False):
        assert addresses(resolver.ask("www.example.tld", do=do)) == ["45.104.0.1"]
    assert sum(server.names().count(("www.example.tld.", "A")) for server in servers) == 1


# NSEC


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("following", ["zz.tld.", "tld.", "example.com."])
def test_a_gap_that_leads_out_of_its_zone(script, name, way, following):
    world = script(signed=PLAIN)
    for owner, sets in world.zone.sets.items():
        if NSEC in sets:
            item = sets[NSEC][0].replace(next=dns.name.from_text(following), windows=bitmap(world.zone.kinds(owner) | {NSEC, RRSIG}))
            sets[NSEC].clear()
            sets[NSEC].add(item)
            world.zone.sign_set(owner, NSEC)
    for address in (ONE, TWO):
        world.serve(address, world.changed(lambda asked, message: as_way(way, message)))
    resolver = world.resolver(name, way)
    answer = resolver.ask("zebra.example.tld")
    if name == "martlet":
        assert answer.rcode() == dns.rcode.SERVFAIL
    assert is_secure(resolver.ask("www.example.tld"))


# Mail


@pytest.mark.timeout(120)
def test_mail_for_a_domain_whose_servers_err(internet, script, make_instance):
    """Its servers answer AAAA and TLSA questions with errors: mail gets there all the same."""
    world = script()
    for address in (ONE, TWO):
        world.serve(address, world.changed(lambda asked, message: fault("REFUSED", asked) if asked.kind in ("AAAA", "TLSA") else None))
    resolverd = {"mode": "recursive", "root-hints": "etc/root.hints", "dnssec": "no", "threads": 1}
    changes = {
        "resolverd": resolverd,
        "smtpd": {"relay-from": ["127.0.0.0/8"]},
        "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
    }
    instance = make_instance(changes, start=False)
    (instance.directory / "etc/root.hints").write_text(f". 3600 NS a.root.\na.root. 3600 A {ROOT}\n")
    with internet.namespace.inside():
        instance.start()
        with Sink(("45.104.0.25", 25)) as sink, smtplib.SMTP("127.0.0.1", instance.ports["smtp"], "client.example.test", timeout=30) as client:
            for _ in range(3):
                mark = token()
                text = f"From: {ALICE}\r\nSubject: {mark}\r\n\r\nhello\r\n"
                client.sendmail(ALICE, ["someone@example.tld"], text)
                sink.wait_for(mark, 40)
