"""Names that no resolver asks the world about (RFC 6761 and its successors, RFC 6303), with unbound beside."""

import dns.flags
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

pytestmark = pytest.mark.root

NOTHING, NO_NAME = [], None
V4, V6 = ["127.0.0.1"], ["::1"]

# What is asked and answered: data, no data, or no such name.
NAMES = {
    # RFC 6761 §6.3
    "localhost A": V4,
    "localhost AAAA": V6,
    "localhost MX": NOTHING,
    "LocalHost A": V4,
    "a.localhost A": V4,
    "a.b.localhost AAAA": V6,
    # RFC 6761 §6.2, §6.4
    "test A": NOTHING,
    "www.example.test A": NO_NAME,
    "invalid SOA": ["localhost. nobody.invalid. 1 3600 1200 604800 10800"],
    "a.b.invalid MX": NO_NAME,
    # RFC 7686 §2
    "onion A": NOTHING,
    "facebookcorewwwi.onion A": NO_NAME,
    # RFC 9476 §3
    "alt A": NOTHING,
    "name.other.alt TXT": NO_NAME,
    # RFC 6762 §22.1
    "printer.local A": NO_NAME,
    # RFC 8375 §4, RFC 9665 §10.2
    "home.arpa SOA": ["localhost. nobody.invalid. 1 3600 1200 604800 10800"],
    "printer.home.arpa A": NO_NAME,
    "default.service.arpa A": NO_NAME,
    # RFC 9462 §6.4
    "_dns.resolver.arpa SVCB": NOTHING,
    "_dns.resolver.arpa A": NOTHING,
    "a.b.resolver.arpa TXT": NOTHING,
    # RFC 7535 §3.3
    "1.empty.as112.arpa PTR": NO_NAME,
}

# RFC 6303 §4, RFC 7793 §2: addresses whose names nobody knows; the first and the last of each network.
ADDRESSES = """
    0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.0 127.255.255.255 169.254.0.0
    169.254.255.255 172.16.0.0 172.31.255.255 192.0.2.0 192.0.2.255 192.168.0.0 192.168.255.255 198.51.100.0
    198.51.100.255 203.0.113.0 203.0.113.255 fd00:: fdff:ffff::1 fe80::1 febf:ffff::1 2001:db8:: 2001:db8:ffff::1
""".split()
# Their neighbours, which are the world's.
NEIGHBOURS = """
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
    172.15.255.255 172.32.0.0 192.0.3.0 192.167.255.255 192.169.0.0 198.51.101.0 203.0.114.0 255.255.255.254 ::2 fc00::1
    fec0::1 2001:db9::
""".split()

# Names that unbound 1.17 asks the world about, or of which it says that they aren't there.
UNKNOWN_TO_UNBOUND = ("alt ", ".alt ", ".local ", "service.arpa ", "resolver.arpa ", "as112.arpa ")


def said(answer):
    if answer.rcode() == dns.rcode.NXDOMAIN:
        return NO_NAME
    assert answer.rcode() == dns.rcode.NOERROR
    return [record.to_text() for rrset in answer.answer for record in rrset]


def is_ours(answer) -> bool:
    """Said with authority; a denial with an SOA record."""
    denied = not answer.answer
    return bool(answer.flags & dns.flags.AA) and denied == any(
        rrset.rdtype == dns.rdatatype.SOA for rrset in answer.authority
    )


@pytest.mark.parametrize("question", NAMES)
def test_names(resolver, question):
    if resolver.name == "unbound" and any(part in f".{question}" or question.startswith(part) for part in UNKNOWN_TO_UNBOUND):
        pytest.skip("unbound of Debian 12 doesn't know it")
    answer = resolver.ask(*question.split())
    assert said(answer) == NAMES[question] or (resolver.name == "unbound" and question.endswith("SOA"))
    assert not answer.flags & dns.flags.AD
    if resolver.name == "martlet":
        assert is_ours(answer)


def test_addresses(resolver):
    for address in ADDRESSES:
        answer = resolver.ask(dns.reversename.from_address(address).to_text(), "PTR")
        if address == "0.0.0.0" or address == "255.255.255.255":
            continue
        assert said(answer) is NO_NAME and (answer.flags & dns.flags.AA), address
    for address in ("127.0.0.1", "::1"):
        answer = resolver.ask(dns.reversename.from_address(address).to_text(), "PTR")
        assert said(answer) == ["localhost."] and (answer.flags & dns.flags.AA), address
    for address in ("255.255.255.255", "::"):
        answer = resolver.ask(dns.reversename.from_address(address).to_text(), "PTR")
        assert said(answer) == NOTHING and (answer.flags & dns.flags.AA), address
    for address in NEIGHBOURS:
        answer = resolver.ask(dns.reversename.from_address(address).to_text(), "PTR")
        assert not answer.flags & dns.flags.AA, address


def test_the_administrator_has_the_last_word(internet):
    """A zone, and servers, for what is built in otherwise."""
    changes = {
        "zones": {"home.arpa": "etc/zones/home.arpa", "5.10.in-addr.arpa": "etc/zones/reverse"},
        "forward-zones": {"corp.local": [internet.servers[1].addresses[0]]},
    }
    resolver = internet.martlet(start=False, address="127.0.3.1", changes=changes)
    zones = resolver.directory / "etc" / "zones"
    (zones / "home.arpa").write_text("@ 300 SOA ns root 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\nprinter A 10.5.0.7\n")
    (zones / "reverse").write_text("@ 300 SOA ns root 1 2 3 4 60\n@ NS ns.home.arpa.\n7.0 PTR printer.home.arpa.\n")
    resolver.start()
    try:
        assert said(resolver.ask("printer.home.arpa")) == ["10.5.0.7"]
        assert said(resolver.ask("scanner.home.arpa")) is NO_NAME
        assert said(resolver.ask("7.0.5.10.in-addr.arpa", "PTR")) == ["printer.home.arpa."]
        # The rest of what is built in stays.
        assert said(resolver.ask("7.0.6.10.in-addr.arpa", "PTR")) is NO_NAME
        assert said(resolver.ask("printer.local")) is NO_NAME
        # BIND there doesn't serve such a zone.
        assert resolver.rcode("www.corp.local") == "SERVFAIL"
    finally:
        resolver.stop()
