"""Zones: their records, signatures, chains of NSEC and NSEC3, and master files."""

import base64
import time
from dataclasses import dataclass

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3
import dns.rdtypes.ANY.RRSIG
import dns.zone

from .keys import Key, rrsig

DAY = 86400
NOW = int(time.time())
INCEPTION, EXPIRATION = NOW - DAY, NOW + 30 * DAY
DNAME, DNSKEY, DS, NS, NSEC, NSEC3, NSEC3PARAM, RRSIG, SOA = (
    dns.rdatatype.from_text(text) for text in "DNAME DNSKEY DS NS NSEC NSEC3 NSEC3PARAM RRSIG SOA".split()
)


@dataclass(frozen=True)
class Denial:
    """How a zone proves that something is not there: NSEC, or NSEC3 with parameters."""

    nsec3: bool = False
    iterations: int = 0
    salt: str = ""
    opt_out: bool = False


def record(kind, text: str):
    return dns.rdata.from_text(dns.rdataclass.IN, kind, text, relativize=False, origin=dns.name.root)


def bitmap(kinds) -> list[tuple[int, bytes]]:
    """The type bit map of NSEC and NSEC3."""
    windows: dict[int, bytearray] = {}
    for kind in kinds:
        field = windows.setdefault(kind >> 8, bytearray(32))
        field[(kind & 255) >> 3] |= 0x80 >> (kind & 7)
    return [(window, bytes(field).rstrip(b"\0")) for window, field in sorted(windows.items())]


class Zone:
    """A zone's sets of records by name and type, and the signatures over them."""

    def __init__(self, origin: str, text: str = "", ttl: int = 3600):
        self.origin = dns.name.from_text(origin)
        self.ttl = ttl
        self.sets: dict[dns.name.Name, dict[int, dns.rdataset.Rdataset]] = {}
        self.signatures: dict[tuple[dns.name.Name, int], list] = {}
        self.keys: list[Key] = []
        self.denial: Denial | None = None
        # A line of text, as it stands, at the end of the master file.
        self.extra: list[str] = []
        if text:
            self.read(text)

    def name(self, text: str) -> dns.name.Name:
        return self.origin if text in ("", "@") else dns.name.from_text(text, self.origin)

    def read(self, text: str) -> None:
        """Takes in records as a master file has them."""
        origin = self.origin.to_text()
        head = f"$ORIGIN {origin}\n$TTL {self.ttl}\n"
        parsed = dns.zone.from_text(head + text, origin, relativize=False, check_origin=False)
        for name, node in parsed.items():
            for rdataset in node:
                self.sets.setdefault(name, {})[rdataset.rdtype] = rdataset

    def add(self, name, kind, *records, ttl: int | None = None) -> dns.rdataset.Rdataset:
        """Adds records (rdata or text) to a set."""
        name = name if isinstance(name, dns.name.Name) else self.name(name)
        kind = dns.rdatatype.RdataType.make(kind)
        of_name = self.sets.setdefault(name, {})
        if kind not in of_name:
            of_name[kind] = dns.rdataset.Rdataset(dns.rdataclass.IN, kind, ttl=ttl if ttl is not None else self.ttl)
        for item in records:
            of_name[kind].add(record(kind, item) if isinstance(item, str) else item)
        return of_name[kind]

    # What is authoritative

    def cuts(self) -> set[dns.name.Name]:
        """The delegations."""
        return {name for name, sets in self.sets.items() if NS in sets and name != self.origin}

    def hidden(self) -> set[dns.name.Name]:
        """Names below delegations and DNAMEs."""
        above = self.cuts() | {name for name, sets in self.sets.items() if DNAME in sets}
        return {name for name in self.sets if any(name != top and name.is_subdomain(top) for top in above)}

    def kinds(self, name: dns.name.Name) -> set[int]:
        """The types at a name that a denial speaks of."""
        kinds = set(self.sets.get(name, {})) - {NSEC, NSEC3}
        return kinds & {NS, DS} if name in self.cuts() else kinds

    # Signing

    def sign(self, keys: list[Key], denial: Denial = Denial(), publish: list[Key] = (), **times) -> "Zone":
        """Adds DNSKEY, NSEC or NSEC3, and signatures; `publish` are keys that sign nothing."""
        self.keys, self.denial = list(keys), denial
        for key in [*keys, *publish]:
            self.add(self.origin, DNSKEY, key.dnskey)
        if denial.nsec3:
            self.add_nsec3(denial)
        else:
            self.add_nsec()
        hidden, cuts = self.hidden(), self.cuts()
        for name, sets in self.sets.items():
            if name not in hidden:
                for kind in sets:
                    if name not in cuts or kind in (DS, NSEC, NSEC3):
                        self.sign_set(name, kind, **times)
        return self

    def signers(self, kind: int) -> list[Key]:
        """The keys that sign a type; one key of each algorithm where there are two for two duties."""
        special = [key for key in self.keys if key.is_entry_point]
        plain = [key for key in self.keys if not key.is_entry_point]
        return (special or plain) if kind == DNSKEY else (plain or special)

    def sign_set(self, name, kind, keys: list[Key] | None = None, damage=None, **fields) -> None:
        """Makes the signatures over a set, in the place of those that are there.

        `fields` are fields of the RRSIG that are to be other than right; `damage` changes the finished record.
        """
        name = name if isinstance(name, dns.name.Name) else self.name(name)
        kind = dns.rdatatype.RdataType.make(kind)
        values = {"inception": INCEPTION, "expiration": EXPIRATION, "signer": self.origin, **fields}
        made = [rrsig(name, self.sets[name][kind], key, **values) for key in keys or self.signers(kind)]
        self.signatures[name, kind] = [damage(item) for item in made] if damage else made

    def add_nsec(self) -> None:
        minimum = self.sets[self.origin][SOA][0].minimum
        hidden = self.hidden()
        names = sorted(name for name in self.sets if name not in hidden)
        for name, following in zip(names, names[1:] + names[:1]):
            windows = bitmap(self.kinds(name) | {NSEC, RRSIG})
            item = dns.rdtypes.ANY.NSEC.NSEC(dns.rdataclass.IN, NSEC, following, windows)
            self.add(name, NSEC, item, ttl=minimum)

    def add_nsec3(self, denial: Denial) -> None:
        minimum = self.sets[self.origin][SOA][0].minimum
        salt = bytes.fromhex(denial.salt)
        parameters = f"1 0 {denial.iterations} {denial.salt or '-'}"
        self.add(self.origin, NSEC3PARAM, parameters, ttl=0)
        hidden, cuts = self.hidden(), self.cuts()
        names: set[dns.name.Name] = set()
        for name in self.sets:
            if name in hidden or (denial.opt_out and name in cuts and DS not in self.sets[name]):
                continue
            while name != self.origin and name not in names:
                names.add(name)
                name = name.parent()
        names.add(self.origin)
        hashes = sorted((dns.dnssec.nsec3_hash(name, salt or None, denial.iterations, 1), name) for name in names)
        for (digest, name), (following, _) in zip(hashes, hashes[1:] + hashes[:1]):
            kinds = self.kinds(name)
            if kinds and (name not in cuts or DS in kinds):
                kinds = kinds | {RRSIG}
            item = dns.rdtypes.ANY.NSEC3.NSEC3(
                dns.rdataclass.IN, NSEC3, 1, int(denial.opt_out), denial.iterations, salt, base32hex(following),
                bitmap(kinds),
            )  # fmt: skip
            self.add(self.name(digest.lower()), NSEC3, item, ttl=minimum)

    # Master file

    def text(self) -> str:
        lines = []
        for name, sets in self.sets.items():
            for kind, rdataset in sets.items():
                lines += self.lines(name, rdataset.ttl, rdataset)
                lines += self.lines(name, rdataset.ttl, self.signatures.get((name, kind), []))
        return "\n".join(lines + self.extra) + "\n"

    @staticmethod
    def lines(name: dns.name.Name, ttl: int, records) -> list[str]:
        return [f"{name} {ttl} IN {dns.rdatatype.to_text(item.rdtype)} {item.to_text()}" for item in records]


def base32hex(text: str) -> bytes:
    """The octets of a hashed name."""
    table = str.maketrans("0123456789ABCDEFGHIJKLMNOPQRSTUV", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    return base64.b32decode(text.upper().translate(table))
