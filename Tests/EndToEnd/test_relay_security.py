"""DANE and MTA-STS on a pretended internet with signed zones, Postfix as every receiver and as second opinion."""

import functools
import http.server
import re
import shutil
import smtplib
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ALICE, temporary_directory
from internet.certificates import Certificate
from internet.keys import ECDSAP256, key_pair
from internet.namespace import Namespace
from internet.processes import NSD
from internet.signing import Zone
from mail import wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Benchmarks"))

import postfix  # noqa: E402

pytestmark = pytest.mark.root

ROOT, PLAIN = "45.0.0.1", "45.0.0.2"
SERIAL = "ns.root. root.root. 1 3600 600 86400 60"


@dataclass(frozen=True)
class Case:
    """A domain with one host, and what becomes of mail for it."""

    name: str
    # Which certificate the host shows; None for no TLS.
    certificate: str | None
    # What the log must say: policy, verified, and "sent" or "waits".
    policy: str
    verified: str
    result: str = "sent"
    # Usage, selector, matching and whose certificate.
    records: tuple = ()
    # Changes zone, and how it's signed.
    zone: str = ""
    host: str = ""
    mode: str = ""
    patterns: tuple = ()
    web: str = "good"
    # Whether Postfix says the same of it ("" where it isn't asked): its word for the connection.
    second: str = ""
    domain: str = field(default="", compare=False)


CASES = (
    Case("nothing", "other", "default", "no", second="Trusted"),
    Case("ee", "other", "dane", "dane-ee", records=((3, 1, 1, "other"),), second="Verified"),
    Case("ee-whole", "other", "dane", "dane-ee", records=((3, 0, 2, "other"),), second="Verified"),
    Case("ee-expired", "expired", "dane", "dane-ee", records=((3, 1, 1, "expired"),), second="Verified"),
    Case("ee-wrong", "other", "dane", "no", "waits", records=((3, 1, 1, "good"),), second="waits"),
    Case("ee-second", "other", "dane", "dane-ee", records=((3, 1, 1, "good"), (3, 1, 1, "other")), second="Verified"),
    Case("ta", "own", "dane", "dane-ta", records=((2, 0, 1, "authority"),), second="Verified"),
    Case("ta-name", "other", "dane", "no", "waits", records=((2, 0, 1, "authority"),), second="waits"),
    Case("ta-expired", "expired", "dane", "no", "waits", records=((2, 1, 1, "authority"),), second="waits"),
    Case("pkix", "other", "dane", "no", records=((1, 1, 1, "good"),), second="Trusted"),
    Case("no-tls", None, "dane", "no", "waits", records=((3, 1, 1, "good"),), second="waits"),
    Case("bogus", "other", "", "", "waits", records=((3, 1, 1, "other"),), zone="bogus", second="waits"),
    Case("alias", "other", "dane", "dane-ee", records=((3, 1, 1, "other"),), zone="alias", second="Verified"),
    Case("unsigned", "other", "default", "no", records=((3, 1, 1, "good"),), zone="plain", second="Trusted"),
    Case("sts", "own", "mta-sts", "pkix", mode="enforce"),
    Case("sts-wild", "own", "mta-sts", "pkix", mode="enforce", patterns=("*.{domain}",)),
    Case("sts-mx", "own", "", "", "waits", mode="enforce", patterns=("mx2.{domain}",)),
    Case("sts-name", "other", "mta-sts", "no", "waits", mode="enforce"),
    Case("sts-testing", "other", "mta-sts", "no", mode="testing"),
    Case("sts-web", "other", "default", "no", mode="enforce", web="other"),
    Case("ta-domain", "domain", "dane", "dane-ta", records=((2, 0, 1, "authority"),), second="Verified"),
    # Nobody answers for what is below the host.
    Case("silent", "other", "", "", "waits", zone="silent", second="waits"),
    # The host's zone is signed, the domain's isn't: anybody may have named the host. Postfix looks at the records all the same.
    Case("mixed", "other", "default", "no", records=((3, 1, 1, "other"),), zone="mixed", second="Trusted"),
    Case("mixed-wrong", "other", "default", "no", records=((3, 1, 1, "good"),), zone="mixed", second="waits"),
    # The second host is the one that it says.
    Case("two", "other", "dane", "dane-ee", records=((3, 1, 1, "good"),), zone="two", second="Verified"),
    Case("sts-none", "other", "default", "no", mode="none"),
    Case("sts-redirect", "other", "default", "no", mode="enforce", web="redirect"),
    Case("sts-testing-mx", "other", "mta-sts", "no", mode="testing", patterns=("mx2.{domain}",)),
    Case("sts-no-tls", None, "mta-sts", "no", "waits", mode="enforce"),
    Case("sts-expired", "expired", "mta-sts", "no", "waits", mode="enforce"),
    # Where both say something, DANE decides.
    Case("both-wrong", "own", "dane", "no", "waits", records=((3, 1, 1, "good"),), mode="enforce", second="waits"),
    Case("both", "other", "dane", "dane-ee", records=((3, 1, 1, "other"),), mode="enforce", patterns=("mx2.{domain}",)),
)
BY_NAME = {case.name: case for case in CASES}


class Web(http.server.BaseHTTPRequestHandler):
    """The policy of one domain."""

    def __init__(self, text: str, *arguments):
        self.text = text
        super().__init__(*arguments)

    def do_GET(self):
        if not self.text:
            # To be followed by nobody (RFC 8461 section 3.3).
            self.send_response(301)
            self.send_header("Location", "https://45.0.0.1/.well-known/mta-sts.txt")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        octets = self.text.encode()
        self.send_response(200 if self.path == "/.well-known/mta-sts.txt" else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *arguments):
        pass


class Internet:
    """Zones, hosts and policies of all cases."""

    def __init__(self, base: Path):
        self.base = base
        base.chmod(0o755)
        self.namespace = Namespace()
        place = base / "certificates"
        place.mkdir()
        self.authority = Certificate(place, "authority", [])
        # The root is everybody's zone; one that isn't signed stands beside it.
        self.root = Zone(".", f"@ SOA {SERIAL}\n@ NS ns.root.\nns.root. A {ROOT}\nplain. NS ns.plain.\nns.plain. A {PLAIN}\n")
        self.plain = Zone("plain.", f"@ SOA {SERIAL}\n@ NS ns.plain.\nns A {PLAIN}\n")
        self.services, self.seconds, self.webs, self.bogus = [], [], [], []
        for number, case in enumerate(CASES, 1):
            self.add(case, f"45.9.0.{number}", f"45.9.1.{number}", place)
        keys = key_pair(ECDSAP256)
        self.root.sign(keys)
        for name in self.bogus:
            self.root.sign_set(name, "TLSA", signer=self.root.name("elsewhere."))
        self.anchors = base / "anchors"
        self.anchors.write_text("".join(f". 3600 IN DS {key.ds(self.root.origin)}\n" for key in keys if key.is_entry_point))
        self.hints = base / "hints"
        self.hints.write_text(f". 3600 NS ns.root.\nns.root. 3600 A {ROOT}\n")
        self.server = NSD(base / "nsd", [ROOT, PLAIN], {".": self.root.text(), "plain.": self.plain.text()})

    def add(self, case: Case, address: str, web: str, place: Path) -> None:
        is_plain = case.zone in ("plain", "mixed")
        zone = self.plain if is_plain else self.root
        domain = f"{case.name}.plain" if is_plain else f"{case.name}.org"
        host = f"mx.{case.name}.org" if case.zone == "mixed" else f"mx.{domain}"
        names = {"own": [host], "good": [host], "expired": [host], "other": ["elsewhere.org"], "domain": [domain]}
        made = {"authority": self.authority}
        for name in {"good", case.certificate or "good", *(record[3] for record in case.records)} - {"authority"}:
            made[name] = Certificate(place, f"{case.name}-{name}", names[name], self.authority, -1 if name == "expired" else 30)
        owner = host
        if case.zone == "alias":
            owner = f"host.{domain}"
            zone.add(zone.name(f"{host}."), "CNAME", f"{owner}.")
        hosts = [f"10 {host}."]
        if case.zone == "two":
            second, other = f"mx2.{domain}", f"45.9.2.{len(self.services) + 1}"
            hosts.append(f"20 {second}.")
            zone.add(zone.name(f"{second}."), "A", other)
            zone.add(zone.name(f"_25._tcp.{second}."), "TLSA", made["other"].tlsa(3, 1, 1))
            self.seconds.append((other, made["other"]))
        zone.add(zone.name(f"{domain}."), "MX", *hosts)
        if case.zone == "mixed":
            zone = self.root
        zone.add(zone.name(f"{owner}."), "A", address)
        if case.zone == "silent":
            zone.add(zone.name(f"_tcp.{owner}."), "NS", f"{owner}.")
        if case.records:
            name = zone.name(f"_25._tcp.{owner}.")
            zone.add(name, "TLSA", *(made[whose].tlsa(*numbers) for *numbers, whose in case.records))
            if case.zone == "bogus":
                self.bogus.append(name)
        self.services.append((address, made[case.certificate] if case.certificate else None))
        if case.mode:
            zone.add(zone.name(f"_mta-sts.{domain}."), "TXT", '"v=STSv1; id=1;"')
            zone.add(zone.name(f"mta-sts.{domain}."), "A", web)
            patterns = [pattern.format(domain=domain) for pattern in case.patterns] or [host]
            lines = ["version: STSv1", f"mode: {case.mode}", *(f"mx: {pattern}" for pattern in patterns), "max_age: 86400"]
            shown = ["elsewhere.org"] if case.web == "other" else [f"mta-sts.{domain}"]
            certificate = Certificate(place, f"{case.name}-web", shown, self.authority)
            self.webs.append((web, certificate, "" if case.web == "redirect" else "\r\n".join(lines) + "\r\n"))

    def start(self) -> None:
        self.server.start(self.namespace)
        self.server.wait_ready(self.namespace)
        with self.namespace.inside():
            for address, certificate, text in self.webs:
                server = http.server.ThreadingHTTPServer((address, 443), functools.partial(Web, text))
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate.file, certificate.key_file)
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
                threading.Thread(target=server.serve_forever, daemon=True).start()
        self.postfix = postfix.Postfix(
            self.base / "postfix",
            2525,
            0,
            {
                "virtual_mailbox_domains": "",
                "relay_domains": "",
                "transport_maps": "",
                "inet_interfaces": "all",
                "smtp_dns_support_level": "dnssec",
                "smtp_tls_security_level": "dane",
                "smtp_tls_CAfile": str(self.authority.file),
                "smtp_tls_loglevel": "1",
                "smtp_bind_address": "44.0.0.1",
                "minimal_backoff_time": "300s",
                "proxy_interfaces": "",
                "smtp_destination_concurrency_limit": "5",
            },
            self.lines(),
        )
        with self.namespace.inside():
            self.control("start")

    def lines(self) -> str:
        """Postfix's services: each host of the world is one, which takes everything and keeps nothing."""
        lines = ["discard unix - - n - - discard"]
        for address, certificate in self.services + self.seconds:
            options = ["mynetworks=0.0.0.0/0", "content_filter=discard:", "myhostname=receiver.org"]
            options += [f"smtpd_tls_chain_files={certificate.both}", "smtpd_tls_security_level=may"] if certificate else []
            lines.append(f"{address}:25 inet n - n - - smtpd" + "".join(f"\n  -o {option}" for option in options))
        return "\n".join(lines) + "\n"

    def control(self, verb: str) -> None:
        """Postfix finds our resolver in /etc/resolv.conf."""
        (self.base / "resolv.conf").write_text("nameserver 127.0.0.1\noptions edns0 trust-ad\n")
        script = 'mount --bind "$0/resolv.conf" /etc/resolv.conf && exec postfix -c "$0/postfix/etc" "$1"'
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(self.base), verb]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def stop(self) -> None:
        with self.namespace.inside():
            self.control("stop")
        self.server.stop()
        self.namespace.close()

    def domain(self, name: str) -> str:
        return f"{name}.{'plain' if BY_NAME[name].zone in ('plain', 'mixed') else 'org'}"


@pytest.fixture(scope="module")
def internet():
    base = temporary_directory()
    world = Internet(base)
    world.start()
    yield world
    world.stop()
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def instance(internet, module_factory):
    """All of Martlet in there."""
    changes = {
        "resolverd": {
            "mode": "recursive",
            "root-hints": "etc/root.hints",
            "trust-anchors": "etc/root.anchors",
            "trust-anchor-updates": "no",
            "threads": 1,
            "listen": ["127.0.0.1:53"],
        },
        "smtpd": {"relay-from": ["127.0.0.0/8"]},
        "remote-relay": {"authorities": "etc/authority.pem"},
    }
    made = module_factory(changes, start=False)
    shutil.copy(internet.hints, made.directory / "etc/root.hints")
    shutil.copy(internet.anchors, made.directory / "etc/root.anchors")
    shutil.copy(internet.authority.file, made.directory / "etc/authority.pem")
    with internet.namespace.inside():
        made.start()
    return made


def send(internet, port: int, names) -> None:
    with internet.namespace.inside(), smtplib.SMTP("127.0.0.1", port, "client.example.test", timeout=60) as client:
        for name in names:
            client.sendmail(ALICE, [f"bob@{internet.domain(name)}"], f"From: {ALICE}\r\nSubject: {name}\r\n\r\nhello\r\n")


def outcomes(log: str, domain: str) -> list[str]:
    """What Postfix says of its sending to a domain."""
    return re.findall(rf"postfix/smtp\[\d+\]: \w+: to=<bob@{re.escape(domain)}>.* status=(\w+)", log)


@pytest.fixture(scope="module")
def sent(internet, instance):
    """Mail for everybody, from both: for each domain, the log of what became of it."""
    send(internet, instance.ports["smtp"], BY_NAME)
    second = [case.name for case in CASES if case.second]
    send(internet, 2525, second)

    def ours():
        lines = {}
        for line in instance.supervisor.log_text("remote-relay").splitlines():
            if "msg=relay " in line and (found := re.search(r"<bob@([^>]*)>", line)):
                lines.setdefault(found[1], line)
        return lines if all(internet.domain(name) in lines for name in BY_NAME) else None

    def theirs():
        log = (internet.base / "postfix" / "maillog").read_text()
        found = {name: outcomes(log, internet.domain(name)) for name in second}
        return log if all(found.values()) else None

    return wait_until(ours, 60, "results of all"), wait_until(theirs, 60, "Postfix's results")


@pytest.mark.parametrize("name", BY_NAME)
def test_policy_decides(internet, sent, name):
    case = BY_NAME[name]
    line = sent[0][internet.domain(name)]
    if case.result == "sent":
        assert "result=relayed" in line, line
    else:
        assert "result=delayed" in line and "status=4.7.5" in line, line
    if case.policy:
        assert f"policy={case.policy} " in line + " " and f"verified={case.verified}" in line, line


@pytest.mark.parametrize("name", [case.name for case in CASES if case.second])
def test_postfix_says_the_same(internet, sent, name):
    """Its words: Verified by DANE, Trusted where only an authority that it knows stands behind; what it doesn't send is deferred."""
    case, log = BY_NAME[name], sent[1]
    status = outcomes(log, internet.domain(name))[-1]
    assert status == ("deferred" if case.second == "waits" else "sent"), log[-3000:]
    if case.second != "waits":
        host = f"{'mx2' if case.zone == 'two' else 'mx'}.{name}.{'plain' if case.zone == 'plain' else 'org'}"
        words = re.findall(rf"smtp\[\d+\]: (\w+) TLS connection established to {re.escape(host)}\[", log)
        if case.zone != "alias":
            assert case.second in words, (words, host)


def test_policies_outlive_a_restart(internet, instance, sent):
    """Nobody's web host is there any more."""
    file = instance.directory / "relay" / "mta-sts"
    wait_until(lambda: file.exists() and b"sts-wild.org" in file.read_bytes(), what="policies on disk")
    stat = file.stat()
    assert stat.st_mode & 0o077 == 0
    with internet.namespace.inside():
        instance.supervisor.down("remote-relay")
        instance.supervisor.up("remote-relay")
    before = instance.supervisor.log_text("remote-relay").count("<bob@sts.org>")
    send(internet, instance.ports["smtp"], ["sts"])

    def again():
        lines = [line for line in instance.supervisor.log_text("remote-relay").splitlines() if "<bob@sts.org>" in line]
        return lines[-1] if len(lines) > before else None

    assert "policy=mta-sts" in wait_until(again, what="another result")
    log = instance.supervisor.log_text("remote-relay")
    assert len(re.findall(r'msg="MTA-STS policy" .*domain=sts\.org', log)) == 1, log
