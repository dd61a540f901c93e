"""SPF, DKIM, ARC and DMARC of mail that strangers hand in by SMTP: signed by dkimpy, judged by python3-authres."""

import base64
import email.message
import smtplib
import socket

import authres
import dkim
import pytest
from conftest import ALICE
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from mail import files_with, find, read, submission, wait_for_log, wait_until

OURS = "mail.example.test"
# Loopback addresses are the hosts of the pretended internet.
PERMITTED, STRANGER, LIST = "127.0.2.1", "127.0.2.9", "127.0.2.3"
ZONES = {
    "strict.test": f"""
@ TXT "v=spf1 ip4:{PERMITTED} -all"
_dmarc TXT "v=DMARC1; p=reject"
out A {PERMITTED}
""",
    "gentle.test": """
@ TXT "v=spf1 -all"
_dmarc TXT "v=DMARC1; p=quarantine"
""",
    "soft.test": """
@ TXT "v=spf1 ~all"
_dmarc TXT "v=DMARC1; p=none"
""",
    "lists.test": f"""
@ TXT "v=spf1 ip4:{LIST} -all"
""",
    "2.0.127.in-addr.arpa": """
1 PTR out.strict.test.
9 PTR out.strict.test.
""",
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """An RSA key for each domain: its private half in PEM, and the text of its record."""
    made = {}
    for domain in ("strict.test", "lists.test"):
        key = rsa.generate_private_key(65537, 2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
        made[domain] = private, " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))
    return made


@pytest.fixture(scope="module")
def instance(module_factory, keys):
    zones = {zone: f"etc/zones/{zone}" for zone in ZONES}
    changes = {
        "resolverd": {"zones": zones},
        "smtpd": {
            "authentication": {"trusted-arc-sealers": ["lists.test"], "timeout": "5 s"},
            "enforce-sender": False,
        },
    }
    instance = module_factory(changes, start=False)
    for zone, text in ZONES.items():
        records = "$TTL 60\n@ SOA ns.ns.test. root.ns.test. 1 60 60 60 60\n@ NS ns.ns.test.\n" + text
        if zone in keys:
            records += f"key._domainkey TXT {keys[zone][1]}\n"
        instance.write(instance.directory / "etc" / "zones" / zone, records)
    instance.start()
    return instance


def message(author: str, subject: str, *fields: str) -> bytes:
    lines = [*fields, f"From: Somebody <{author}>", f"To: {ALICE}", f"Subject: {subject}",
             "Date: Sun, 29 Nov 2026 12:00:00 +0000", f"Message-ID: <{subject}@test>", "", "Hello.", ""]
    return "\r\n".join(lines).encode()


def signed(octets: bytes, key: bytes, domain: str = "strict.test") -> bytes:
    return dkim.sign(octets, b"key", domain.encode(), key, include_headers=[b"from", b"to", b"subject", b"date"]) + octets


def send(instance, octets: bytes, sender: str, address: str, recipient: str = ALICE, helo: str = "host.strict.test") -> None:
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], helo, timeout=30, source_address=(address, 0)) as client:
        client.sendmail(sender, [recipient], octets)


def arrived(instance, subject: str) -> email.message.EmailMessage:
    return read(wait_until(lambda: find(instance, ALICE, f"Subject: {subject}"), 20, subject)[0])


def results(message) -> dict[str, tuple[str, object]]:
    """What our Authentication-Results says, by method."""
    fields = [authres.parse(f"Authentication-Results: {value}") for value in message.get_all("Authentication-Results", [])]
    (ours,) = [field for field in fields if field.authserv_id == OURS]
    return {result.method: (result.result, result) for result in ours.results}


def test_permitted_client(instance):
    send(instance, message("a@strict.test", "permitted"), "a@strict.test", PERMITTED)
    got = arrived(instance, "permitted")
    found = results(got)
    assert {method: result for method, (result, _) in found.items()} == {
        "iprev": "pass", "spf": "pass", "dkim": "none", "dmarc": "pass"
    }
    assert found["spf"][1].smtp_mailfrom == "a@strict.test"
    assert f"(out.strict.test [{PERMITTED}])" in got["Received"].replace("\n", "")
    assert got["Received-SPF"].startswith("pass") and f"client-ip={PERMITTED}" in got["Received-SPF"]
    names = got.keys()
    assert names.index("Authentication-Results") < names.index("Received-SPF") < names.index("Received")


def test_stranger_is_refused_as_the_domain_asks(instance):
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(instance, message("a@strict.test", "forged"), "x@elsewhere.test", STRANGER)
    assert refusal.value.smtp_code == 550 and refusal.value.smtp_error.startswith(b"5.7.26 strict.test asks")
    assert not find(instance, ALICE, "Subject: forged")
    wait_for_log(instance, "smtpd", "dmarc-policy=reject")


def test_signature_saves_what_spf_fails(instance, keys):
    octets = signed(message("a@strict.test", "signed"), keys["strict.test"][0])
    send(instance, octets, "x@elsewhere.test", STRANGER)
    found = results(arrived(instance, "signed"))
    assert found["dkim"][0] == "pass" and found["dmarc"][0] == "pass" and found["iprev"][0] == "fail"
    assert found["dkim"][1].header_d == "strict.test"


@pytest.mark.parametrize("change", [(b"Hello.", b"Hullo."), (b"Subject: broken", b"Subject: Broken")])
def test_broken_signature(instance, keys, change):
    octets = signed(message("a@strict.test", "broken"), keys["strict.test"][0]).replace(*change)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(instance, octets, "x@elsewhere.test", STRANGER)
    assert refusal.value.smtp_code == 550


def test_quarantined_mail_lies_in_junk(instance):
    send(instance, message("a@gentle.test", "doubtful"), "a@gentle.test", STRANGER)
    junk = instance.directory / "mail"

    def there():
        return files_with(junk, "Subject: doubtful")

    (path,) = wait_until(there, 20, "doubtful")
    assert ".Junk/" in str(path)
    assert results(read(path.read_bytes()))["dmarc"][0] == "fail"
    assert not find(instance, ALICE, "Subject: doubtful")


def test_policy_none_is_delivered(instance):
    send(instance, message("a@soft.test", "soft"), "a@soft.test", STRANGER)
    found = results(arrived(instance, "soft"))
    assert found["spf"][0] == "softfail" and found["dmarc"][0] == "fail"


def test_mailing_list_with_a_trusted_seal(instance, keys):
    """The list changed the subject, so the author's signature is broken; its own seal says that it held before."""
    original = signed(message("a@strict.test", "discussion"), keys["strict.test"][0])
    seen = b"Authentication-Results: lists.test; dkim=pass header.d=strict.test; dmarc=pass header.from=strict.test\r\n"
    changed = seen + original.replace(b"Subject: discussion", b"Subject: [list] discussion")
    seal = dkim.arc_sign(
        changed, b"key", b"lists.test", keys["lists.test"][0], b"lists.test", include_headers=[b"from", b"to", b"subject"]
    )
    send(instance, b"".join(seal) + changed, "list@lists.test", LIST)
    got = wait_until(lambda: find(instance, ALICE, "[list] discussion"), 20, "the list's mail")[0]
    found = results(read(got))
    assert found["arc"][0] == "pass" and found["dmarc"][0] == "fail"
    # A seal of somebody whom nobody trusts changes nothing.
    with pytest.raises(smtplib.SMTPDataError):
        send(instance, b"".join(seal).replace(b"lists.test", b"liars.test") + changed, "list@lists.test", LIST)


def test_forged_results_are_removed(instance):
    fields = (f"Authentication-Results: {OURS}; dmarc=pass header.from=bank.test", "Authentication-Results: other.test; spf=pass")
    send(instance, message("a@soft.test", "claims", *fields), "a@soft.test", STRANGER)
    got = arrived(instance, "claims")
    assert results(got)["dmarc"][0] == "fail"
    assert len(got.get_all("Authentication-Results")) == 2 and "bank.test" not in got.as_string()


def test_bounce_is_checked_by_the_name_of_its_host(instance):
    send(instance, message("mailer@strict.test", "bounce"), "", PERMITTED, helo="strict.test")
    found = results(arrived(instance, "bounce"))
    assert found["spf"][0] == "pass" and found["dmarc"][0] == "pass"


def test_users_are_not_checked(instance):
    with submission(instance, ALICE) as client:
        client.sendmail(ALICE, [ALICE], message("a@strict.test", "user"))
    assert "Authentication-Results" not in arrived(instance, "user")


def test_dns_down(make_instance):
    """Without resolverd mail is taken, and says so; or it waits, where that is wanted."""
    for defers in (False, True):
        instance = make_instance({"smtpd": {"authentication": {"defer-in-trouble": defers, "timeout": "2 s"}}})
        instance.supervisor.down("resolverd")
        if defers:
            with pytest.raises(smtplib.SMTPDataError) as refusal:
                send(instance, message("a@strict.test", "later"), "a@strict.test", STRANGER)
            assert refusal.value.smtp_code == 451 and refusal.value.smtp_error.startswith(b"4.7.24")
        else:
            send(instance, message("a@strict.test", "now"), "a@strict.test", STRANGER)
            found = results(arrived(instance, "now"))
            assert found["spf"][0] == "temperror" and found["dmarc"][0] == "temperror"


def test_silent_dns_holds_mail_up_for_seconds_only(make_instance):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        changes = {
            "resolverd": {"mode": "forward", "forwarders": [f"127.0.0.1:{silent.getsockname()[1]}"]},
            "smtpd": {"authentication": {"timeout": "2 s"}},
        }
        instance = make_instance(changes)
        send(instance, message("a@silent-host.org", "silence"), "a@silent-host.org", STRANGER)
        assert results(arrived(instance, "silence"))["dmarc"][0] == "temperror"
