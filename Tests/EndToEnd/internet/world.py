"""What there is in the pretended internet: the root, top-level zones, domains and where they are served."""

from pathlib import Path

import dns.name

from . import attackers, trouble, watched
from .domains import BIND_HOSTS, KNOT_HOSTS, NSD_HOSTS, NSEC3, OPT_OUT, ROOT, TOP, Domain, make, ordinary
from .keys import ECDSAP256, ECDSAP384, ED448, ED25519, NSEC3RSASHA1, RSASHA1, RSASHA256, RSASHA512, Key, key_pair
from .processes import Knot, sign_with_bind, sign_with_ldns
from .signing import Denial

# Name, algorithm and denial of each top-level zone.
TOP_LEVEL = (
    ("com", ECDSAP256, OPT_OUT),
    ("net", RSASHA256, Denial(nsec3=True, opt_out=True, salt="c0ffee")),
    ("org", ECDSAP384, Denial(nsec3=True, salt="ab", iterations=1)),
    ("info", ED25519, Denial()),
    ("de", ED448, NSEC3),
    ("uk", ECDSAP256, NSEC3),
    ("co.uk", ECDSAP256, NSEC3),
    ("xn--p1ai", RSASHA256, Denial()),
    ("arpa", ECDSAP256, Denial()),
    ("bogus", ECDSAP256, Denial()),
    ("evil", ECDSAP256, OPT_OUT),
    ("zz", None, None),
)

# Name, who serves it, algorithm (None: unsigned) and denial of each ordinary domain.
ORDINARY = (
    ("plain.com", "nsd", None, None),
    ("plain.net", "bind", None, None),
    ("plain.de", "knot", None, None),
    ("plain.zz", "nsd", None, None),
    ("a5-nsec.net", "nsd", RSASHA1, Denial()),
    ("a7-nsec3.net", "bind", NSEC3RSASHA1, NSEC3),
    ("a8-nsec.com", "nsd", RSASHA256, Denial()),
    ("a8-nsec3.net", "bind", RSASHA256, NSEC3),
    ("a10-nsec.org", "nsd", RSASHA512, Denial()),
    ("a13-nsec.info", "knot", ECDSAP256, Denial()),
    ("a13-nsec3.com", "nsd", ECDSAP256, Denial(nsec3=True, iterations=1, salt="ab")),
    ("a13-optout.de", "bind", ECDSAP256, OPT_OUT),
    ("a13-single.org", "knot", ECDSAP256, Denial()),
    ("a14-nsec.co.uk", "bind", ECDSAP384, Denial()),
    ("a14-nsec3.uk", "nsd", ECDSAP384, NSEC3),
    ("a15-nsec.xn--p1ai", "nsd", ED25519, Denial()),
    ("a15-nsec3.info", "bind", ED25519, Denial(nsec3=True, salt="0123456789abcdef")),
    ("a16-nsec.com", "knot", ED448, Denial()),
    ("a16-optout.net", "nsd", ED448, OPT_OUT),
    ("double.org", "nsd", (RSASHA256, ECDSAP256), NSEC3),
    ("iterations-50.com", "nsd", ECDSAP256, Denial(nsec3=True, iterations=50, salt="ab")),
    ("iterations-500.com", "nsd", ECDSAP256, Denial(nsec3=True, iterations=500, salt="ab")),
    ("island.zz", "nsd", ECDSAP256, Denial()),
    ("island.com", "bind", ECDSAP256, NSEC3),
    ("by-ldns.com", "nsd", "ldns", ("RSASHA256",)),
    ("by-ldns-nsec3.org", "knot", "ldns", ("ECDSAP256SHA256", "-n", "-t", "0")),
    ("by-bind.info", "bind", "bind", ("ECDSAP384SHA384",)),
    ("by-bind-nsec3.de", "nsd", "bind", ("ED25519", "-3", "-", "-H", "0")),
    ("online.com", "knot", "online", None),
)


class World:
    """All zones, finished."""

    def __init__(self, directory: Path, knot: Knot):
        self.directory, self.knot = directory, knot
        self.domains: dict[str, Domain] = {}
        self.root_keys = key_pair(RSASHA256)
        self.make_top()
        for number, line in enumerate(ORDINARY):
            self.add(self.make_ordinary(number, *line))
        for domain in [*self.make_hosts(), *self.make_children(), *self.make_reverse()]:
            self.add(domain)
        for domain in [*trouble.domains(), *watched.domains(), *attackers.domains()]:
            self.add(domain)
        self.finish()

    def add(self, domain: Domain) -> None:
        self.domains[domain.origin] = domain

    # Zones

    def make_top(self) -> None:
        servers = {"a.root-servers.net": ROOT[:1], "b.root-servers.net": ROOT[1:]}
        root = make(".", "root", "", None, servers=servers)
        root.keys, root.ds = self.root_keys, []
        self.add(root)
        self.add(make("root-servers.net", "root", "", None, servers=servers))
        for name, algorithm, denial in TOP_LEVEL:
            servers = {f"a.nic.{name}": TOP[:1], f"b.nic.{name}": TOP[1:]}
            text = "sub.gov TXT \"below an empty name\"\nwww.nic A 45.1.0.80\n"
            self.add(make(name, "top", text, algorithm, denial or Denial(), servers=servers))

    def make_ordinary(self, number, origin, group, algorithm, denial) -> Domain:
        text = ordinary(number)
        # Some have their servers' names elsewhere, so that no glue comes with the referral.
        hosts = {"nsd": "nsd-hosting.net", "bind": "bind-hosting.org", "knot": "knot-hosting.zz"}[group]
        servers = {f"ns1.{hosts}": [], f"ns2.{hosts}": []} if number % 3 == 2 else None
        if isinstance(algorithm, tuple):
            domain = make(origin, group, text, None, denial, servers)
            domain.keys = [key for one in algorithm for key in key_pair(one)]
            return domain
        if algorithm == "online":
            return make(origin, group, text, None, servers=servers)
        if isinstance(algorithm, str):
            domain = make(origin, group, text, None, servers=servers)
            tool = {"ldns": sign_with_ldns, "bind": sign_with_bind}[algorithm]
            where = self.directory / "signing" / origin
            domain.text, ds = tool(where, origin, domain.zone.text(), *denial)
            domain.ds = [ds]
            return domain
        domain = make(origin, group, text, algorithm, denial or Denial(), servers, single="single" in origin)
        if origin.startswith("island"):
            domain.ds = []
        return domain

    def make_hosts(self) -> list[Domain]:
        """The domains of the hosting companies."""
        made = []
        for name, group, addresses in (
            ("nsd-hosting.net", "nsd", NSD_HOSTS),
            ("bind-hosting.org", "bind", BIND_HOSTS),
            ("knot-hosting.zz", "knot", KNOT_HOSTS),
        ):
            algorithm = ECDSAP256 if name.endswith("org") else None
            made.append(make(name, group, f"www A {addresses[0]}\n", algorithm))
        return made

    def make_children(self) -> list[Domain]:
        """Zones below domains, on other servers than those."""
        text = "www A 45.101.0.1\n*.w TXT wild\n"
        made = [
            make("signed.a8-nsec.com", "bind", text, ECDSAP256),
            make("unsigned.a8-nsec.com", "bind", text),
            make("signed.a13-nsec3.com", "knot", text, ED25519, NSEC3),
            make("unsigned.a13-nsec3.com", "knot", text),
            make("signed.a13-optout.de", "nsd", text, RSASHA256),
            make("unsigned.a13-optout.de", "nsd", text),
            make("island.a13-optout.de", "knot", text, ECDSAP256, ds=[]),
            make("signed.plain.com", "bind", text, ECDSAP256, ds=[]),
            make("unsigned.a15-nsec3.info", "nsd", text),
            make("below.signed.a8-nsec.com", "nsd", text, ECDSAP384, NSEC3),
            make("deep.in.the.a14-nsec3.uk", "bind", text, ECDSAP256),
            make("deep.unsigned.in.the.a14-nsec3.uk", "knot", text),
        ]
        sha384 = make("sha384.com", "nsd", text, ECDSAP384)
        sha384.ds = [sha384.keys[0].ds(sha384.zone.origin, "SHA384")]
        sha1 = make("sha1.com", "nsd", text, ECDSAP256)
        sha1.ds = [sha1.keys[0].ds(sha1.zone.origin, "SHA1")]
        standby = make("standby.com", "nsd", text, ECDSAP256)
        standby.ds = [standby.keys[0].ds(standby.zone.origin), Key(ECDSAP256).ds(standby.zone.origin)]
        return [*made, sha384, sha1, standby]

    def make_reverse(self) -> list[Domain]:
        return [
            make("in-addr.arpa", "top", "", ECDSAP256, servers={"a.in-addr-servers.arpa": [], "b.nic.arpa": []}),
            make("ip6.arpa", "top", "", ECDSAP256, servers={"a.nic.arpa": [], "b.nic.arpa": []}),
            make("100.45.in-addr.arpa", "nsd", "1.0 PTR www.plain.com.\n1.6 PTR www.a8-nsec.com.\n", ECDSAP256),
            make("0.0.1.0.e.0.a.2.ip6.arpa", "bind", f"1.{'0.' * 22}0 PTR www.plain.com.\n", ECDSAP256),
        ]

    # Together

    def finish(self) -> None:
        """Delegates every zone from the one above it, and signs, from below."""
        self.domains["arpa."].zone.add("a.in-addr-servers", "A", TOP[0])
        for name, ds in self.knot.make_keys().items():
            self.domains[name].ds = [ds]
        for domain in sorted(self.domains.values(), key=lambda item: -len(item.zone.origin)):
            domain.finish()
            if domain.zone.origin != dns.name.root:
                domain.delegate(self.parent(domain).zone)

    def parent(self, domain: Domain) -> Domain:
        name = domain.zone.origin.parent()
        while name.to_text() not in self.domains:
            name = name.parent()
        return self.domains[name.to_text()]

    def zones(self, group: str) -> dict[str, str]:
        """The master files of what a group serves."""
        return {domain.origin: domain.text for domain in self.domains.values() if domain.group == group}

    def write_hints(self, path: Path) -> Path:
        lines = []
        for letter, addresses in (("a", ROOT[:1]), ("b", ROOT[1:])):
            lines.append(f". 3600000 IN NS {letter}.root-servers.net.")
            for address in addresses:
                kind = "AAAA" if ":" in address else "A"
                lines.append(f"{letter}.root-servers.net. 3600000 IN {kind} {address}")
        path.write_text("\n".join(lines) + "\n")
        return path

    def write_anchors(self, path: Path) -> Path:
        path.write_text(f". 172800 IN DS {self.root_keys[0].ds(dns.name.root)}\n")
        return path
