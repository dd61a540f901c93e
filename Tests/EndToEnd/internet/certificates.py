"""An authority of certificates, and the certificates of hosts, with what TLSA records say of them."""

import datetime
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


class Certificate:
    """A certificate with its key, in files."""

    def __init__(self, directory: Path, name: str, names: list[str], issuer: "Certificate | None" = None, days: int = 30):
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        builder = x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=issuer.certificate.subject if issuer else subject,
            public_key=self.key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=60),
            not_valid_after=now + datetime.timedelta(days=days),
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in names]), critical=False)
        self.certificate = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())
        chain = self.certificate.public_bytes(PEM) + (issuer.certificate.public_bytes(PEM) if issuer else b"")
        private = self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.file, self.key_file = directory / f"{name}.crt", directory / f"{name}.key"
        self.file.write_bytes(chain)
        self.key_file.write_bytes(private)
        # Both in one, as Postfix wants it.
        self.both = directory / f"{name}.pem"
        self.both.write_bytes(private + chain)

    def tlsa(self, usage: int, selector: int, matching: int) -> str:
        """The data of a TLSA record."""
        octets = self.key.public_key().public_bytes(DER, SPKI) if selector else self.certificate.public_bytes(DER)
        digest = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}[matching]
        return f"{usage} {selector} {matching} {digest.hex()}"
