"""DNSSEC keys: made, published, used to sign."""

import itertools
import struct

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.RRSIG
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

ZONE, SEP, REVOKE = 0x0100, 0x0001, 0x0080
RSASHA1, NSEC3RSASHA1, RSASHA256, RSASHA512, ECDSAP256, ECDSAP384, ED25519, ED448 = 5, 7, 8, 10, 13, 14, 15, 16
HASHES = {
    RSASHA1: hashes.SHA1,
    NSEC3RSASHA1: hashes.SHA1,
    RSASHA256: hashes.SHA256,
    RSASHA512: hashes.SHA512,
    ECDSAP256: hashes.SHA256,
    ECDSAP384: hashes.SHA384,
}
# RSA keys take long to make, so a few of them serve all zones in turn.
RSA_KEYS = 4
rsa_keys: list[rsa.RSAPrivateKey] = []
rsa_turn = itertools.count()


def new_private_key(algorithm: int):
    if algorithm in (RSASHA1, NSEC3RSASHA1, RSASHA256, RSASHA512):
        if len(rsa_keys) < RSA_KEYS:
            rsa_keys.append(rsa.generate_private_key(65537, 2048 if len(rsa_keys) % 2 == 0 else 1280))
            return rsa_keys[-1]
        return rsa_keys[next(rsa_turn) % RSA_KEYS]
    if algorithm == ECDSAP256:
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == ECDSAP384:
        return ec.generate_private_key(ec.SECP384R1())
    if algorithm == ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == ED448:
        return ed448.Ed448PrivateKey.generate()
    raise ValueError(f"algorithm {algorithm}")


class Key:
    """A key pair with its DNSKEY record."""

    def __init__(self, algorithm: int, flags: int = ZONE | SEP, protocol: int = 3, private=None):
        self.algorithm = algorithm
        self.private = private or new_private_key(algorithm)
        made = dns.dnssec.make_dnskey(self.private.public_key(), algorithm)
        self.dnskey = made.replace(flags=flags, protocol=protocol)

    @property
    def tag(self) -> int:
        return dns.dnssec.key_id(self.dnskey)

    @property
    def is_entry_point(self) -> bool:
        return bool(self.dnskey.flags & SEP)

    def ds(self, owner: dns.name.Name, digest: str = "SHA256"):
        """The DS record that stands for this key in the parent zone."""
        return dns.dnssec.make_ds(owner, self.dnskey, digest, policy=dns.dnssec.allow_all_policy)

    def sign(self, data: bytes) -> bytes:
        """The signature field of an RRSIG over data."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), HASHES[self.algorithm]())
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            octets = 32 if self.algorithm == ECDSAP256 else 48
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(HASHES[self.algorithm]())))
            return r.to_bytes(octets, "big") + s.to_bytes(octets, "big")
        return self.private.sign(data)


def key_pair(algorithm: int) -> list[Key]:
    """A key that signs keys and one that signs the zone."""
    return [Key(algorithm), Key(algorithm, flags=ZONE)]


def signed_data(name: dns.name.Name, rdataset, rrsig) -> bytes:
    """What a signature covers (RFC 4034 §3.1.8.1)."""
    if rrsig.labels < len(name) - 1:
        name = dns.name.from_text("*", name.split(rrsig.labels + 1)[1]) if rrsig.labels else dns.name.from_text("*.")
    head = name.to_digestable() + struct.pack("!HHI", rdataset.rdtype, rdataset.rdclass, rrsig.original_ttl)
    records = sorted({record.to_digestable() for record in rdataset})
    body = b"".join(head + struct.pack("!H", len(record)) + record for record in records)
    return rrsig.to_wire()[:18] + rrsig.signer.to_digestable() + body


def rrsig(name: dns.name.Name, rdataset, key: Key, signer: dns.name.Name, inception: int, expiration: int, **other):
    """An RRSIG; `other` sets fields to what they should not be, before the signature is made."""
    fields = {
        "type_covered": rdataset.rdtype,
        "algorithm": key.algorithm,
        "labels": len(name) - 1 - name.is_wild(),
        "original_ttl": rdataset.ttl,
        "expiration": expiration,
        "inception": inception,
        "key_tag": key.tag,
        "signer": signer,
        "signature": b"",
    }
    fields.update(other)
    record = dns.rdtypes.ANY.RRSIG.RRSIG(dns.rdataclass.IN, dns.rdatatype.RRSIG, **fields)
    return record.replace(signature=key.sign(signed_data(name, rdataset, record)))
