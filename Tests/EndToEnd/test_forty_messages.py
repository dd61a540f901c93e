"""A pretended internet: messages of every outcome of SPF, DKIM, ARC and DMARC, sent by smtplib, curl and swaks. What becomes of each, and
what Authentication-Results says (read by python3-authres), is compared with the table, and the table with pyspf and dkimpy."""

import base64
import re
import smtplib
import subprocess
from dataclasses import dataclass, field
from typing import Callable

import authres
import dkim
import pytest
import spf
from conftest import ALICE
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from mail import files_with, find, read, wait_until

OURS = "mail.example.test"
PERMITTED, FORWARDER, LIST, STRANGER = "127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.9"
SIGNERS = ("strict.test", "gentle.test", "lists.test", "liars.test", "twice.test", "soft.test")

RECORDS: dict[str, list[tuple[str, str]]] = {
    "strict.test": [("TXT", f"v=spf1 ip4:{PERMITTED} -all")],
    "_dmarc.strict.test": [("TXT", "v=DMARC1; p=reject")],
    "out.strict.test": [("A", PERMITTED), ("TXT", f"v=spf1 ip4:{PERMITTED} -all")],
    "revoked._domainkey.strict.test": [("TXT", "v=DKIM1; k=rsa; p=")],
    "lost._domainkey.strict.test": [("CNAME", "one.loops.test")],
    "gentle.test": [("TXT", "v=spf1 -all")],
    "_dmarc.gentle.test": [("TXT", "v=DMARC1; p=quarantine")],
    "soft.test": [("TXT", "v=spf1 ~all")],
    "_dmarc.soft.test": [("TXT", "v=DMARC1; p=none")],
    "neutral.test": [("TXT", "v=spf1 ?all")],
    "nothing.test": [],
    "wrong.test": [("TXT", "v=spf1 ip4:nonsense -all")],
    "_dmarc.wrong.test": [("TXT", "v=DMARC1; p=quarantine")],
    "twice.test": [("TXT", f"v=spf1 ip4:{PERMITTED} -all"), ("TXT", "v=spf1 -all")],
    "_dmarc.twice.test": [("TXT", "v=DMARC1; p=reject")],
    "deep.test": [("TXT", "v=spf1 " + " ".join(f"include:i{n}.deep.test" for n in range(11)) + " -all")],
    **{f"i{n}.deep.test": [("TXT", "v=spf1 ip4:192.0.2.1 ?all")] for n in range(11)},
    "loops.test": [],
    "one.loops.test": [("CNAME", "other.loops.test")],
    "other.loops.test": [("CNAME", "one.loops.test")],
    "down.loops.test": [("CNAME", "one.loops.test")],
    "_dmarc.silent.loops.test": [("CNAME", "one.loops.test")],
    "_dmarc.down.loops.test": [("TXT", "v=DMARC1; p=reject")],
    "forward.test": [("TXT", f"v=spf1 ip4:{FORWARDER} -all")],
    "lists.test": [("TXT", f"v=spf1 ip4:{LIST} -all")],
    "liars.test": [("TXT", f"v=spf1 ip4:{LIST} -all")],
    "exact.test": [("TXT", f"v=spf1 ip4:{PERMITTED} -all")],
    "news.exact.test": [("TXT", f"v=spf1 ip4:{PERMITTED} -all")],
    "_dmarc.exact.test": [("TXT", "v=DMARC1; p=reject; aspf=s; adkim=s")],
    "family.test": [("TXT", "v=spf1 -all")],
    "child.family.test": [("A", "192.0.2.1")],
    "_dmarc.family.test": [("TXT", "v=DMARC1; p=none; sp=reject; np=quarantine")],
    "trying.test": [("TXT", "v=spf1 -all")],
    "_dmarc.trying.test": [("TXT", "v=DMARC1; p=reject; t=y")],
    "partly.test": [("TXT", "v=spf1 -all")],
    "_dmarc.partly.test": [("TXT", "v=DMARC1; p=reject; pct=0")],
    "redirected.test": [("TXT", "v=spf1 redirect=strict.test")],
    "_dmarc.redirected.test": [("TXT", "v=DMARC1; p=reject")],
    "included.test": [("TXT", "v=spf1 include:strict.test -all")],
    "_dmarc.included.test": [("TXT", "v=DMARC1; p=reject")],
    "hosts.test": [("TXT", "v=spf1 a:out.strict.test -all")],
    "_dmarc.hosts.test": [("TXT", "v=DMARC1; p=reject")],
}


class Keys:
    """An RSA and an Ed25519 key for each domain that signs; their records go to RECORDS."""

    def __init__(self):
        self.keys = {}
        # One is as good as several, and takes a while to be made.
        private = rsa.generate_private_key(65537, 2048)
        for domain in SIGNERS:
            pem = private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
            public = private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            small = ed25519.Ed25519PrivateKey.generate()
            raw = serialization.Encoding.Raw
            seed = small.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
            point = small.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
            self.keys[domain] = {b"rsa": pem, b"ed25519": base64.b64encode(seed)}
            for kind, octets in (("rsa", public), ("ed25519", point)):
                text = f"v=DKIM1; k={kind}; p=" + base64.b64encode(octets).decode()
                RECORDS[f"{kind}._domainkey.{domain}"] = [("TXT", text)]

    def sign(self, octets: bytes, domain: str = "strict.test", kind: bytes = b"rsa", selector: bytes | None = None, **options) -> bytes:
        algorithm = b"rsa-sha256" if kind == b"rsa" else b"ed25519-sha256"
        options.setdefault("include_headers", [b"from", b"to", b"subject", b"date"])
        field = dkim.sign(
            octets, selector or kind, domain.encode(), self.keys[domain][kind], signature_algorithm=algorithm, **options
        )
        return field + octets

    def seal(self, octets: bytes, domain: str, author: str) -> bytes:
        seen = f"Authentication-Results: {domain}; dkim=pass header.d={author}; dmarc=pass header.from={author}\r\n"
        changed = seen.encode() + octets
        fields = dkim.arc_sign(
            changed, b"rsa", domain.encode(), self.keys[domain][b"rsa"], domain.encode(),
            include_headers=[b"from", b"to", b"subject"],
        )
        return b"".join(fields) + changed


@dataclass
class Case:
    """A message, and what is to become of it: 550, 451, `inbox` or `junk`."""

    name: str
    end: int | str
    author: str
    sender: str
    client: str
    spf: str
    dkim: str
    dmarc: str
    change: Callable[[Keys, bytes], bytes] = field(default=lambda keys, octets: octets)
    arc: str = "none"
    helo: str = "host.nothing.test"


def signed(domain: str = "strict.test", kind: bytes = b"rsa", **options):
    return lambda keys, octets: keys.sign(octets, domain, kind, **options)


def then(first, old: bytes, new: bytes):
    """Signs, and then something on the way changes it."""
    return lambda keys, octets: first(keys, octets).replace(old, new)


def listed(domain: str, break_seal: bool = False):
    """A mailing list changes the subject of a signed message, and seals what it saw."""

    def change(keys: Keys, octets: bytes) -> bytes:
        sealed = keys.seal(keys.sign(octets).replace(b"Subject: ", b"Subject: [list] "), domain, "strict.test")
        return sealed.replace(b"[list]", b"[tsil]") if break_seal else sealed

    return change


SRS = "SRS0=ab12=7Q=strict.test=a@forward.test"
STRICT, GENTLE, SOFT, NOBODY = "a@strict.test", "a@gentle.test", "a@soft.test", "x@nothing.test"
CASES = [
    # Permitted, or not.
    Case("permitted", "inbox", STRICT, STRICT, PERMITTED, "pass", "none", "pass"),
    Case("stranger", 550, STRICT, STRICT, STRANGER, "fail", "none", "fail"),
    Case("foreign sender", 550, STRICT, NOBODY, STRANGER, "none", "none", "fail"),
    Case("quarantine", "junk", GENTLE, GENTLE, STRANGER, "fail", "none", "fail"),
    Case("softfail", "inbox", SOFT, SOFT, STRANGER, "softfail", "none", "fail"),
    Case("neutral", "inbox", "a@neutral.test", "a@neutral.test", STRANGER, "neutral", "none", "none"),
    Case("no records", "inbox", NOBODY, NOBODY, STRANGER, "none", "none", "none"),
    Case("redirect", "inbox", "a@redirected.test", "a@redirected.test", PERMITTED, "pass", "none", "pass"),
    Case("include", "inbox", "a@included.test", "a@included.test", PERMITTED, "pass", "none", "pass"),
    Case("include of another", 550, "a@included.test", "a@included.test", STRANGER, "fail", "none", "fail"),
    Case("by address", "inbox", "a@hosts.test", "a@hosts.test", PERMITTED, "pass", "none", "pass"),
    # Signed.
    Case("signed", "inbox", STRICT, NOBODY, STRANGER, "none", "pass", "pass", signed()),
    Case("ed25519", "inbox", STRICT, NOBODY, STRANGER, "none", "pass", "pass", signed(kind=b"ed25519")),
    Case("signed twice", "inbox", STRICT, NOBODY, STRANGER, "none", "pass", "pass",
         lambda keys, octets: keys.sign(keys.sign(octets), kind=b"ed25519")),
    Case("simple", "inbox", STRICT, NOBODY, STRANGER, "none", "pass", "pass", signed(canonicalize=(b"simple", b"simple"))),
    Case("relaxed", "inbox", STRICT, NOBODY, STRANGER, "none", "pass", "pass",
         then(signed(canonicalize=(b"relaxed", b"relaxed")), b"Hello.\r\n", b"Hello.  \r\n")),
    Case("signed, SPF fails", "inbox", STRICT, STRICT, STRANGER, "fail", "pass", "pass", signed()),
    Case("permitted, broken", "inbox", STRICT, STRICT, PERMITTED, "pass", "fail", "pass", then(signed(), b"Hello.", b"Hullo.")),
    Case("quarantine, signed", "inbox", GENTLE, GENTLE, STRANGER, "fail", "pass", "pass", signed("gentle.test")),
    Case("broken body", 550, STRICT, NOBODY, STRANGER, "none", "fail", "fail", then(signed(), b"Hello.", b"Hullo.")),
    Case("footer", 550, STRICT, NOBODY, STRANGER, "none", "fail", "fail", then(signed(), b"Hello.\r\n", b"Hello.\r\n-- \r\nlist\r\n")),
    Case("broken subject", 550, STRICT, NOBODY, STRANGER, "none", "fail", "fail", then(signed(), b"Subject: ", b"Subject: Re: ")),
    Case("no key", 550, STRICT, NOBODY, STRANGER, "none", "permerror", "fail", signed(selector=b"missing")),
    Case("revoked key", 550, STRICT, NOBODY, STRANGER, "none", "permerror", "fail", signed(selector=b"revoked")),
    Case("key out of reach", 451, STRICT, NOBODY, STRANGER, "none", "temperror", "fail", signed(selector=b"lost")),
    # Aligned, or not.
    Case("signed by its parent", "inbox", "a@sub.strict.test", NOBODY, STRANGER, "none", "pass", "pass", signed()),
    Case("signed by another", 550, STRICT, NOBODY, STRANGER, "none", "pass", "fail", signed("lists.test")),
    Case("sent by another", 550, STRICT, "b@forward.test", FORWARDER, "pass", "none", "fail"),
    Case("strictly aligned", "inbox", "a@exact.test", "a@exact.test", PERMITTED, "pass", "none", "pass"),
    Case("not strictly aligned", 550, "a@exact.test", "a@news.exact.test", PERMITTED, "pass", "none", "fail"),
    Case("bounce", "inbox", STRICT, "", PERMITTED, "pass", "none", "pass", helo="out.strict.test"),
    Case("forged bounce", 550, STRICT, "", STRANGER, "fail", "none", "fail", helo="out.strict.test"),
    # Policies.
    Case("subdomain", 550, "a@child.family.test", NOBODY, STRANGER, "none", "none", "fail"),
    Case("no such subdomain", "junk", "a@nothere.family.test", NOBODY, STRANGER, "none", "none", "fail"),
    Case("on trial", "junk", "a@trying.test", NOBODY, STRANGER, "none", "none", "fail"),
    Case("percentage", "junk", "a@partly.test", NOBODY, STRANGER, "none", "none", "fail"),
    Case("two authors", 550, STRICT, STRICT, PERMITTED, "pass", "none", "permerror",
         lambda keys, octets: b"From: b@soft.test\r\n" + octets),
    # Faults of the DNS.
    Case("SPF with a fault", "junk", "a@wrong.test", "a@wrong.test", STRANGER, "permerror", "none", "fail"),
    Case("two SPF records, signed", "inbox", "a@twice.test", "a@twice.test", PERMITTED, "permerror", "pass", "pass", signed("twice.test")),
    Case("too many lookups", "inbox", "a@deep.test", "a@deep.test", STRANGER, "permerror", "none", "none"),
    Case("SPF out of reach", 451, "a@down.loops.test", "a@down.loops.test", PERMITTED, "temperror", "none", "fail"),
    Case("policy out of reach", "inbox", "a@silent.loops.test", NOBODY, STRANGER, "none", "none", "temperror"),
    # Forwarded.
    Case("SRS", "inbox", STRICT, SRS, FORWARDER, "pass", "pass", "pass", signed()),
    Case("SRS, unsigned", 550, STRICT, SRS, FORWARDER, "pass", "none", "fail"),
    Case("SRS, policy none", "inbox", SOFT, SRS, FORWARDER, "pass", "none", "fail"),
    Case("list with ARC", "inbox", STRICT, "list@lists.test", LIST, "pass", "fail", "fail", listed("lists.test"), "pass"),
    Case("list that nobody trusts", 550, STRICT, "list@liars.test", LIST, "pass", "fail", "fail", listed("liars.test"), "pass"),
    Case("broken seal", 550, STRICT, "list@lists.test", LIST, "pass", "fail", "fail", listed("lists.test", True), "fail"),
]


@pytest.fixture(scope="module")
def keys():
    return Keys()


@pytest.fixture(scope="module")
def instance(module_factory, keys):
    zones = sorted({".".join(name.split(".")[-2:]) for name in RECORDS})
    instance = module_factory(
        {
            "resolverd": {"zones": {zone: f"etc/zones/{zone}" for zone in zones}},
            "smtpd": {"authentication": {"trusted-arc-sealers": ["lists.test"], "timeout": "5 s"}},
        },
        start=False,
    )
    for zone in zones:
        lines = ["$TTL 60", f"{zone}. SOA ns.ns.test. root.ns.test. 1 60 60 60 60", f"{zone}. NS ns.ns.test."]
        for name, records in RECORDS.items():
            if name == zone or name.endswith("." + zone):
                lines += [f"{name}. {kind} {presentation(kind, value)}" for kind, value in records]
        instance.write(instance.directory / "etc" / "zones" / zone, "\n".join(lines) + "\n")
    instance.start()
    return instance


def presentation(kind: str, value: str) -> str:
    if kind == "TXT":
        return " ".join(f'"{value[at : at + 200]}"' for at in range(0, len(value), 200))
    return f"{value}." if kind == "CNAME" else value


# Who sends: each gives the last reply's code.


def by_smtplib(port: int, case: Case, octets: bytes, path) -> int:
    with smtplib.SMTP("127.0.0.1", port, case.helo, timeout=30, source_address=(case.client, 0)) as client:
        try:
            client.sendmail(case.sender, [ALICE], octets)
        except smtplib.SMTPDataError as error:
            return error.smtp_code
    return 250


def by_curl(port: int, case: Case, octets: bytes, path) -> int:
    path.write_bytes(octets)
    command = ["curl", "--silent", "--interface", case.client, "--mail-from", case.sender, "--mail-rcpt", ALICE]
    command += ["--upload-file", str(path), "--write-out", "%{response_code}", f"smtp://127.0.0.1:{port}/{case.helo}"]
    return int(subprocess.run(command, capture_output=True, text=True, timeout=30).stdout)


def by_swaks(port: int, case: Case, octets: bytes, path) -> int:
    # It makes CRLF of line ends itself.
    path.write_bytes(octets.replace(b"\r\n", b"\n"))
    command = ["swaks", "--server", f"127.0.0.1:{port}", "--local-interface", case.client, "--helo", case.helo]
    command += ["--from", case.sender or "<>", "--to", ALICE, "--data", f"@{path}"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    replies = re.findall(r"^<(?:-|\*\*) +(\d{3})[ -]", text.split(" -> .\n")[-1], re.MULTILINE)
    return int(replies[0])


CLIENTS = (by_smtplib, by_curl, by_smtplib, by_swaks)


def followed(name: str) -> list[tuple[str, str]] | None:
    """The records of a name behind its aliases; nothing for one that isn't there, None for aliases that don't end."""
    for _ in range(5):
        records = RECORDS.get(name.lower().rstrip("."), [])
        if not records or records[0][0] != "CNAME":
            return records
        name = records[0][1]
    return None


def key_text(name: bytes, timeout: int = 5) -> bytes | None:
    records = followed(name.decode())
    assert records is not None
    return records[0][1].encode() if records else None


def lookup(name, kind, *_):
    records = followed(name)
    if records is None:
        raise spf.TempError("no end")
    return [((name, kind), (value.encode(),) if kind == "TXT" else value) for own, value in records if own == kind]


def holds(octets: bytes, index: int) -> bool:
    try:
        return dkim.DKIM(octets).verify(idx=index, dnsfunc=key_text)
    except dkim.ValidationError:
        return False


def judged(case: Case, octets: bytes) -> tuple[str, str, str]:
    """What pyspf and dkimpy say of SPF, DKIM and ARC."""
    query = spf.query(case.client, case.sender or f"postmaster@{case.helo}", case.helo, verbose=False)
    result = query.check()[0]
    count = octets.lower().count(b"dkim-signature:")
    if case.dkim in ("permerror", "temperror"):
        signature = case.dkim
    else:
        passes = [holds(octets, index) for index in range(count)]
        signature = "none" if not passes else "pass" if any(passes) else "fail"
    seal = "none"
    if b"ARC-Seal:" in octets:
        seal = dkim.arc_verify(octets, dnsfunc=key_text)[0].decode()
    return result, signature, seal


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_message(instance, keys, case, tmp_path, monkeypatch):
    subject = "case " + case.name.replace(",", "")
    lines = [f"From: Somebody <{case.author}>", f"To: {ALICE}", f"Subject: {subject}",
             "Date: Sun, 29 Nov 2026 12:00:00 +0000", f"Message-ID: <{subject.replace(' ', '.')}@test>", "", "Hello.", ""]
    octets = case.change(keys, "\r\n".join(lines).encode())
    monkeypatch.setattr(spf, "DNSLookup", lookup)
    assert judged(case, octets) == (case.spf, case.dkim, case.arc)
    client = CLIENTS[CASES.index(case) % len(CLIENTS)] if case.sender else by_smtplib
    code = client(instance.ports["smtp"], case, octets, tmp_path / "message")
    assert code == (case.end if isinstance(case.end, int) else 250)
    identifier = f"<{subject.replace(' ', '.')}@test>"
    if isinstance(case.end, int):
        assert not find(instance, ALICE, identifier)
        return
    got = read(wait_until(lambda: there(instance, case.end, identifier), 20, case.name))
    fields = [authres.parse(f"Authentication-Results: {value}") for value in got.get_all("Authentication-Results")]
    (ours,) = [found for found in fields if found.authserv_id == OURS]
    found = {}
    for result in ours.results:
        found.setdefault(result.method, set()).add(result.result)
    assert case.dkim in found["dkim"] and (case.dkim == "pass" or "pass" not in found["dkim"])
    assert case.spf in found["spf"] and found["dmarc"] == {case.dmarc}
    assert found.get("arc", {"none"}) == {case.arc}


def there(instance, place: str, identifier: str) -> bytes | None:
    if place == "inbox":
        return next(iter(find(instance, ALICE, identifier)), None)
    found = [path for path in files_with(instance.directory / "mail", identifier) if ".Junk/" in str(path)]
    return found[0].read_bytes() if found else None
