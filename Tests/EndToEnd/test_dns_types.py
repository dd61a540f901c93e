"""Record types beside dnspython: what is written in a zone file goes out as the octets that dnspython makes of it, what it
writes is read as the same, and what martlet dns lookup prints is read by it as the same again."""

import json

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from instance import PROGRAMS

pytestmark = pytest.mark.root

ZONE = "types.test"
DIGEST = "2BB183AF5F22588179A53B0A98631FAD1A292118"
SHA256 = DIGEST + "0123456789ABCDEF01234567"
# Types and data, many from the RFCs that define them.
RECORDS = f"""
A           192.0.2.255
AAAA        2001:db8::ff00:42:8329
AAAA        ::ffff:192.0.2.1
NS          ns.example.net.
CNAME       a\\.b.ex\\032ample.\\255.net.
DNAME       frobozz.example.
SOA         ns1.example. hostmaster\\.dns.example. 2024112500 7200 3600 1209600 300
PTR         host.example.
MX          10 VENERA.ISI.EDU.
MX          0 .
TXT         "v=spf1 -all" "" "\\"quoted\\" \\\\ \\000\\127\\255;"
TXT         unquoted words
SRV         0 65535 993 imap.example.
NAPTR       100 10 "" "" "!^urn:cid:.+@([^\\\\.]+\\\\.)(.*)$!\\\\2!i" .
NAPTR       100 50 "s" "z3950+I2L+I2C" "" _z3950._tcp.gatech.edu.
CAA         0 issue "ca1.example.net; account=230123"
CAA         128 tbs "Unknown"
CAA         0 issue ";"
TLSA        3 1 1 {SHA256}
TLSA        0 0 0 3082
SMIMEA      3 0 1 {SHA256}
SSHFP       2 1 123456789ABCDEF67890123456789ABCDEF67890
OPENPGPKEY  mDMEZ0RvxRYJKwYBBAHaRw8BAQdA
DS          60485 5 1 {DIGEST}
DS          20326 8 2 {SHA256}
DNSKEY      256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8nokfzj31GajIQKY+5CptLr3buXA10h
CDS         0 0 0 00
CDNSKEY     0 3 0 AA==
RRSIG       A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTrPYGv07h1
NSEC        host.example.com. A MX RRSIG NSEC TYPE1234
NSEC        \\000.example.com. RRSIG NSEC TYPE65535
NSEC3       1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR MX DNSKEY NS SOA NSEC3PARAM RRSIG
NSEC3       1 0 0 - 35MTHGPGCU1QG68FAB165KLNSNK3DPVL
NSEC3PARAM  1 0 12 AABBCCDD
NSEC3PARAM  1 0 0 -
SVCB        0 foo.example.com.
SVCB        16 foo.example.com. port=53
SVCB        1 foo.example.com. key667="hello\\210qoo"
SVCB        1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1"
SVCB        16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1
SVCB        16 foo.example.org. alpn="f\\\\\\\\oo\\\\,bar,h2"
HTTPS       1 . alpn="h3,h2" no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2 ech=AEX+DQBBFQ==
URI         10 1 "ftp://ftp1.example.com/public"
LOC         42 21 54 N 71 06 18 W -24m 30m
LOC         42 21 43.952 N 71 5 6.344 W -24m 1m 200m
LOC         52 14 05 N 00 08 50 E 10m
LOC         32 7 19 S 116 2 25 E 10m
LOC         42 21 28.764 N 71 00 51.617 W -44m 2000m
HINFO       "PDP-11" "UNIX"
RP          louie.trantor.umd.edu. lam1.people.umd.edu.
AFSDB       1 bigbird.toaster.com.
CSYNC       66 3 A NS AAAA
TYPE731     \\# 6 abcdef012345
TYPE65280   \\# 0
"""
TABLE = [(kind, text) for kind, _, text in (line.partition(" ") for line in RECORDS.splitlines() if line)]


def parsed(kind: str, text: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text.strip())


def generic(rdata: dns.rdata.Rdata) -> str:
    return rf"\# {len(rdata.to_wire())} {rdata.to_wire().hex()}"


@pytest.fixture(scope="module")
def server(internet):
    """Each record in its RFC's words, in dnspython's, and as octets."""
    zones = {ZONE: ["@ SOA ns hostmaster 1 7200 900 1209600 300", "@ NS ns", "ns A 192.0.2.1"]}
    for number, (kind, text) in enumerate(TABLE):
        for owner, data in (("said", text), ("theirs", parsed(kind, text).to_text()), ("octets", generic(parsed(kind, text)))):
            name = f"{owner}.n{number}"
            if kind in ("NS", "SOA"):
                # These are answers at the top of a zone only.
                start = [] if kind == "SOA" else ["@ SOA ns hostmaster 1 7200 900 1209600 300"]
                zones[f"{name}.{ZONE}"] = [*start, f"@ {kind} {data}"]
            else:
                zones[ZONE].append(f"{name} {kind} {data}")
    changes = {"zones": {zone: f"etc/zones/{zone}" for zone in zones}}
    resolver = internet.martlet(address="127.0.0.21", changes=changes, start=False)
    for zone, lines in zones.items():
        (resolver.directory / "etc" / "zones" / zone).write_text("\n".join(["$TTL 300", *lines]) + "\n")
    resolver.start()
    assert "zone " not in resolver.log() or "error" not in resolver.log(), resolver.log()
    yield resolver
    resolver.stop()


@pytest.fixture(scope="module")
def printed(server) -> dict[str, dict]:
    """What martlet dns lookup prints of all of them: documents by name."""
    lines = ["json"]
    for number, (kind, _) in enumerate(TABLE):
        lines += [f"{owner}.n{number}.{ZONE} {kind}" for owner in ("said", "theirs", "octets")]
    said = server.run(str(PROGRAMS / "martlet"), "dns", "lookup", f"@{server.address}", input="\n".join(lines) + "\n")
    decoder, found, position = json.JSONDecoder(), {}, 0
    while position < len(said):
        documents, position = decoder.raw_decode(said, position)
        position += 1
        for document in documents:
            found[document["name"]] = document
    return found


@pytest.mark.parametrize("number", range(len(TABLE)), ids=[f"{kind}-{text.strip()[:20]}" for kind, text in TABLE])
def test_the_same_as_dnspython(server, printed, number):
    kind, text = TABLE[number]
    wanted = parsed(kind, text)
    texts = set()
    for owner in ("said", "theirs", "octets"):
        name = f"{owner}.n{number}.{ZONE}"
        answer = server.ask(name, kind, tcp=True)
        assert [rrset.rdtype for rrset in answer.answer] == [wanted.rdtype], answer
        assert answer.answer[0][0].to_wire() == wanted.to_wire(), owner
        records = printed[name + "."]["answer"]
        assert len(records) == 1 and records[0]["type"] == kind
        texts.add(records[0]["data"])
    assert len(texts) == 1
    data = texts.pop()
    assert parsed(kind, data).to_wire() == wanted.to_wire(), data
    # Opaque only where there is nothing better.
    assert data.startswith("\\#") == kind.startswith("TYPE")


def test_every_type_with_a_form_of_its_own_is_there():
    listed = """A AAAA NS CNAME DNAME SOA PTR MX TXT SRV NAPTR CAA TLSA SSHFP SMIMEA OPENPGPKEY DS DNSKEY CDS CDNSKEY RRSIG
        NSEC NSEC3 NSEC3PARAM SVCB HTTPS URI LOC HINFO RP"""
    assert set(listed.split()) <= {kind for kind, _ in TABLE}


@pytest.mark.parametrize("option", ["+nsid", "+cookie=0123456789abcdef", "+dnssec"])
def test_opt_as_dig_says_it(server, option):
    """The OPT record of an answer in words: what dig finds in it, martlet dns lookup says too."""
    said = server.run("dig", f"@{server.address}", option, f"ns.{ZONE}", "A")
    assert "; EDNS: version: 0" in said and "udp: 1232" in said
    ours = server.run(str(PROGRAMS / "martlet"), "dns", "lookup", f"@{server.address}", "--full", "--dnssec", f"ns.{ZONE}", "A")
    assert "; EDNS version 0, flags do, udp 1232" in ours
