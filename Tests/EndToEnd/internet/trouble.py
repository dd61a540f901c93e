"""Zones below `bogus.`, each with one fault: made when it was signed, in its DS records, or on the way."""

import base64
from dataclasses import dataclass, field

import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from .domains import NSEC3, OPT_OUT, Domain, make
from .keys import ECDSAP256, REVOKE, RSASHA256, SEP, ZONE, Key, key_pair
from .signing import DAY, DNSKEY, DS, NOW, NSEC, RRSIG, SOA, Denial, Zone, bitmap, record
from .signing import NSEC3 as NSEC3_TYPE

SECURE, INSECURE, BOGUS = "secure", "insecure", "bogus"
CONTENT = """
@ A 45.102.0.1
@ MX 10 www
www A 45.102.0.2
www TXT "right"
other A 45.102.0.3
alias CNAME www
*.wild A 45.102.0.4
a.ent A 45.102.0.5
d DNAME ent
"""


@dataclass
class Trouble:
    """One faulty zone: what becomes of `question`, and where the fault is put in."""

    name: str
    expected: str = BOGUS
    question: tuple[str, str] = ("www", "A")
    algorithm: int | tuple = ECDSAP256
    denial: Denial = Denial()
    # Fields of every RRSIG.
    times: dict = field(default_factory=dict)
    # Called with the zone before it is signed and afterwards.
    before: object = None
    after: object = None
    # The DS records, made from the zone.
    ds: object = None
    # What the relay does to an answer.
    change: object = None
    # The code of the extended error that is expected (RFC 8914), where one fits well.
    error: int | None = None
    # What unbound makes of it, where that is something else.
    unbound: str | None = None

    @property
    def origin(self) -> str:
        return f"{self.name}.bogus"

    @property
    def asked(self) -> tuple[str, str]:
        name, kind = self.question
        return (self.origin if name == "@" else f"{name}.{self.origin}", kind)


# Faults in the zone


def sign_anew(name: str, kind: str, **fields):
    return lambda zone: zone.sign_set(name, kind, **fields)


def forget_signature(name: str, kind: str):
    def change(zone: Zone) -> None:
        del zone.signatures[zone.name(name), dns.rdatatype.from_text(kind)]

    return change


def flip(item):
    """A signature with one bit other than it was."""
    octets = bytearray(item.signature)
    octets[len(octets) // 2] ^= 4
    return item.replace(signature=bytes(octets))


def alter(name: str, kind: str, text: str):
    """Other data in the place of what was signed."""

    def change(zone: Zone) -> None:
        rdataset = zone.sets[zone.name(name)][dns.rdatatype.from_text(kind)]
        rdataset.clear()
        rdataset.add(record(rdataset.rdtype, text))

    return change


def sign_with_stranger(zone: Zone) -> None:
    """A key signs that the zone doesn't have, by the tag of one that it has."""
    stranger = Key(zone.keys[0].algorithm, flags=ZONE)
    zone.sign_set("www", "A", keys=[stranger], key_tag=zone.keys[1].tag)


def sign_by_child(zone: Zone) -> None:
    zone.sign_set("www", "A", signer=zone.name("www"))


def sign_keys_with_zone_key(zone: Zone) -> None:
    """The key that the DS names signs nothing."""
    zone.sign_set("@", DNSKEY, keys=[zone.keys[1]])


def replace_key(**fields):
    """Makes all keys anew with other fields."""

    def change(zone: Zone) -> None:
        zone.pending = [Key(zone.pending[0].algorithm, **fields)]

    return change


def remove_signing(zone: Zone) -> None:
    """The zone as it was before anybody signed it."""
    zone.signatures.clear()
    for sets in zone.sets.values():
        for kind in (DNSKEY, NSEC, NSEC3_TYPE):
            sets.pop(kind, None)


def widen_nsec(zone: Zone) -> None:
    """An NSEC chain with a link that spans nothing it should: every NSEC points to itself."""
    for name, sets in zone.sets.items():
        if NSEC in sets:
            kinds = bitmap(zone.kinds(name) | {NSEC, RRSIG})
            item = sets[NSEC][0].replace(next=dns.name.from_text("0", name), windows=kinds)
            sets[NSEC].clear()
            sets[NSEC].add(item)
            zone.sign_set(name, NSEC)


def deny_nothing_of(kind: str):
    """NSEC records say that a type is there which isn't."""

    def change(zone: Zone) -> None:
        name = zone.name("www")
        kinds = zone.kinds(name) | {NSEC, RRSIG, dns.rdatatype.from_text(kind)}
        item = zone.sets[name][NSEC][0].replace(windows=bitmap(kinds))
        zone.sets[name][NSEC].clear()
        zone.sets[name][NSEC].add(item)
        zone.sign_set(name, NSEC)

    return change


def spoil_nsec3(zone: Zone) -> None:
    """The next hashed owner names are others than were signed."""
    for sets in zone.sets.values():
        if NSEC3_TYPE in sets:
            octets = bytearray(sets[NSEC3_TYPE][0].next)
            octets[0] ^= 0x80
            item = sets[NSEC3_TYPE][0].replace(next=bytes(octets))
            sets[NSEC3_TYPE].clear()
            sets[NSEC3_TYPE].add(item)


def add_colliding_key(zone: Zone) -> None:
    """A key that no signature is by has the tag of one that signs (RFC 4034 App. B: not an error)."""
    tag = zone.pending[1].tag
    octets = bytearray(b"\x03\x01\x00\x01" + b"\xc5" * 128)
    for value in range(1 << 16):
        octets[20:22] = value.to_bytes(2, "big")
        octets[-1] |= 1
        text = f"256 3 8 {base64.b64encode(octets).decode()}"
        item = record(DNSKEY, text)
        if dns.dnssec.key_id(item) == tag:
            zone.add("@", DNSKEY, item)
            return
    raise ValueError("no key with this tag")


# Faults in DS records


def ds_text(zone: Zone, **changes) -> str:
    """The DS of the first key, with fields that are not as they should be."""
    item = zone.keys[0].ds(zone.origin)
    values = {"tag": item.key_tag, "algorithm": item.algorithm, "kind": item.digest_type, "digest": item.digest.hex()}
    values.update(changes)
    return f"{values['tag']} {values['algorithm']} {values['kind']} {values['digest']}"


def ds_with(**changes):
    return lambda zone: [ds_text(zone, **changes)]


# Faults on the way


def rrsets_without(rrsets: list, kinds: set[int]) -> list:
    """Without sets of some types and the signatures over them."""
    return [item for item in rrsets if item.rdtype not in kinds and not (item.rdtype == RRSIG and item.covers in kinds)]


def strip_denial(asked, message):
    message.authority = rrsets_without(message.authority, {NSEC, NSEC3_TYPE})
    return message


def strip_denial_signatures(asked, message):
    kinds = {NSEC, NSEC3_TYPE}
    message.authority = [item for item in message.authority if item.rdtype != RRSIG or item.covers not in kinds]
    return message


def keep_one_nsec3(position: int):
    """Of several NSEC3 records only one remains."""

    def change(asked, message):
        names = [item.name for item in message.authority if item.rdtype == NSEC3_TYPE]
        if len(names) > 1:
            keep = sorted(names)[position]
            message.authority = [
                item for item in message.authority if item.name == keep or item.name == dns.name.from_text("bogus", keep)
                or item.rdtype in (SOA,) or (item.rdtype == RRSIG and item.covers == SOA)
            ]  # fmt: skip
        return message

    return change


def strip_all_signatures(asked, message):
    for section in ("answer", "authority"):
        setattr(message, section, [item for item in getattr(message, section) if item.rdtype != RRSIG])
    return message


def hide(name: str):
    """Says NXDOMAIN, with the denial that a name gets which isn't there."""

    def change(asked, message):
        if asked.name.lower().startswith(f"{name}.") and message.answer:
            message.answer = []
            message.set_rcode(dns.rcode.NXDOMAIN)
        return message

    return change


def empty_answer(asked, message):
    """Says that a name has no such record, without any proof."""
    if asked.name.lower().startswith("www.") and message.answer:
        message.answer = []
    return message


def other_address(asked, message):
    for item in message.answer:
        if item.rdtype == dns.rdatatype.A and not asked.name.lower().startswith("ns"):
            item.clear()
            item.add(record(dns.rdatatype.A, "45.66.6.6"))
    return message


def add_address(asked, message):
    """One more record in a set that was signed."""
    for item in message.answer:
        if item.rdtype == dns.rdatatype.A and not asked.name.lower().startswith("ns"):
            item.add(record(dns.rdatatype.A, "45.66.6.6"))
    return message


def refuse_keys(asked, message):
    """Nobody gets the keys."""
    if asked.kind == "DNSKEY":
        message.answer = []
        message.set_rcode(dns.rcode.SERVFAIL)
    return message


def redirect_alias(asked, message):
    """The alias leads elsewhere."""
    for item in message.answer:
        if item.rdtype == dns.rdatatype.CNAME:
            item.clear()
            item.add(record(dns.rdatatype.CNAME, f"other.{asked.name.split('.', 1)[1]}"))
    message.answer = message.answer[:2]
    return message


def add_unsigned_alias(asked, message):
    """An alias that the zone doesn't have stands before an answer that it has."""
    if asked.name.lower().startswith("other.") and asked.kind == "A":
        target = f"www.{asked.name.split('.', 1)[1]}"
        message.answer = [dns.rrset.from_text(asked.message.question[0].name, 300, "IN", "CNAME", target)]
    return message


def forget_ds(asked, message):
    """A parent that speaks of the child as if it were unsigned, without a proof."""
    message.answer = rrsets_without(message.answer, {DS})
    message.authority = rrsets_without(message.authority, {DS, NSEC, NSEC3_TYPE})
    return message


def other_ds(asked, message):
    for section in (message.answer, message.authority):
        for item in section:
            if item.rdtype == DS:
                old = item[0]
                item.clear()
                item.add(old.replace(digest=bytes(32)))
    return message


def shorten_signatures(asked, message):
    for section in (message.answer, message.authority):
        for item in section:
            if item.rdtype == RRSIG:
                old = item[0]
                item.clear()
                item.add(old.replace(signature=old.signature[:3]))
    return message


def break_keys(asked, message):
    """DNSKEY records that end in the middle of the key."""
    for item in message.answer:
        if item.rdtype == DNSKEY:
            keys = [old.replace(key=old.key[:7]) for old in item]
            item.clear()
            for key in keys:
                item.add(key)
    return message


def expand_wildcard_for(name: str):
    """A name that exists gets what the wildcard has, signatures and all."""

    def change(asked, message):
        owner = dns.name.from_text(asked.name)
        if asked.name.lower().startswith(f"{name}.") and asked.kind == "A":
            for item in message.answer:
                item.name = owner
        return message

    return change


class UpperParent:
    """Pretends that a child's DS set is denied by the NSEC of another name."""

    def __call__(self, asked, message):
        return strip_denial_signatures(asked, forget_ds(asked, message))


LONG_AGO = {"inception": NOW - 60 * DAY, "expiration": NOW - 30 * DAY}
NOT_YET = {"inception": NOW + 30 * DAY, "expiration": NOW + 60 * DAY}
BACKWARDS = {"inception": NOW + DAY, "expiration": NOW - DAY}

TROUBLES = [
    # It must not be thought bogus only because it is below bogus.
    Trouble("fine", SECURE),
    Trouble("fine-nsec3", SECURE, denial=NSEC3),
    Trouble("fine-optout", SECURE, denial=OPT_OUT),
    # Signatures
    Trouble("expired", times=LONG_AGO, error=7),
    Trouble("not-yet", times=NOT_YET, error=8),
    Trouble("backwards", times=BACKWARDS),
    Trouble("expired-set", after=sign_anew("www", "A", **LONG_AGO), error=7),
    Trouble("not-yet-set", after=sign_anew("www", "A", **NOT_YET), error=8),
    Trouble("expired-keys", after=sign_anew("@", "DNSKEY", **LONG_AGO)),
    Trouble("expired-denial", question=("no", "A"), times={}, after=lambda zone: [
        zone.sign_set(name, NSEC, **LONG_AGO) for name, sets in zone.sets.items() if NSEC in sets]),
    Trouble("stranger", after=sign_with_stranger),
    Trouble("unsigned-set", after=forget_signature("www", "A"), error=10),
    Trouble("unsigned-keys", after=forget_signature("@", "DNSKEY")),
    Trouble("unsigned-zone", after=remove_signing, error=9),
    Trouble("flipped", after=sign_anew("www", "A", damage=flip)),
    Trouble("flipped-keys", after=sign_anew("@", "DNSKEY", damage=flip)),
    Trouble("altered", after=alter("www", "A", "45.66.6.6")),
    Trouble("altered-keys", after=lambda zone: zone.add("@", DNSKEY, Key(ECDSAP256, flags=ZONE).dnskey)),
    Trouble("ttl-altered", after=sign_anew("www", "A", damage=lambda item: item.replace(original_ttl=86400))),
    Trouble("labels-many", after=sign_anew("www", "A", damage=lambda item: item.replace(labels=7))),
    Trouble("labels-few", after=sign_anew("www", "A", labels=2)),
    Trouble("labels-zero", after=sign_anew("www", "A", labels=0)),
    Trouble("signer-parent", after=sign_anew("www", "A", signer=dns.name.from_text("bogus"))),
    Trouble("signer-sibling", after=sign_anew("www", "A", signer=dns.name.from_text("fine.bogus"))),
    Trouble("signer-child", after=sign_by_child),
    Trouble("signer-root", after=sign_anew("www", "A", signer=dns.name.root)),
    Trouble("tag-wrong", after=sign_anew("www", "A", key_tag=1)),
    Trouble("algorithm-field", after=sign_anew("www", "A", algorithm=8)),
    Trouble("short-signature", change=shorten_signatures),
    Trouble("signatures-stripped", change=strip_all_signatures),
    # Keys
    Trouble("keys-refused", change=refuse_keys),
    Trouble("keys-broken", change=break_keys),
    Trouble("revoked", before=replace_key(flags=ZONE | SEP | REVOKE), unbound=SECURE),
    Trouble("no-zone-flag", before=replace_key(flags=SEP)),
    Trouble("protocol-2", before=replace_key(protocol=2)),
    Trouble("zone-key-only", after=sign_keys_with_zone_key),
    Trouble("colliding-tag", SECURE, algorithm=RSASHA256, before=add_colliding_key),
    # DS
    Trouble("ds-digest", ds=ds_with(digest="00" * 32), error=9),
    Trouble("ds-tag", ds=ds_with(tag=1)),
    Trouble("ds-algorithm", ds=ds_with(algorithm=8)),
    Trouble("ds-other-key", ds=lambda zone: [Key(ECDSAP256).ds(zone.origin)]),
    Trouble("ds-other-zone", ds=lambda zone: [zone.keys[0].ds(dns.name.from_text("fine.bogus"))]),
    Trouble("ds-unknown-digest", INSECURE, ds=ds_with(kind=200)),
    Trouble("ds-unknown-algorithm", INSECURE, ds=ds_with(algorithm=200)),
    Trouble("ds-gost", INSECURE, ds=ds_with(algorithm=12)),
    Trouble("ds-unknown-and-wrong", ds=lambda zone: [ds_text(zone, kind=200), ds_text(zone, digest="00" * 32)]),
    Trouble("ds-unknown-and-right", SECURE, ds=lambda zone: [ds_text(zone, algorithm=200), ds_text(zone)]),
    Trouble("ds-wrong-and-right", SECURE, ds=lambda zone: [ds_text(zone, digest="00" * 32), ds_text(zone)]),
    Trouble("ds-sha1-beside-sha256", ds=lambda zone: [
        zone.keys[0].ds(zone.origin, "SHA1"), ds_text(zone, digest="00" * 32)], unbound=SECURE),
    Trouble("ds-two-algorithms", SECURE, ds=lambda zone: [
        ds_text(zone), f"4711 8 2 {'ab' * 32}"]),
    # Denial
    Trouble("denial-stripped", question=("no", "A"), change=strip_denial, error=12),
    Trouble("denial-stripped-nodata", question=("www", "AAAA"), change=strip_denial, error=12),
    Trouble("denial-stripped-wildcard", question=("x.wild", "A"), change=strip_denial),
    Trouble("denial-stripped-nsec3", question=("no", "A"), denial=NSEC3, change=strip_denial, error=12),
    Trouble("denial-stripped-nsec3-nodata", question=("www", "AAAA"), denial=NSEC3, change=strip_denial, error=12),
    Trouble("denial-stripped-nsec3-wildcard", question=("x.wild", "A"), denial=NSEC3, change=strip_denial),
    Trouble("denial-unsigned", question=("no", "A"), change=strip_denial_signatures),
    Trouble("denial-first-nsec3", question=("no", "A"), denial=NSEC3, change=keep_one_nsec3(0)),
    Trouble("denial-last-nsec3", question=("no", "A"), denial=NSEC3, change=keep_one_nsec3(-1)),
    Trouble("denial-narrow", question=("no", "A"), after=widen_nsec),
    Trouble("denial-spoilt-nsec3", question=("no", "A"), denial=NSEC3, after=spoil_nsec3),
    Trouble("type-present", question=("www", "AAAA"), after=deny_nothing_of("AAAA")),
    Trouble("hidden", change=hide("www")),
    Trouble("hidden-nsec3", denial=NSEC3, change=hide("www")),
    Trouble("emptied", change=empty_answer),
    # Answers
    Trouble("address-changed", change=other_address),
    Trouble("address-added", change=add_address),
    Trouble("alias-redirected", question=("alias", "A"), change=redirect_alias),
    Trouble("alias-unsigned", question=("other", "A"), change=add_unsigned_alias),
    Trouble("alias-flipped", question=("alias", "A"), after=sign_anew("alias", "CNAME", damage=flip)),
    Trouble("alias-target-flipped", question=("alias", "A"), after=sign_anew("www", "A", damage=flip)),
    Trouble("dname-flipped", question=("a.d", "A"), after=sign_anew("d", "DNAME", damage=flip)),
    Trouble("dname-unsigned", question=("a.d", "A"), after=forget_signature("d", "DNAME")),
]  # fmt: skip
BY_NAME = {trouble.name: trouble for trouble in TROUBLES}

# Parents that lie about signed children; the children are on another server.
LYING_PARENTS = {"parent-forgets-ds": forget_ds, "parent-other-ds": other_ds, "parent-denies-ds": UpperParent()}


def domains() -> list[Domain]:
    made = []
    for item in TROUBLES:
        domain = make(item.origin, "trouble", CONTENT, None, item.denial)
        domain.keys = key_pair(item.algorithm)
        domain.sign = lambda finished, item=item: sign(finished, item)
        made.append(domain)
    for name in LYING_PARENTS:
        made.append(make(f"{name}.bogus", "trouble", CONTENT, ECDSAP256))
        made.append(make(f"child.{name}.bogus", "nsd", CONTENT, ECDSAP256))
    return made


def sign(domain: Domain, item: Trouble) -> None:
    """Signs a zone as its trouble wants it."""
    zone = domain.zone
    zone.pending = domain.keys
    if item.before:
        item.before(zone)
    zone.sign(zone.pending, item.denial, **item.times)
    domain.keys = zone.keys
    if item.ds:
        domain.ds = item.ds(zone)
    if item.after:
        item.after(zone)


def change(asked, message):
    """What the relay before all these zones does."""
    labels = asked.name.lower().rstrip(".").split(".")
    name = labels[-2] if len(labels) > 1 else ""
    change = LYING_PARENTS.get(name) or (BY_NAME[name].change if name in BY_NAME else None)
    return change(asked, message) if change else message
