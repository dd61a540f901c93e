"""Domains: a zone, who serves it and how it is signed; and what ordinary zones hold."""

from dataclasses import dataclass, field

import dns.name

from .keys import Key, key_pair
from .signing import DS, NS, Denial, Zone

ROOT = ["45.0.0.1", "45.0.0.2", "2a0e::1"]
TOP = ["45.1.0.1", "45.1.0.2", "2a0e:1::1"]
NSD_HOSTS = ["45.2.0.1", "45.2.0.2", "2a0e:2::1"]
BIND_HOSTS = ["45.3.0.1", "45.3.0.2", "2a0e:3::1"]
KNOT_HOSTS = ["45.4.0.1", "45.4.0.2", "2a0e:4::1"]
TROUBLE_HOSTS = ["45.5.0.1", "45.5.0.2"]
# One process each, by the name that `Domain.group` has; the last two are asked through relays only.
GROUPS = {"root": ROOT, "top": TOP, "nsd": NSD_HOSTS, "bind": BIND_HOSTS, "knot": KNOT_HOSTS}
BEHIND = {"trouble": ("127.0.0.1", 5301), "watched": ("127.0.0.1", 5302)}

NSEC3 = Denial(nsec3=True)
OPT_OUT = Denial(nsec3=True, opt_out=True)


@dataclass
class Domain:
    """A zone with its name servers. `group` says which process serves it; None where a test brings a server."""

    zone: Zone
    group: str | None
    # The servers' names with those of their addresses that the parent has as glue.
    servers: dict[str, list[str]]
    keys: list[Key] = field(default_factory=list)
    denial: Denial = Denial()
    # DS records in the parent (text or rdata); None for those of the keys.
    ds: list | None = None
    # Signs the zone in the place of Zone.sign.
    sign: object = None
    # The master file, where something else wrote it.
    text: str | None = None

    @property
    def origin(self) -> str:
        return self.zone.origin.to_text()

    def ds_records(self) -> list:
        if self.ds is not None:
            return self.ds
        special = [key for key in self.keys if key.is_entry_point] or self.keys
        return [key.ds(self.zone.origin) for key in special]

    def add_own_servers(self) -> None:
        """Puts the NS records, and the addresses of servers in the zone, into the zone."""
        for server, addresses in self.servers.items():
            name = dns.name.from_text(server)
            self.zone.add("@", NS, f"{server}.")
            if name.is_subdomain(self.zone.origin):
                self.add_addresses(self.zone, name, addresses)

    def delegate(self, parent: Zone) -> None:
        """Puts the delegation into the parent."""
        for server, addresses in self.servers.items():
            name = dns.name.from_text(server)
            parent.add(self.zone.origin, NS, f"{server}.")
            if name.is_subdomain(parent.origin) and name.is_subdomain(self.zone.origin):
                self.add_addresses(parent, name, addresses)
        for record in self.ds_records():
            parent.add(self.zone.origin, DS, record)

    @staticmethod
    def add_addresses(zone: Zone, name, addresses: list[str]) -> None:
        for address in addresses:
            zone.add(name, "AAAA" if ":" in address else "A", address)

    def finish(self) -> None:
        """Signs the zone, once its delegations are in it."""
        if self.sign:
            self.sign(self)
        elif self.keys:
            self.zone.sign(self.keys, self.denial)
        if self.text is None:
            self.text = self.zone.text()


def soa(serial: int = 1, minimum: int = 300) -> str:
    return f"@ SOA ns1 hostmaster {serial} 7200 900 1209600 {minimum}\n"


def make(origin, group, text="", algorithm=None, denial=Denial(), servers=None, single=False, **other) -> Domain:
    """A domain with two name servers of its own, signed where an algorithm is given."""
    if servers is None:
        addresses = GROUPS.get(group, TROUBLE_HOSTS)
        servers = {f"ns1.{origin}": addresses[0:1], f"ns2.{origin}": addresses[1:]}
    if algorithm is None:
        keys = []
    else:
        keys = [Key(algorithm)] if single else key_pair(algorithm)
    domain = Domain(Zone(origin, soa() + text), group, servers, keys, denial, **other)
    domain.add_own_servers()
    return domain


def ordinary(number: int) -> str:
    """What an ordinary domain has; everything that `ordinary_questions` asks about."""
    big = "\n".join(f'big TXT "{index:03} {"x" * 90}"' for index in range(16))
    huge = "\n".join(f'huge TXT "{index:03} {"y" * 190}"' for index in range(40))
    return f"""
@ A 45.100.{number}.1
@ AAAA 2a0e:100:{number}::1
@ MX 10 mail
@ MX 20 mail.plain.net.
@ TXT "v=spf1 mx -all"
@ TXT "second" "in two parts"
@ CAA 0 issue "ca.example.net"
www CNAME @
mail A 45.100.{number}.25
mail AAAA 2a0e:100:{number}::25
_25._tcp.mail TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
_imaps._tcp SRV 0 1 993 mail
c1 CNAME c2
c2 CNAME c3.deeper
c3.deeper CNAME www
dangling CNAME nowhere
ring1 CNAME ring2
ring2 CNAME ring1
outside CNAME www.plain.com.
inside CNAME www.a13-nsec.info.
lost CNAME nowhere.plain.com.
broken CNAME www.expired.bogus.
*.wild A 45.100.{number}.42
*.wild TXT "wild"
host.wild A 45.100.{number}.43
*.wildalias CNAME mail
*.wildname CNAME *.wild
a.b.ent A 45.100.{number}.44
d DNAME wild
dout DNAME plain.net.
svc HTTPS 1 . alpn="h2,h3" ipv4hint=45.100.{number}.1
naptr NAPTR 100 10 "S" "SIP+D2U" "" _sip._udp
host-info HINFO "PDP-11" "UNIX"
place LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
uri URI 10 1 "https://www.example.net/"
key SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
strange TYPE65400 \\# 5 0102030405
empty TXT ""
MiXeD A 45.100.{number}.45
esc\\.aped A 45.100.{number}.46
sp\\032ace TXT "a space"
under_score A 45.100.{number}.47
single MX 0 .
{big}
{huge}
"""


def ordinary_questions(origin: str) -> list[tuple[str, str]]:
    """Names and types to ask a domain about that has what `ordinary` says."""
    asked = """
        @ A; @ AAAA; @ MX; @ TXT; @ CAA; @ SOA; @ NS; @ DNSKEY; @ DS; @ SRV; @ NSEC3PARAM; www A; www AAAA; www MX;
        www CNAME; mail A; mail AAAA; mail TXT; mail DS; _25._tcp.mail TLSA; _tcp.mail A; _imaps._tcp SRV; c1 A; c1 MX;
        c1 CNAME; c1 SRV; dangling A; dangling CNAME; ring1 A; outside A; outside TXT; inside A; inside AAAA; lost A;
        broken A; wild A; x.wild A; x.wild TXT; x.wild MX; y.x.wild A; y.x.wild CAA; *.wild A; *.wild MX; host.wild A;
        host.wild TXT; z.host.wild A; x.wildalias A; x.wildalias SRV; y.wildalias CNAME; x.wildname A; ent A; b.ent A;
        a.b.ent A; a.b.ent AAAA; no.b.ent A; b.ent NS; d A; d DNAME; d TXT; x.d A; x.d MX; host.d A; z.host.d A;
        a.b.c.d A; mail.dout A; no.dout A; svc HTTPS; svc SVCB; naptr NAPTR; host-info HINFO; place LOC; uri URI;
        key SSHFP; strange TYPE65400; strange TYPE65401; empty TXT; MiXeD A; mixed A; esc\\.aped A; esc.aped A;
        sp\\032ace TXT; under_score A; single MX; big TXT; huge TXT; ns1 A; ns1 AAAA; no A; no MX; a.no A; zzz TXT;
        0 A; _dmarc TXT; *.no A; xn--no A
    """
    questions = []
    for item in asked.split(";"):
        name, kind = item.split()
        questions.append((origin if name == "@" else f"{name}.{origin}", kind))
    return questions
