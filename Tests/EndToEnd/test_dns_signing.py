"""Zones that are signed as they are asked, judged by delv, drill, unbound and dnspython; and martlet dns key."""

import base64
import json
import re
import subprocess
import time
from dataclasses import dataclass
from types import SimpleNamespace

import configuration
import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns_servers import BIND, NSD, Key, Knot, Zone, serial, wait_for
from mail import wait_for_log, wait_until
from test_dns import ask

ZONES = {
    "c13.example": ("ecdsap256sha256", "compact"),
    "c15.example": ("ed25519", "compact"),
    "n13.example": ("ecdsap256sha256", "nsec3"),
    "n15.example": ("ed25519", "nsec3"),
}
TEXT = """$TTL 600
@ SOA ns root 7 3600 900 604800 300
@ NS ns
@ MX 10 mail
@ CAA 0 issue "ca.example.net"
ns A 127.0.0.1
mail A 192.0.2.2
mail AAAA 2001:db8::2
MiXed TXT "case"
alias CNAME mail
chain CNAME alias
dangling CNAME nowhere
*.wild A 192.0.2.9
*.wild TXT "wild"
there.wild TXT "itself"
*.walias CNAME mail
a.b.c A 192.0.2.3
sub NS ns.sub
ns.sub A 127.0.0.1
old DNAME new
x.new A 192.0.2.5
_25._tcp.mail TLSA 3 1 1 0123456789012345678901234567890123456789012345678901234567890123
"""
# Names, and what there is: a number of records of the type, "nothing", or "missing".
QUESTIONS = [
    ("@", "SOA", 1), ("@", "NS", 1), ("@", "MX", 1), ("@", "CAA", 1), ("@", "DNSKEY", 1), ("@", "CDS", 1), ("@", "CDNSKEY", 1),
    ("@", "TXT", "nothing"), ("mail", "A", 1), ("mail", "AAAA", 1), ("mail", "TXT", "nothing"), ("MAIL", "A", 1),
    ("mixed", "TXT", 1), ("alias", "A", 1), ("alias", "CNAME", 1), ("alias", "TXT", "nothing"), ("chain", "AAAA", 1),
    ("dangling", "A", "missing"), ("x.wild", "A", 1), ("y.x.wild", "TXT", 1), ("x.wild", "AAAA", "nothing"),
    ("*.wild", "A", 1), ("there.wild", "TXT", 1), ("there.wild", "A", "nothing"), ("x.there.wild", "A", "missing"),
    ("wild", "A", "nothing"), ("x.walias", "A", 1), ("c", "A", "nothing"), ("b.c", "NS", "nothing"), ("a.b.c", "A", 1),
    ("x.b.c", "A", "missing"), ("sub", "DS", "nothing"), ("mail", "DS", "nothing"), ("old", "DNAME", 1),
    ("old", "A", "nothing"), ("x.old", "A", 1), ("y.old", "A", "missing"), ("nowhere", "A", "missing"),
    ("a.nowhere", "MX", "missing"), ("_25._tcp.mail", "TLSA", 1), ("_tcp.mail", "TLSA", "nothing"),
    ("l" * 63 + "." + "m" * 63, "A", "missing"),
]  # fmt: skip


def absolute(name: str, zone: str) -> str:
    return zone if name == "@" else f"{name}.{zone}"


@dataclass
class Signed:
    instance: object
    ds: dict

    @property
    def port(self) -> int:
        return self.instance.ports["dns"]

    def ask(self, name, kind, do=True, transport="udp", co=False):
        query = dns.message.make_query(name, kind)
        query.use_edns(0, (dns.flags.DO if do else 0) | (0x4000 if co else 0), 1232)
        if transport == "tcp":
            return dns.query.tcp(query, "127.0.0.1", 20, self.port)
        return dns.query.udp_with_fallback(query, "127.0.0.1", 20, self.port)[0]


@pytest.fixture(scope="module")
def signed(module_factory):
    zones = {
        zone: {"file": f"etc/zones/{zone}", "sign": algorithm, "denial": denial}
        for zone, (algorithm, denial) in ZONES.items()
    }
    instance = module_factory({"resolverd": {"zones": zones}}, users=(), start=False)
    ds = {}
    for zone in ZONES:
        instance.write(instance.directory / "etc" / "zones" / zone, TEXT)
        made = json.loads(instance.martlet("dns", "key", "generate", zone, "--json").stdout)
        assert made["algorithm"] == ZONES[zone][0] and made["role"] == "csk" and made["state"] == "active"
        ds[zone] = made["ds"][0]
    instance.start()
    return Signed(instance, ds)


def spoiled(ds: str) -> str:
    """A DS record for another key."""
    return ds[:-4] + ("0000" if not ds.endswith("0000") else "1111")


def run(*command: str, seconds: int = 60) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds
    )
    return done.stdout


class Unbound:
    """unbound that believes the zones' DS records, and asks us for the zones."""

    def __init__(self, directory, signed, anchors, zones=tuple(ZONES)):
        self.zones = zones
        self.port = configuration.free_port()
        lines = ["server:", "  interface: 127.0.0.1", f"  port: {self.port}", '  username: ""', '  chroot: ""']
        lines += [f'  directory: "{directory}"', f'  pidfile: "{directory}/pid"', "  use-syslog: no", "  num-threads: 1"]
        lines += ["  do-not-query-localhost: no", '  module-config: "validator iterator"', "  so-rcvbuf: 0"]
        lines += ["  target-fetch-policy: \"0 0 0 0 0\"", "  val-log-level: 2", "  harden-algo-downgrade: yes"]
        lines += [f"  trust-anchor: \"{' '.join(line.split())}\"" for line in anchors]
        lines += ["remote-control:", "  control-enable: no"]
        for zone in zones:
            lines += ["stub-zone:", f'  name: "{zone}"', f"  stub-addr: 127.0.0.1@{signed.port}"]
        (directory / "conf").write_text("\n".join(lines) + "\n")
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["unbound", "-d", "-c", str(directory / "conf")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(lambda: self.answers(), what="unbound")

    def answers(self) -> bool:
        try:
            return dns.query.udp(dns.message.make_query(self.zones[0], "SOA"), "127.0.0.1", 2, self.port) is not None
        except (dns.exception.Timeout, OSError):
            return False

    def ask(self, name, kind):
        query = dns.message.make_query(name, kind)
        query.use_edns(0, dns.flags.DO, 1232)
        return dns.query.udp_with_fallback(query, "127.0.0.1", 30, self.port)[0]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def unbound(signed, tmp_path_factory):
    server = Unbound(tmp_path_factory.mktemp("unbound"), signed, signed.ds.values())
    yield server
    server.stop()


def test_unbound_believes_every_answer(signed, unbound):
    wrong = []
    for zone, (_, denial) in ZONES.items():
        for name, kind, expected in QUESTIONS:
            answer = unbound.ask(absolute(name, zone), kind)
            code = dns.rcode.to_text(answer.rcode())
            is_missing = expected == "missing" and denial == "nsec3"
            count = sum(len(found) for found in answer.answer if found.rdtype == dns.rdatatype.from_text(kind))
            right = code == ("NXDOMAIN" if is_missing else "NOERROR") and answer.flags & dns.flags.AD
            if not right or count != (expected if isinstance(expected, int) else 0):
                wrong.append(f"{name} {kind} in {zone}: {code} {dns.flags.to_text(answer.flags)} {count}")
    assert not wrong, "\n".join(wrong)


def test_unbound_believes_no_answer_with_another_ds_record(signed, tmp_path):
    server = Unbound(tmp_path, signed, [spoiled(line) for line in signed.ds.values()])
    try:
        for zone in ZONES:
            for name, kind in [("mail", "A"), ("nowhere", "A"), ("@", "SOA")]:
                answer = server.ask(absolute(name, zone), kind)
                assert answer.rcode() == dns.rcode.SERVFAIL, (zone, name)
    finally:
        server.stop()


def delv(signed, zone, anchors, *question):
    return run("delv", "@127.0.0.1", "-p", str(signed.port), "-a", str(anchors), f"+root={zone}", "+nomtrace", *question)


@pytest.mark.parametrize("zone", ZONES)
def test_delv_believes_what_it_asks(signed, tmp_path, zone):
    key = json.loads(signed.instance.martlet("dns", "key", "list", zone, "--json").stdout)[0]["dnskey"].split()
    anchors, other = tmp_path / "anchors", tmp_path / "other"
    material = "".join(key[7:])

    def anchor(material):
        return f'trust-anchors {{ {zone} static-key {" ".join(key[4:7])} "{material}"; }};\n'

    anchors.write_text(anchor(material))
    changed = material[:-6] + ("AAAA" if material[-6:-2] != "AAAA" else "BBBB") + material[-2:]
    other.write_text(anchor(changed))
    for name, kind, expected in [
        ("mail", "A", "; fully validated"), ("x.wild", "A", "; fully validated"), ("x.old", "A", "; fully validated"),
        ("nowhere", "A", "; negative response, fully validated"), ("c", "A", "; negative response, fully validated"),
        ("x.wild", "MX", "; negative response, fully validated"),
    ]:  # fmt: skip
        assert expected in delv(signed, zone, anchors, absolute(name, zone), kind), (name, kind)
    refused = delv(signed, zone, other, absolute("mail", zone), "A")
    assert "resolution failed" in refused and "fully validated" not in refused


@pytest.mark.parametrize("zone", ZONES)
def test_drill_chases_signatures(signed, tmp_path, zone):
    dnskey = json.loads(signed.instance.martlet("dns", "key", "list", zone, "--json").stdout)[0]["dnskey"]
    other = dnskey[:-6] + ("AAAA" if dnskey[-6:-2] != "AAAA" else "BBBB") + dnskey[-2:]
    for name, key, expected in [("mail", dnskey, True), ("x.wild", dnskey, True), ("mail", other, False)]:
        (tmp_path / "key").write_text(key + "\n")
        at = ["-p", str(signed.port), "@127.0.0.1", "-k", str(tmp_path / "key")]
        shown = run("drill", *at, "-S", absolute(name, zone), "A")
        assert ("Chase successful" in shown) is expected, shown


@pytest.mark.parametrize("zone", ZONES)
def test_dnspython_verifies_signatures(signed, zone):
    name = dns.name.from_text(zone)
    keys = {name: next(found for found in signed.ask(zone, "DNSKEY", transport="tcp").answer if found.rdtype == dns.rdatatype.DNSKEY)}
    assert dns.dnssec.make_ds(name, keys[name][0], "SHA256").to_text().split()[3].upper() == signed.ds[zone].split()[-1].upper()
    checked = 0
    for question, kind, _ in QUESTIONS:
        answer = signed.ask(absolute(question, zone), kind, transport="tcp")
        for section in (answer.answer, answer.authority):
            for found in section:
                covering = [
                    other for other in section
                    if other.rdtype == dns.rdatatype.RRSIG and other.name == found.name and other.covers == found.rdtype
                ]  # fmt: skip
                if found.rdtype == dns.rdatatype.RRSIG or not covering:
                    continue
                dns.dnssec.validate(found, covering[0], keys)
                assert found.ttl == covering[0].ttl
                checked += 1
    assert checked > len(QUESTIONS)


@pytest.mark.parametrize("zone", ZONES)
def test_without_do_there_are_no_signatures(signed, zone):
    for name, kind, expected in QUESTIONS:
        answer = signed.ask(absolute(name, zone), kind, do=False)
        assert answer.rcode() == (dns.rcode.NXDOMAIN if expected == "missing" else dns.rcode.NOERROR), (name, kind)
        kinds = {found.rdtype for found in answer.answer + answer.authority}
        assert not kinds & {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}


def test_compact_denial(signed):
    answer = signed.ask("nowhere.c15.example", "A")
    assert answer.rcode() == dns.rcode.NOERROR and not answer.ednsflags & 0x4000
    nsec = next(found for found in answer.authority if found.rdtype == dns.rdatatype.NSEC)
    assert nsec[0].to_text() == "\\000.nowhere.c15.example. RRSIG NSEC TYPE128"
    answer = signed.ask("nowhere.c15.example", "A", co=True)
    assert answer.rcode() == dns.rcode.NXDOMAIN and answer.ednsflags & 0x4000
    answer = signed.ask("nowhere.c15.example", "TYPE128")
    assert answer.rcode() == dns.rcode.FORMERR


def test_nothing_of_the_zone_is_given_away(signed):
    """Each NSEC3 record covers one hash, with zero iterations and no salt (RFC 9276)."""
    covered = set()
    for number in range(20):
        answer = signed.ask(f"no{number}.n13.example", "A")
        assert answer.rcode() == dns.rcode.NXDOMAIN
        for found in answer.authority:
            if found.rdtype == dns.rdatatype.NSEC3:
                assert found[0].iterations == 0 and found[0].salt == b"" and found[0].flags == 0
                own = int(found.name.labels[0].decode(), 32)
                span = int.from_bytes(found[0].next, "big") - own
                assert 0 < span <= 2
                covered.add(own)
    # Twenty names, the zone's top and its wildcard.
    assert len(covered) == 22


def test_referrals(signed):
    for zone, (_, denial) in ZONES.items():
        answer = signed.ask(f"www.sub.{zone}", "A")
        assert not answer.answer and not answer.flags & dns.flags.AA
        kinds = [found.rdtype for found in answer.authority]
        proof = dns.rdatatype.NSEC if denial == "compact" else dns.rdatatype.NSEC3
        assert kinds == [dns.rdatatype.NS, proof, dns.rdatatype.RRSIG]


def test_signed_zones_are_authoritative_answers(signed):
    answer = signed.ask("mail.c13.example", "A")
    assert answer.flags & dns.flags.AA and not answer.flags & dns.flags.AD
    shown = run("dig", "@127.0.0.1", "-p", str(signed.port), "+dnssec", "+multi", "mail.c13.example", "A")
    assert "flags: qr aa" in shown and "RRSIG" in shown


# Keys


def key(instance, *arguments, check=True):
    return instance.martlet("dns", "key", *arguments, check=check)


def test_keys_are_made_rolled_over_and_removed(module_factory):
    zone = "roll.example"
    zones = {zone: {"file": f"etc/zones/{zone}", "sign": "ed25519"}}
    instance = module_factory({"resolverd": {"zones": zones}}, users=(), start=False)
    instance.write(instance.directory / "etc" / "zones" / zone, TEXT)
    instance.start()
    server = Signed(instance, {})

    def signers(kind="SOA"):
        answer = server.ask(zone, kind, transport="tcp")
        return sorted(record.key_tag for found in answer.answer if found.rdtype == dns.rdatatype.RRSIG for record in found)

    # Without a key the zone is served as it is, and the log says what to do.
    assert signers() == [] and server.ask(f"mail.{zone}", "A").answer
    wait_for_log(instance, "resolverd", "martlet dns key generate roll.example.")

    lines = key(instance, "generate", zone).stdout.splitlines()
    name, role, state, _ = lines[0].split()
    assert re.fullmatch(r"roll\.example\+015\+\d{5}", name) and (role, state) == ("csk", "active")
    first = int(name.rpartition("+")[2])
    assert lines[1].split()[:4] == [f"{zone}.", "3600", "IN", "DS"]
    wait_until(lambda: signers() == [first], what="the first key")
    files = sorted(path.name for path in (instance.directory / "dns" / "keys").iterdir())
    assert files == [f"{name}.key", f"{name}.private"]
    private = (instance.directory / "dns" / "keys" / f"{name}.private").stat()
    assert private.st_mode & 0o777 == 0o600
    assert private.st_uid == (instance.directory / "dns" / "keys").stat().st_uid

    # Double signatures: a second key beside the first, then the first goes.
    second = json.loads(key(instance, "generate", zone, "--json").stdout)["keyTag"]
    wait_until(lambda: signers() == sorted([first, second]), what="both keys")
    cds = server.ask(zone, "CDS", transport="tcp").answer[0]
    assert sorted(record.key_tag for record in cds) == sorted([first, second])
    key(instance, "retire", zone, str(first))
    wait_until(lambda: signers() == [second], what="the second key")
    assert len(server.ask(zone, "DNSKEY", transport="tcp").answer[0]) == 2
    assert [line.split()[3:5] for line in key(instance, "ds", zone).stdout.splitlines()] == [["DS", str(second)]]
    refused = key(instance, "retire", zone, str(second), check=False)
    assert refused.returncode != 0 and "last active key" in refused.stderr
    refused = key(instance, "remove", zone, str(second), check=False)
    assert refused.returncode != 0 and "retire it first" in refused.stderr
    key(instance, "remove", zone, str(first))
    wait_until(lambda: len(server.ask(zone, "DNSKEY", transport="tcp").answer[0]) == 1, what="one key")

    # Pre-publication of a key for the data, which a KSK vouches for.
    third = json.loads(key(instance, "generate", zone, "--role", "zsk", "--published", "--json").stdout)
    assert third["ds"] == [] and third["state"] == "published"
    wait_until(lambda: len(server.ask(zone, "DNSKEY", transport="tcp").answer[0]) == 2, what="a published key")
    assert signers() == [second]
    key(instance, "activate", zone, third["name"])
    wait_until(lambda: signers() == sorted([second, third["keyTag"]]), what="the third key")
    assert signers("DNSKEY") == [second]

    digests = key(instance, "ds", zone, "--sha384", "--dnskey").stdout.splitlines()
    assert len(digests) == 3 and digests[0].split()[6] == "4"
    listed = [line.split()[1:3] for line in key(instance, "list", zone).stdout.splitlines()]
    assert sorted(listed) == [["csk", "active"], ["zsk", "active"]]
    assert key(instance, "retire", zone, "1", check=False).returncode != 0
    assert "doesn't say that" in key(instance, "list", "other.example").stderr


def test_signatures_in_a_signed_zones_file(module_factory):
    zone = "bad.example"
    zones = {zone: {"file": f"etc/zones/{zone}", "sign": "ed25519"}}
    instance = module_factory({"resolverd": {"zones": zones}}, users=(), start=False)
    instance.write(instance.directory / "etc" / "zones" / zone, TEXT + "x NSEC y A\n")
    instance.start()
    line = TEXT.count("\n") + 1
    wait_for_log(instance, "resolverd", f"etc/zones/{zone}:{line}: NSEC in a zone that is signed")
    assert ask(instance, zone, "SOA").rcode() == dns.rcode.SERVFAIL


def test_many_names_that_are_not_there(module_factory):
    """Beyond the limit of signatures clients are sent to TCP, and all else is answered as before."""
    zone = "busy.example"
    zones = {zone: {"file": f"etc/zones/{zone}", "sign": "ed25519"}}
    settings = {"zones": zones, "maximum-signatures": 8, "threads": 1}
    instance = module_factory({"resolverd": settings}, users=(), start=False)
    instance.write(instance.directory / "etc" / "zones" / zone, TEXT)
    key(instance, "generate", zone)
    instance.start()
    truncated, deadline = 0, time.monotonic() + 30
    while not truncated and time.monotonic() < deadline:
        for number in range(50):
            query = dns.message.make_query(f"no{number}-{time.monotonic_ns()}.{zone}", "A", want_dnssec=True)
            answer = dns.query.udp(query, "127.0.0.1", 20, instance.ports["dns"])
            truncated += bool(answer.flags & dns.flags.TC)
    assert truncated
    assert ask(instance, f"mail.{zone}", "A").answer
    assert ask(instance, f"nowhere.{zone}", "A").rcode() == dns.rcode.NXDOMAIN


# Secondaries, which can't sign


TRANSFERS = Key("xfer.", base64.b64encode(bytes(range(32))).decode())


@pytest.fixture(scope="module")
def shared(module_factory, tmp_path_factory):
    """Two signed zones that go to BIND, Knot, NSD and another resolverd."""
    base = tmp_path_factory.mktemp("secondaries")
    servers = [BIND(base / "bind", TRANSFERS, []), Knot(base / "knot", TRANSFERS, []), NSD(base / "nsd", TRANSFERS, [])]
    keys = {"xfer.": "etc/dns-keys/xfer"}

    def prepare(settings):
        instance = module_factory({"resolverd": {"keys": keys, **settings}}, users=(), start=False)
        (instance.directory / "etc" / "dns-keys").mkdir(mode=0o700, exist_ok=True)
        secret = f"{TRANSFERS.algorithm} {TRANSFERS.secret}\n"
        instance.write(instance.directory / "etc" / "dns-keys" / "xfer", secret, 0o600)
        return instance

    names, port = ("c13.example", "n15.example"), configuration.free_port()
    primary = {"primaries": [f"127.0.0.1:{port} key xfer."]}
    follower = prepare({"zones": dict.fromkeys(names, primary), "minimum-refresh": "1s"})
    log = lambda: follower.supervisor.log_text("resolverd")
    directory = SimpleNamespace(name="resolverd")
    servers.append(SimpleNamespace(port=follower.ports["dns"], directory=directory, log=log, stop=lambda: None))
    more = {"allow-transfer": ["key xfer."], "notify": [f"127.0.0.1:{server.port} key xfer." for server in servers]}
    zones = {
        zone: {"file": f"etc/zones/{zone}", "sign": ZONES[zone][0], "denial": ZONES[zone][1], **more}
        for zone in names
    }
    instance = prepare({"zones": zones, "listen": [f"127.0.0.1:{port}"]})
    ds = {}
    for zone in zones:
        instance.write(instance.directory / "etc" / "zones" / zone, TEXT)
        ds[zone] = json.loads(instance.martlet("dns", "key", "generate", zone, "--json").stdout)["ds"][0]
    instance.start()
    follower.start()
    for server in servers[:3]:
        server.zones = [Zone(zone, primary=port) for zone in zones]
        server.start()
    yield SimpleNamespace(instance=instance, port=port, servers=servers, ds=ds, follower=follower)
    for server in servers:
        server.stop()


def served(shared, zone) -> int:
    """The serial that all have."""
    ours = serial(zone, shared.port)
    for server in shared.servers:
        wait_for(lambda server=server: serial(zone, server.port) == ours, server.log)
    return ours


def test_secondaries_of_signed_zones_are_believed(shared, tmp_path):
    for zone in shared.ds:
        assert served(shared, zone) > 7
    # With its copy it goes on after a restart.
    shared.follower.supervisor.restart("resolverd")
    shared.follower.supervisor.wait_ready(["resolverd"])
    for server in shared.servers:
        directory = tmp_path / server.directory.name
        directory.mkdir()
        unbound = Unbound(directory, server, shared.ds.values())
        wrong = []
        try:
            for zone in shared.ds:
                for name, kind, expected in QUESTIONS:
                    answer = unbound.ask(absolute(name, zone), kind)
                    code = dns.rcode.to_text(answer.rcode())
                    count = sum(len(found) for found in answer.answer if found.rdtype == dns.rdatatype.from_text(kind))
                    right = code == ("NXDOMAIN" if expected == "missing" else "NOERROR") and answer.flags & dns.flags.AD
                    if not right or count != (expected if isinstance(expected, int) else 0):
                        wrong.append(f"{name} {kind} in {zone}: {code} {dns.flags.to_text(answer.flags)} {count}")
        finally:
            unbound.stop()
        assert not wrong, f"{server.directory.name}\n" + "\n".join(wrong)


def test_transferred_zones_are_whole(shared, tmp_path):
    """Every set has its signatures, and the chain no gaps, as those see it who check whole zones."""
    for zone in shared.ds:
        file = tmp_path / zone
        command = ["dig", "@127.0.0.1", "-p", str(shared.port), "-y", TRANSFERS.dig, "+onesoa", "+nocomments", "+nocmd"]
        lines = run(*command, zone, "AXFR").splitlines()
        file.write_text("\n".join(line for line in lines if not line.startswith(";") and "TSIG" not in line) + "\n")
        for checker in (["dnssec-verify", "-z", "-o", zone, str(file)], ["ldns-verify-zone", "-V", "2", str(file)]):
            done = subprocess.run(checker, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout + done.stderr


def test_secondaries_get_new_keys_and_versions(shared):
    zone = "n15.example"
    before = served(shared, zone)
    tag = json.loads(shared.instance.martlet("dns", "key", "generate", zone, "--json").stdout)["keyTag"]

    def tags(port) -> set[int]:
        query = dns.message.make_query(zone, "SOA", want_dnssec=True)
        answer = dns.query.tcp(query, "127.0.0.1", 20, port)
        return {found.key_tag for rrset in answer.answer if rrset.rdtype == dns.rdatatype.RRSIG for found in rrset}

    wait_until(lambda: tag in tags(shared.port), what="the new key")
    assert served(shared, zone) > before
    for server in shared.servers:
        assert tags(server.port) == tags(shared.port)
    file = shared.instance.directory / "etc" / "zones" / zone
    file.write_text(TEXT.replace("root 7 ", "root 8 ") + "new A 192.0.2.77\n")
    shared.instance.martlet("dns", "reload")
    served(shared, zone)
    for server in shared.servers:
        answer = dns.query.tcp(dns.message.make_query(f"new.{zone}", "A", want_dnssec=True), "127.0.0.1", 20, server.port)
        assert sorted(found.rdtype for found in answer.answer) == [dns.rdatatype.A, dns.rdatatype.RRSIG]


def test_zones_that_others_have_signed(make_instance, tmp_path):
    """Master files as BIND's tools sign them, with NSEC, NSEC3 and opt-out, believed by unbound."""
    zones = {"nsec.example": [], "nsec3.example": ["-3", "aabb", "-H", "5"], "optout.example": ["-3", "-", "-H", "0", "-A"]}
    instance = make_instance({"resolverd": {"zones": {zone: f"etc/zones/{zone}" for zone in zones}}}, users=(), start=False)
    anchors = []
    for zone, options in zones.items():
        keys, plain, made = tmp_path / f"{zone}.keys", tmp_path / zone, tmp_path / f"{zone}.signed"
        keys.mkdir()
        plain.write_text(TEXT)
        for more in (["-f", "KSK"], []):
            run("dnssec-keygen", "-K", str(keys), "-a", "ECDSAP256SHA256", *more, zone)
        shown = run("dnssec-signzone", "-S", "-K", str(keys), "-d", str(tmp_path), "-o", zone, *options, "-f", str(made), str(plain))
        assert made.exists(), shown
        instance.write(instance.directory / "etc" / "zones" / zone, made.read_text())
        anchors += [line for line in (tmp_path / f"dsset-{zone}.").read_text().splitlines() if line]
    instance.start()
    unbound = Unbound(tmp_path, SimpleNamespace(port=instance.ports["dns"]), anchors, tuple(zones))
    wrong = []
    try:
        for zone in zones:
            for name, kind, expected in QUESTIONS:
                if kind in ("CDS", "CDNSKEY", "DNSKEY"):
                    continue
                answer = unbound.ask(absolute(name, zone), kind)
                code = dns.rcode.to_text(answer.rcode())
                right = code == ("NXDOMAIN" if expected == "missing" else "NOERROR")
                # Where unsigned delegations are left out, there might be one in each gap, and in the place of a wildcard's name.
                may_hide = not isinstance(expected, int) or ".w" in name
                if not right or not (answer.flags & dns.flags.AD or zone == "optout.example" and may_hide):
                    wrong.append(f"{name} {kind} in {zone}: {code} {dns.flags.to_text(answer.flags)}")
    finally:
        unbound.stop()
    assert not wrong, "\n".join(wrong)
