"""A small internet of its own, all of whose servers are written in Python: what each of them says is up to the test."""

import contextlib

import dns.flags
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from .keys import ECDSAP256, Key
from .resolvers import Martlet, Unbound
from .signing import DNAME, DS, NS, NSEC, NSEC3, SOA, Zone
from .wire import Server, reply

ROOT, TLD, ONE, TWO, OTHER, INSIDE = (f"45.8.0.{number}" for number in range(1, 7))
# It has a route and no server.
DEAD = "2a0e:8::1"
CNAME = dns.rdatatype.CNAME
WAYS = ("recursive", "stub", "forward")


class Answerer:
    """Answers from zones as an honest server would; denials have all of the zone's proofs."""

    def __init__(self, *zones: Zone):
        self.zones = {zone.origin: zone for zone in zones}

    def zone(self, name, kind) -> Zone | None:
        if kind == DS and name != dns.name.root and self.closest(name.parent()):
            name = name.parent()
        return self.closest(name)

    def closest(self, name) -> Zone | None:
        while name not in self.zones:
            if name == dns.name.root:
                return None
            name = name.parent()
        return self.zones[name]

    def __call__(self, asked):
        question = asked.message.question[0]
        name, kind = question.name, question.rdtype
        zone = self.zone(name, kind)
        if zone is None:
            return reply(asked, rcode=dns.rcode.REFUSED, aa=False)
        message = reply(asked)
        for _ in range(16):
            found = self.step(zone, name, kind, message)
            if found is None or not found.is_subdomain(zone.origin):
                break
            name = found
        return message

    def step(self, zone, name, kind, message):
        """Adds what there is of a name; gives where an alias leads."""
        depth = len(zone.origin)
        encloser = zone.origin
        for labels in range(depth, len(name) + 1):
            above = name.split(labels)[1]
            if not self.exists(zone, above):
                return self.expand(zone, name, encloser, kind, message)
            encloser, sets = above, zone.sets.get(above, {})
            if labels > depth and NS in sets and not (above == name and kind == DS):
                return self.refer(zone, above, message)
            if DNAME in sets and above != name:
                return self.redirect(zone, name, above, message)
        return self.pick(zone, name, name, kind, message)

    @staticmethod
    def exists(zone, name) -> bool:
        hashed = {owner for owner, sets in zone.sets.items() if set(sets) == {NSEC3}}
        return any(owner.is_subdomain(name) for owner in zone.sets if owner not in hashed)

    def expand(self, zone, name, encloser, kind, message):
        source = dns.name.Name((b"*",)) + encloser
        self.deny(zone, message, with_start=False)
        if source in zone.sets:
            return self.pick(zone, name, source, kind, message)
        message.set_rcode(dns.rcode.NXDOMAIN)
        self.deny(zone, message)

    def pick(self, zone, name, source, kind, message):
        sets = zone.sets.get(source, {})
        if kind in sets:
            self.put(message.answer, zone, source, kind, name)
        elif CNAME in sets:
            self.put(message.answer, zone, source, CNAME, name)
            return sets[CNAME][0].target
        else:
            self.deny(zone, message)
        return None

    def redirect(self, zone, name, owner, message):
        self.put(message.answer, zone, owner, DNAME)
        try:
            target = name.relativize(owner) + zone.sets[owner][DNAME][0].target
        except dns.name.NameTooLong:
            message.set_rcode(dns.rcode.YXDOMAIN)
            return None
        message.answer.append(dns.rrset.from_text(name, zone.sets[owner][DNAME].ttl, "IN", "CNAME", target.to_text()))
        return target

    def refer(self, zone, cut, message):
        message.flags &= ~dns.flags.AA
        self.put(message.authority, zone, cut, NS, signed=False)
        if DS in zone.sets[cut]:
            self.put(message.authority, zone, cut, DS)
        else:
            self.deny(zone, message, with_start=False)
        for server in zone.sets[cut][NS]:
            for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
                if kind in zone.sets.get(server.target, {}):
                    self.put(message.additional, zone, server.target, kind, signed=False)

    def deny(self, zone, message, with_start=True) -> None:
        if with_start:
            self.put(message.authority, zone, zone.origin, SOA)
        for name, sets in zone.sets.items():
            for kind in (NSEC, NSEC3):
                if kind in sets and not any(item.name == name and item.rdtype == kind for item in message.authority):
                    self.put(message.authority, zone, name, kind)

    @staticmethod
    def put(section, zone, source, kind, name=None, signed=True) -> None:
        name = name or source
        rdataset = zone.sets[source][kind]
        section.append(dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset)))
        signatures = zone.signatures.get((source, kind), []) if signed else []
        if signatures:
            section.append(dns.rrset.from_rdata_list(name, rdataset.ttl, signatures))


def start(minimum: int = 300) -> str:
    return f"@ SOA ns nobody 1 3600 600 86400 {minimum}\n"


class Script:
    """The root, `tld.` and `example.tld.`, which two servers have; a resolver that comes there in one of three ways."""

    def __init__(self, internet, directory, content: str, *, tld: str = "", signed=None, ttl: int = 3600, cut_ttl: int = 3600):
        self.internet, self.directory = internet, directory
        self.signed = signed
        self.zone = Zone("example.tld.", start() + "@ NS ns1\n@ NS ns2\n" + f"ns1 A {ONE}\nns2 A {TWO}\n" + content, ttl)
        self.key = Key(ECDSAP256)
        if signed:
            self.zone.sign([self.key], signed)
        cut = f"example {cut_ttl} NS ns1.example\nexample {cut_ttl} NS ns2.example\nns1.example A {ONE}\nns2.example A {TWO}\n"
        self.tld = Zone("tld.", start() + f"@ NS ns\nns A {TLD}\n" + cut + tld)
        self.root = Zone(".", start() + f"@ NS a.root.\na.root. A {ROOT}\ntld. NS ns.tld.\nns.tld. A {TLD}\n")
        if signed:
            key, root_key = Key(ECDSAP256), Key(ECDSAP256)
            self.tld.add("example", DS, self.key.ds(self.zone.origin))
            self.tld.sign([key], signed)
            self.root.add("tld.", DS, key.ds(self.tld.origin))
            self.root.sign([root_key])
            self.anchor = f". 3600 DS {root_key.ds(dns.name.root)}\n"
        self.honest = Answerer(self.zone)
        self.stack = contextlib.ExitStack()
        self.servers: dict[str, Server] = {}

    def __enter__(self):
        self.serve(ROOT, Answerer(self.root))
        self.serve(TLD, Answerer(self.tld))
        return self

    def __exit__(self, *_):
        self.stack.close()

    def serve(self, address: str, answer) -> Server:
        """Has a server say what a function makes of a query."""
        self.servers[address] = self.stack.enter_context(Server(self.internet.loop, [address], answer))
        return self.servers[address]

    def changed(self, change, of=None):
        """An honest server whose answers `change(asked, message)` changes, where it returns another one."""

        def answer(asked):
            message = (of or self.honest)(asked)
            return change(asked, message) or message

        return answer

    def resolver(self, name: str, way: str = "recursive", servers=(ONE, TWO), changes=None, lines=()):
        """A resolver that finds `example.tld.` from the root, as a stub zone, or forwards everything to its servers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        hints, anchors = self.directory / "hints", self.directory / "anchors"
        hints.write_text(f". 3600 NS a.root.\na.root. 3600 A {ROOT}\n")
        anchor = self.anchor if self.signed else ""
        if self.signed and way != "recursive":
            anchor = f"example.tld. 3600 DS {self.key.ds(self.zone.origin)}\n"
        anchors.write_text(anchor)
        values = {"dnssec": "yes" if self.signed else "no", "threads": 1}
        if not self.signed:
            anchors.write_text(". 3600 DS 1 8 2 " + "00" * 32 + "\n")
        text = list(lines)
        if not self.signed:
            text.append('module-config: "iterator"')
        if way == "stub":
            values["stub-zones"] = {"example.tld": list(servers)}
            text += ["stub-zone:", "name: example.tld", *(f"stub-addr: {address}" for address in servers)]
        if way == "forward":
            values |= {"mode": "forward", "forwarders": list(servers)}
            text += ["forward-zone:", 'name: "."', *(f"forward-addr: {address}" for address in servers)]
        if name == "unbound":
            made = Unbound(self.internet.namespace, self.directory / "unbound", hints, anchors, address="127.0.0.91", lines=text)
        else:
            values |= changes or {}
            made = Martlet(self.internet.namespace, self.directory / "martlet", hints, anchors, address="127.0.0.92", changes=values)
        self.stack.callback(made.stop)
        made.start()
        return made
