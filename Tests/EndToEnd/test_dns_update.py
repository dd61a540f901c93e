"""Dynamic updates (RFC 2136) with nsupdate and dnspython: what is changed, who may, and what stays after kill -9."""

import base64
import grp
import os
import random
import socket
import subprocess
import threading
import time

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
import layout
import pytest
from mail import wait_for_log, wait_until
from test_dns import ask

ZONE = "dyn.test"
KILLS = 6
SECRETS = {name: base64.b64encode(random.randbytes(32)).decode() for name in ("ddns", "owner", "stranger")}
ALGORITHMS = {"ddns": "hmac-sha256", "owner": "hmac-sha512", "stranger": "hmac-sha256"}
TEXT = """$TTL 300
@ SOA ns root 7 3600 900 604800 300
@ NS ns
ns A 192.0.2.1
$GENERATE 1-3 gen$ A 192.0.2.$
host A 192.0.2.2
"""


def key_file(instance, name: str) -> None:
    directory = instance.directory / "etc" / "dns-keys"
    directory.mkdir(exist_ok=True)
    instance.write(directory / name, f"{ALGORITHMS[name]} {SECRETS[name]}\n", 0o600)


def make(factory, **changes):
    """An instance with a zone that the holders of two keys may change."""
    zone = {
        "file": f"dns/{ZONE}",
        "allow-transfer": ["key owner."],
        "update": [f"key ddns. subdomain {ZONE} A AAAA TXT CNAME", "key owner. zone ANY"],
    }
    keys = {f"{name}.": f"etc/dns-keys/{name}" for name in SECRETS}
    settings = {"keys": keys, "zones": {ZONE: zone | changes}}
    instance = factory({"resolverd": settings}, users=(), start=False)
    for name in SECRETS:
        key_file(instance, name)
    put_zone(instance, TEXT)
    instance.start()
    return instance


def put_zone(instance, text: str) -> None:
    path = instance.directory / "dns" / ZONE
    instance.write(path, text, 0o600)
    if layout.is_root():
        layout.own(path, "mlt-dns", 0o600)


@pytest.fixture(scope="module")
def instance(module_factory):
    return make(module_factory)


def keyring(name: str, secret: str | None = None):
    algorithm = {"hmac-sha256": dns.tsig.HMAC_SHA256, "hmac-sha512": dns.tsig.HMAC_SHA512}[ALGORITHMS[name]]
    owner = dns.name.from_text(name)
    return {owner: dns.tsig.Key(owner, secret or SECRETS[name], algorithm)}


def update(name: str | None = "ddns", secret: str | None = None, zone: str = ZONE) -> dns.update.UpdateMessage:
    message = dns.update.UpdateMessage(zone)
    if name:
        message.use_tsig(keyring(name, secret), dns.name.from_text(name))
    return message


def send(instance, message, transport=dns.query.udp) -> dns.message.Message:
    return transport(message, "127.0.0.1", 20, port=instance.ports["dns"])


def addresses(instance, name: str) -> set[str]:
    answer = ask(instance, f"{name}.{ZONE}", "A")
    return {record.address for rrset in answer.answer for record in rrset if rrset.rdtype == dns.rdatatype.A}


def serial(instance) -> int:
    return ask(instance, ZONE, "SOA").answer[0][0].serial


def nsupdate(instance, *lines: str, key: str = "ddns", secret: str | None = None, tcp: bool = False):
    text = [f"server 127.0.0.1 {instance.ports['dns']}", f"zone {ZONE}", *lines, "send", ""]
    command = ["nsupdate", "-t", "20", "-u", "20", "-y", f"{ALGORITHMS[key]}:{key}:{secret or SECRETS[key]}"]
    command += ["-v"] if tcp else []
    return subprocess.run(command, input="\n".join(text), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("tcp", [False, True])
def test_nsupdate_adds_and_deletes(instance, tcp):
    before = serial(instance)
    done = nsupdate(instance, f"update add one.{ZONE} 60 A 192.0.2.10", f"update add one.{ZONE} 60 A 192.0.2.11", tcp=tcp)
    assert done.returncode == 0, done.stderr
    assert addresses(instance, "one") == {"192.0.2.10", "192.0.2.11"}
    assert serial(instance) == before + 1
    assert nsupdate(instance, f"update delete one.{ZONE} A 192.0.2.10", tcp=tcp).returncode == 0
    assert addresses(instance, "one") == {"192.0.2.11"}
    assert nsupdate(instance, f"update delete one.{ZONE}", tcp=tcp).returncode == 0
    assert ask(instance, f"one.{ZONE}", "A").rcode() == dns.rcode.NXDOMAIN
    # What is as it was wished already is no new version.
    assert nsupdate(instance, f"update delete one.{ZONE}", tcp=tcp).returncode == 0
    assert serial(instance) == before + 3


@pytest.mark.parametrize(
    "line, error",
    [
        (f"prereq nxdomain host.{ZONE}", "YXDOMAIN"),
        (f"prereq yxdomain nobody.{ZONE}", "NXDOMAIN"),
        (f"prereq nxrrset host.{ZONE} A", "YXRRSET"),
        (f"prereq yxrrset host.{ZONE} TXT", "NXRRSET"),
        (f"prereq yxrrset host.{ZONE} A 192.0.2.3", "NXRRSET"),
        (f"prereq yxrrset host.{ZONE} A 192.0.2.2", None),
        (f"prereq nxrrset host.{ZONE} TXT", None),
        (f"prereq yxdomain host.{ZONE}", None),
        (f"prereq nxdomain nobody.{ZONE}", None),
    ],
)
def test_nsupdate_with_prerequisites(instance, line, error):
    before = serial(instance)
    done = nsupdate(instance, line, f"update add two.{ZONE} 60 TXT {random.randbytes(8).hex()}")
    if error:
        assert done.returncode == 2 and error in done.stderr
        assert serial(instance) == before
    else:
        assert done.returncode == 0, done.stderr
        assert serial(instance) == before + 1


def test_answers_are_signed(instance):
    message = update()
    message.add("signed", 60, "A", "192.0.2.12")
    answer = send(instance, message)
    assert answer.rcode() == dns.rcode.NOERROR and answer.had_tsig and answer.tsig_error == 0
    query = dns.message.make_query(f"signed.{ZONE}", "A")
    query.use_tsig(keyring("ddns"))
    assert send(instance, query, dns.query.tcp).had_tsig


def test_rules(instance):
    before = serial(instance)
    for name, kind, data in (("@", "NS", "ns9"), ("mail", "MX", "10 host")):
        message = update()
        message.add(name, 60, kind, data)
        assert send(instance, message).rcode() == dns.rcode.REFUSED
    message = update("stranger")
    message.add("x", 60, "A", "192.0.2.1")
    assert send(instance, message).rcode() == dns.rcode.REFUSED
    assert serial(instance) == before
    message = update("owner")
    message.add("@", 60, "MX", "10 host")
    assert send(instance, message).rcode() == dns.rcode.NOERROR
    message = update("owner")
    message.add("outside.example.", 60, "A", "192.0.2.1")
    assert send(instance, message).rcode() == dns.rcode.NOTZONE
    for zone, rcode in (("example.test", dns.rcode.REFUSED), ("nowhere.test", dns.rcode.NOTAUTH)):
        message = update("owner", zone=zone)
        message.add("x", 60, "A", "192.0.2.1")
        assert send(instance, message).rcode() == rcode


def test_who_is_not_believed(instance):
    before = serial(instance)
    message = update(None)
    message.add("x", 60, "A", "192.0.2.1")
    assert send(instance, message).rcode() == dns.rcode.REFUSED

    message = update("ddns", SECRETS["stranger"])
    message.add("x", 60, "A", "192.0.2.1")
    with pytest.raises(dns.tsig.PeerBadSignature):
        send(instance, message)

    message = dns.update.UpdateMessage(ZONE)
    owner = dns.name.from_text("unknown")
    message.use_tsig({owner: dns.tsig.Key(owner, SECRETS["ddns"], dns.tsig.HMAC_SHA256)}, owner)
    message.add("x", 60, "A", "192.0.2.1")
    with pytest.raises(dns.tsig.PeerBadKey):
        send(instance, message)

    done = nsupdate(instance, f"update add x.{ZONE} 60 A 192.0.2.1", secret=SECRETS["stranger"])
    assert done.returncode != 0 and "BADSIG" in done.stderr
    assert serial(instance) == before


def test_wrong_time(instance, monkeypatch):
    message = update()
    message.add("x", 60, "A", "192.0.2.1")
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now - 1000)
        wire = message.to_wire()
        with pytest.raises(dns.tsig.PeerBadTime):
            send(instance, message)
    # Seen again later, octet for octet.
    assert wire
    assert ask(instance, f"x.{ZONE}", "A").rcode() == dns.rcode.NXDOMAIN


def test_an_octet_that_was_changed_on_the_way(instance):
    message = update()
    message.add("x", 60, "A", "192.0.2.1")
    wire = bytearray(message.to_wire())
    place = wire.index(b"\xc0\x00\x02\x01")
    wire[place + 3] = 9
    # The address of somebody else, under the same signature.
    answer = raw(instance, bytes(wire))
    assert answer[3] & 0xF == dns.rcode.NOTAUTH
    assert ask(instance, f"x.{ZONE}", "A").rcode() == dns.rcode.NXDOMAIN


def raw(instance, wire: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(wire, ("127.0.0.1", instance.ports["dns"]))
        return client.recv(65535)


def test_written_back_to_the_file(make_instance):
    instance = make(make_instance)
    assert nsupdate(instance, f"update add kept.{ZONE} 60 TXT \"a b\"").returncode == 0
    file = instance.directory / "dns" / ZONE
    assert "$GENERATE" in file.read_text()
    instance.martlet("dns", "sync", ZONE)
    text = file.read_text()
    assert f"kept.{ZONE}.\t60\tIN\tTXT\t\"a b\"\n" in text and f"gen3.{ZONE}.\t300\tIN\tA\t192.0.2.3\n" in text
    done = instance.martlet("dns", "sync", "example.test", check=False)
    assert done.returncode != 0 and "no zone of that name" in done.stderr
    # The daemon doesn't take its own file for another's.
    log = instance.supervisor.log_text("resolverd")
    time.sleep(3)
    assert instance.supervisor.log_text("resolverd").count("zone loaded") == log.count("zone loaded")
    # An edit by hand with a later serial is taken, and one without isn't.
    put_zone(instance, text.replace(" 8 3600", " 20 3600") + f"edited.{ZONE}. 60 IN A 192.0.2.30\n")
    wait_until(lambda: addresses(instance, "edited") == {"192.0.2.30"}, what="the edit is served")
    put_zone(instance, file.read_text() + f"again.{ZONE}. 60 IN A 192.0.2.30\n")
    wait_until(lambda: "not later than" in instance.supervisor.log_text("resolverd"), what="the error is in the log")
    assert serial(instance) == 20
    # At the end what is left is written, and what was edited without a serial is set aside.
    assert nsupdate(instance, f"update add last.{ZONE} 60 A 192.0.2.31").returncode == 0
    pid = instance.supervisor.pid("resolverd")
    instance.supervisor.kill("resolverd", 15)
    wait_until(lambda: instance.supervisor.pid("resolverd") not in (None, pid), what="resolverd is up again")
    instance.supervisor.wait_ready(["resolverd"])
    assert f"last.{ZONE}.\t60\tIN\tA\t192.0.2.31\n" in file.read_text()
    assert "again" in (file.parent / f"{ZONE}.edited").read_text()
    assert addresses(instance, "last") == {"192.0.2.31"}
    assert serial(instance) == 21


def test_what_has_changed_is_transferred(instance):
    """IXFR (RFC 1995) from the journal: the differences one by one, also after a kill."""

    def ixfr(since: int) -> list[str]:
        key = f"{ALGORITHMS['owner']}:owner:{SECRETS['owner']}"
        command = ["dig", "@127.0.0.1", "-p", str(instance.ports["dns"]), "-y", key, ZONE, f"IXFR={since}", "+noall", "+answer"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        return [" ".join(line.split()) for line in done.stdout.splitlines() if line and not line.startswith(";")]

    start = serial(instance)
    for line in (f"add i1.{ZONE} 60 A 192.0.2.41", f"add i2.{ZONE} 60 A 192.0.2.42", f"delete i1.{ZONE}"):
        assert nsupdate(instance, f"update {line}").returncode == 0

    def soa(number: int) -> str:
        return f"{ZONE}. 300 IN SOA ns.{ZONE}. root.{ZONE}. {number} 3600 900 604800 300"

    one, two = f"i1.{ZONE}. 60 IN A 192.0.2.41", f"i2.{ZONE}. 60 IN A 192.0.2.42"
    wanted = [soa(start + 3), soa(start), soa(start + 1), one, soa(start + 1), soa(start + 2), two]
    wanted += [soa(start + 2), one, soa(start + 3), soa(start + 3)]
    assert ixfr(start) == wanted
    assert ixfr(start + 3) == [soa(start + 3)]
    pid = instance.supervisor.pid("resolverd")
    assert instance.supervisor.kill("resolverd")
    wait_until(lambda: instance.supervisor.pid("resolverd") not in (None, pid), what="resolverd is up again")
    instance.supervisor.wait_ready(["resolverd"])
    assert ixfr(start) == wanted
    # A version that nobody remembers: all of the zone.
    assert len(ixfr(1)) > 10 and ixfr(1)[1] != soa(1)


class Stream:
    """A client that updates one name after the other, and remembers what was acknowledged."""

    def __init__(self, instance, number: int):
        self.instance, self.number = instance, number
        self.acknowledged: list[str] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        step = 0
        while not self.stopping.is_set():
            step += 1
            name = f"s{self.number}-{step}"
            message = update()
            message.add(name, 60, "TXT", name)
            try:
                answer = dns.query.udp(message, "127.0.0.1", 2, port=self.instance.ports["dns"])
            except (OSError, dns.exception.DNSException):
                time.sleep(0.02)
                continue
            if answer.rcode() == dns.rcode.NOERROR:
                self.acknowledged.append(name)


def test_kills_in_a_stream_of_updates(make_instance):
    """Every update that was acknowledged is there after a kill -9, and the serial never goes back."""
    instance = make(make_instance)
    supervisor = instance.supervisor
    streams = [Stream(instance, number) for number in range(4)]
    for stream in streams:
        stream.thread.start()
    serials = [7]
    try:
        for turn in range(KILLS):
            goal = sum(len(stream.acknowledged) for stream in streams) + 20
            wait_until(lambda: sum(len(stream.acknowledged) for stream in streams) >= goal, 60, "updates are made")
            serials.append(serial(instance))
            if turn % 3 == 2:
                instance.martlet("dns", "sync")
            time.sleep(random.uniform(0, 0.05))
            pid = supervisor.pid("resolverd")
            assert supervisor.kill("resolverd")
            wait_until(lambda: supervisor.pid("resolverd") not in (None, pid), what="resolverd is up again")
            supervisor.wait_ready(["resolverd"])
            serials.append(serial(instance))
    finally:
        for stream in streams:
            stream.stopping.set()
        for stream in streams:
            stream.thread.join()
    assert serials == sorted(serials)
    acknowledged = [name for stream in streams for name in stream.acknowledged]
    assert len(acknowledged) > 100
    instance.martlet("dns", "sync")
    lines = (instance.directory / "dns" / ZONE).read_text()
    assert not [name for name in acknowledged if f"\n{name}.{ZONE}.\t60\tIN\tTXT\t\"{name}\"\n" not in lines]
    for name in random.sample(acknowledged, 20):
        assert ask(instance, f"{name}.{ZONE}", "TXT").answer
    print(f"{len(acknowledged)} updates acknowledged, {KILLS} kills, serial {serials[-1]}")


def test_a_journal_whose_end_is_damaged(make_instance):
    instance = make(make_instance)
    supervisor = instance.supervisor
    for number in range(3):
        assert nsupdate(instance, f"update add t{number}.{ZONE} 60 A 192.0.2.{number + 1}").returncode == 0
    supervisor.down("resolverd")
    wait_until(lambda: supervisor.pid("resolverd") is None, what="resolverd is down")
    journal = instance.directory / "dns" / f"{ZONE}.journal"
    file = instance.directory / "dns" / ZONE
    assert f"t2.{ZONE}" in file.read_text()
    # As after a power cut in the middle of an append: half a frame, then nothing.
    whole = journal.read_bytes()
    journal.write_bytes(whole + b"\x00\x00\x01\x00" + b"\x5a" * 60)
    supervisor.up("resolverd")
    supervisor.wait_ready(["resolverd"])
    wait_until(lambda: addresses(instance, "t2") == {"192.0.2.3"}, what="the zone is served")
    assert journal.read_bytes() == whole
    wait_for_log(instance, "resolverd", "never finished")
    assert nsupdate(instance, f"update add t9.{ZONE} 60 A 192.0.2.9").returncode == 0
    assert addresses(instance, "t9") == {"192.0.2.9"}


def test_rules_that_are_taken_away(make_instance):
    """Updates that are only in the journal stay, and come into the file, although there may be no more of them."""
    instance = make(make_instance)
    supervisor = instance.supervisor
    assert nsupdate(instance, f"update add kept.{ZONE} 60 A 192.0.2.44").returncode == 0
    instance.configure({"resolverd": {"zones": {ZONE: {"update": []}}}})
    pid = supervisor.pid("resolverd")
    assert supervisor.kill("resolverd")
    wait_until(lambda: supervisor.pid("resolverd") not in (None, pid), what="resolverd is up again")
    supervisor.wait_ready(["resolverd"])
    assert addresses(instance, "kept") == {"192.0.2.44"} and serial(instance) == 8
    assert "REFUSED" in nsupdate(instance, f"update add more.{ZONE} 60 A 192.0.2.45").stderr
    instance.martlet("dns", "sync", ZONE)
    supervisor.restart("resolverd")
    supervisor.wait_ready(["resolverd"])
    assert addresses(instance, "kept") == {"192.0.2.44"} and serial(instance) == 8
    assert f"kept.{ZONE}" in (instance.directory / "dns" / ZONE).read_text()


def test_a_key_that_everybody_may_read(make_instance):
    instance = make(make_instance)
    (instance.directory / "etc" / "dns-keys" / "ddns").chmod(0o644)
    instance.supervisor.down("resolverd")
    done = subprocess.run(
        [str(instance.programs / "resolverd"), "--instance", str(instance.directory)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 78
    assert "everybody may read it" in done.stderr


def test_keys_are_read_again(make_instance):
    """Another key counts within seconds, at once by command, and only where the file gives one."""
    instance = make(make_instance)
    directory = instance.directory / "etc" / "dns-keys"

    def write(text: str, mode: int = 0o640, readable: bool = True) -> None:
        instance.write(directory / "ddns", text, mode)
        if layout.is_root() and readable:
            os.chown(directory / "ddns", 0, grp.getgrnam("mlt-dns").gr_gid)

    def accepted(secret: str) -> bool:
        return nsupdate(instance, f"update add k.{ZONE} 60 A 192.0.2.1", secret=secret).returncode == 0

    def log() -> str:
        return instance.supervisor.log_text("resolverd")

    first, second, third = SECRETS["ddns"], *(base64.b64encode(random.randbytes(32)).decode() for _ in range(2))
    assert accepted(first) and not accepted(second)
    write(f"hmac-sha256 {second}\n")
    # Noticed within two seconds.
    wait_until(lambda: accepted(second), what="the other key")
    assert not accepted(first)
    # At once by command, also where nothing shows that it has changed.
    write(f"# ours\nhmac-sha256 {third}\n")
    instance.martlet("dns", "reload")
    assert accepted(third) and not accepted(second)
    # A file with an error changes nothing.
    for text, mode, reason in (
        ("hmac-md5 AAAA\n", 0o640, "unknown algorithm hmac-md5"),
        (f"hmac-sha256 {third}=\n", 0o640, "Base64"),
        (f"hmac-sha256 {second}\n", 0o644, "everybody may read it"),
    ):
        write(text, mode)
        instance.martlet("dns", "reload")
        # The logger is a process of its own, and may be a little behind.
        lines = wait_until(lambda why=reason: [line for line in log().splitlines() if why in line], what=reason)
        assert all("the old one stays" in line and "file=etc/dns-keys/ddns" in line for line in lines), log()
        assert accepted(third) and not accepted(second)
    (directory / "ddns").unlink()
    instance.martlet("dns", "reload")
    wait_for_log(instance, "resolverd", "the key's file is gone")
    assert not accepted(third)


@pytest.mark.root
def test_a_key_that_only_root_can_read(make_instance):
    """It counts as it was at the start; the log says that a change needs another start."""
    instance = make(make_instance)
    other = base64.b64encode(random.randbytes(32)).decode()
    instance.write(instance.directory / "etc" / "dns-keys" / "ddns", f"hmac-sha256 {other}\n", 0o600)
    wait_until(lambda: "the old one stays" in instance.supervisor.log_text("resolverd"), what="a line in the log")
    line = f"update add k.{ZONE} 60 A 192.0.2.1"
    assert nsupdate(instance, line).returncode == 0 and nsupdate(instance, line, secret=other).returncode != 0
    instance.supervisor.restart("resolverd")
    instance.supervisor.wait_ready(["resolverd"])
    wait_until(lambda: nsupdate(instance, line, secret=other).returncode == 0, what="the new key")
    assert nsupdate(instance, line).returncode != 0
