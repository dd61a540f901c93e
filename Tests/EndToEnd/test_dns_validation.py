"""Validation: what is proved, what can't be, what is false; and what other validators find in our answers."""

import dns.edns
import dns.flags
import dns.rcode
import dns.rdatatype
import pytest
from internet.trouble import BOGUS, INSECURE, LYING_PARENTS, SECURE, TROUBLES

pytestmark = pytest.mark.root


def verdict(answer) -> str:
    if answer.rcode() == dns.rcode.SERVFAIL:
        return BOGUS
    return SECURE if answer.flags & dns.flags.AD else INSECURE


def errors(answer) -> list[int]:
    """The codes of extended errors."""
    return [int(option.code) for option in answer.options if isinstance(option, dns.edns.EDEOption)]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_trouble(resolver, trouble):
    answer = resolver.ask(*trouble.asked)
    expected = trouble.unbound if trouble.unbound and resolver.name == "unbound" else trouble.expected
    assert verdict(answer) == expected
    if expected == BOGUS:
        assert not answer.answer and not answer.flags & dns.flags.AD
        # Only validation explains it, and who validates by himself gets what there is.
        assert any(code in range(5, 13) for code in errors(answer)), errors(answer)
        if trouble.error and resolver.name == "martlet":
            assert trouble.error in errors(answer)
        unchecked = resolver.ask(*trouble.asked, cd=True)
        assert unchecked.rcode() != dns.rcode.SERVFAIL or trouble.change
        assert not unchecked.flags & dns.flags.AD


@pytest.mark.parametrize("parent", LYING_PARENTS)
def test_a_parent_that_lies_about_a_signed_child(resolver, parent):
    assert verdict(resolver.ask(f"www.child.{parent}.bogus")) == BOGUS


PROVED = {
    "www.a5-nsec.net A": SECURE,
    "www.a7-nsec3.net A": SECURE,
    "www.a8-nsec.com A": SECURE,
    "www.a10-nsec.org A": SECURE,
    "www.a13-nsec.info A": SECURE,
    "www.a13-single.org A": SECURE,
    "www.a14-nsec.co.uk A": SECURE,
    "www.a15-nsec.xn--p1ai A": SECURE,
    "www.a16-nsec.com A": SECURE,
    "www.double.org A": SECURE,
    "www.sha384.com A": SECURE,
    "www.sha1.com A": SECURE,
    "www.standby.com A": SECURE,
    "www.by-ldns.com A": SECURE,
    "no.by-ldns-nsec3.org A": SECURE,
    "no.by-bind.info A": SECURE,
    "no.by-bind-nsec3.de A": SECURE,
    "no.online.com A": SECURE,
    "x.wild.online.com TXT": SECURE,
    "www.six-signed.com A": SECURE,
    "1.0.100.45.in-addr.arpa PTR": SECURE,
    # Below delegations, signed and not
    "www.signed.a8-nsec.com A": SECURE,
    "www.unsigned.a8-nsec.com A": INSECURE,
    "www.below.signed.a8-nsec.com A": SECURE,
    "www.signed.a13-nsec3.com A": SECURE,
    "www.unsigned.a13-nsec3.com A": INSECURE,
    "www.signed.a13-optout.de A": SECURE,
    "www.unsigned.a13-optout.de A": INSECURE,
    "www.island.a13-optout.de A": INSECURE,
    "www.signed.plain.com A": INSECURE,
    "www.deep.in.the.a14-nsec3.uk A": SECURE,
    "www.deep.unsigned.in.the.a14-nsec3.uk A": INSECURE,
    "www.island.zz A": INSECURE,
    "www.island.com A": INSECURE,
    "www.plain.com A": INSECURE,
    # Denials
    "no.a8-nsec.com A": SECURE,
    "no.a13-nsec3.com A": SECURE,
    "www.a16-optout.net AAAA": SECURE,
    "unsigned.a8-nsec.com DS": SECURE,
    "plain.uk A": SECURE,
    "gov.uk A": SECURE,
    "sub.gov.uk TXT": SECURE,
    "no-such-top A": SECURE,
    # A name under opt-out may be an unsigned delegation, for all that is proved (RFC 5155 §9.2).
    "no.a13-optout.de A": INSECURE,
    "no-such-domain.com A": INSECURE,
    # Counting hashes that often is asked too much (RFC 9276): the zone's denials prove nothing, its data stand.
    "www.iterations-500.com A": SECURE,
    "no.iterations-500.com A": INSECURE,
    "no.iterations-50.com A": SECURE,
    # Wildcards and aliases
    "x.wild.a8-nsec.com A": SECURE,
    "y.x.wild.a13-nsec3.com A": SECURE,
    "x.wildalias.a14-nsec3.uk A": SECURE,
    "x.d.a14-nsec.co.uk A": SECURE,
    "x.wild.a13-optout.de MX": INSECURE,
    "inside.a8-nsec.com A": SECURE,
    "outside.a8-nsec.com A": INSECURE,
    "broken.a8-nsec.com A": BOGUS,
}


@pytest.mark.parametrize("question", PROVED)
def test_what_is_proved(resolver, question):
    answer = resolver.ask(*question.split())
    assert verdict(answer) == PROVED[question]
    if "no." in question and "online" not in question:
        assert answer.rcode() == dns.rcode.NXDOMAIN


def test_flags(resolver):
    """AD for those who ask with AD or DO (RFC 6840 §5.7), signatures for those who ask with DO."""
    name = "www.a13-nsec.info"
    plain = resolver.ask(name, do=False, ad=False)
    assert plain.answer and not plain.flags & dns.flags.AD
    with_ad = resolver.ask(name, do=False, ad=True)
    assert with_ad.flags & dns.flags.AD
    with_do = resolver.ask(name, do=True, ad=False)
    assert with_do.flags & dns.flags.AD and with_do.ednsflags & dns.flags.DO
    for answer, signatures in ((plain, 0), (with_ad, 0), (with_do, 2)):
        assert sum(item.rdtype == dns.rdatatype.RRSIG for item in answer.answer) == signatures
    negative = resolver.ask("no.a8-nsec.com", do=False)
    assert {item.rdtype for item in negative.authority} == {dns.rdatatype.SOA}
    unchecked = resolver.ask("www.flipped.bogus", cd=True)
    assert unchecked.flags & dns.flags.CD and unchecked.answer and not unchecked.flags & dns.flags.AD
    assert resolver.rcode("www.flipped.bogus") == "SERVFAIL"


# What other validators find in our answers

CHASED = ["www.a8-nsec.com A", "www.a13-nsec3.com A", "mail.a15-nsec.xn--p1ai AAAA", "www.below.signed.a8-nsec.com A"]
DENIED = ["no.a8-nsec.com A", "no.a14-nsec3.uk A", "www.a13-nsec3.com SRV"]


@pytest.mark.parametrize("question", CHASED + DENIED + ["x.wild.a8-nsec.com A", "y.x.wild.a13-nsec3.com TXT"])
def test_delv(internet, resolver, question):
    anchor = internet.world.root_keys[0].dnskey
    path = internet.directory / "delv.anchors"
    flags, protocol, algorithm, *key = anchor.to_text().split()
    path.write_text(f'trust-anchors {{ . static-key {flags} {protocol} {algorithm} "{"".join(key)}"; }};\n')
    said = resolver.run("delv", f"@{resolver.address}", "-a", str(path), "+root=.", *question.split())
    assert "fully validated" in said, said


@pytest.mark.parametrize("question", CHASED)
def test_drill_chases(internet, resolver, question):
    path = internet.directory / "drill.anchor"
    path.write_text(f". 172800 IN DNSKEY {internet.world.root_keys[0].dnskey}\n")
    said = resolver.run("drill", "-S", "-k", str(path), f"@{resolver.address}", *question.split())
    assert "Chase successful" in said or "(success)" in said, said


def test_kdig(resolver):
    said = resolver.run("kdig", f"@{resolver.address}", "+dnssec", "www.a16-nsec.com", "A")
    assert "status: NOERROR" in said and " ad" in said.split("Flags:")[1].split(";")[0]
    said = resolver.run("kdig", f"@{resolver.address}", "+dnssec", "www.expired.bogus", "A")
    assert "status: SERVFAIL" in said


def test_unbound_forwards_to_us(internet, resolver):
    """A validating forwarder before us finds all that it needs in our answers."""
    number = 10 + len(internet.resolvers)
    front = internet.unbound(forward=resolver.address, address=f"127.0.0.{number}")
    try:
        for name, secure in (
            ("www.a8-nsec.com", True),
            ("no.a13-nsec3.com", True),
            ("x.wild.a15-nsec3.info", True),
            ("a.d.a14-nsec.co.uk", True),
            ("www.unsigned.a8-nsec.com", False),
            ("www.unsigned.a13-optout.de", False),
            ("www.plain.zz", False),
        ):
            answer = front.ask(name)
            assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN), name
            assert bool(answer.flags & dns.flags.AD) == secure, name
        assert front.rcode("www.expired.bogus") == "SERVFAIL"
    finally:
        front.stop()


@pytest.mark.parametrize("origin", ["watched-nsec.com", "watched-nsec3.com"])
def test_nothing_is_below_what_is_not_there(internet, resolver, origin):
    """RFC 8020."""
    assert resolver.rcode(f"cut.{origin}") == "NXDOMAIN"
    internet.watched.forget()
    for name in ("a", "b", "c.d"):
        assert resolver.rcode(f"{name}.cut.{origin}") == "NXDOMAIN"
    assert not [name for name, _ in internet.watched.names() if "cut" in name]
