"""Zone transfers: out to dig, kdig, dnspython, BIND, Knot and NSD; in from BIND, Knot and NSD; NOTIFY both ways."""

import base64
import json
import os
import signal
import socket
import subprocess
import threading
import time

import configuration
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.xfr
import dns.zone
import pytest
from dns_servers import BIND, NSD, Key, Knot, Zone, ask, serial, wait_for

KEY = Key("xfer.", base64.b64encode(bytes(range(32))).decode())
OTHER = Key("other.", base64.b64encode(bytes(range(1, 33))).decode(), "hmac-sha512")
BIG = 50_000
TIMES = "3600 600 86400 300"


def text(serial: int, *lines: str, times: str = TIMES) -> str:
    return "\n".join(["$TTL 300", f"@ SOA ns root {serial} {times}", "  NS ns", "ns A 127.0.0.1", *lines, ""])


def prepare(instance, zones: dict[str, str], keys=(KEY, OTHER)) -> None:
    """Writes master files and keys of an instance that hasn't been started."""
    directory = instance.directory / "etc" / "dns-keys"
    directory.mkdir(mode=0o700, exist_ok=True)
    for key in keys:
        instance.write(directory / key.name.rstrip("."), f"{key.algorithm} {key.secret}\n", 0o600)
    for name, content in zones.items():
        instance.write(instance.directory / "etc" / "zones" / name, content)


def settings(zones: dict, **more) -> dict:
    keys = {key.name: f"etc/dns-keys/{key.name.rstrip('.')}" for key in (KEY, OTHER)}
    return {"resolverd": {"keys": keys, "zones": zones, "minimum-refresh": "1s", **more}}


def own(name: str, **more) -> dict:
    return {"file": f"etc/zones/{name}", "allow-transfer": ["key xfer."], **more}


def zones(instance) -> dict[str, dict]:
    return {zone["name"]: zone for zone in json.loads(instance.martlet("dns", "zones", "--json").stdout)}


def records(zone: dns.zone.Zone) -> set:
    return {
        (name, rdataset.ttl, record) for name, rdataset in zone.iterate_rdatasets() for record in rdataset
    }


def transfer(port: int, name: str, key: Key | None = KEY, zone: dns.zone.Zone | None = None) -> dns.zone.Zone:
    """The zone as dnspython gets it: by IXFR where it's given one."""
    zone = zone or dns.zone.Zone(name)
    query, _ = dns.xfr.make_query(zone, keyring=key.ring if key else None, keyname=key.name if key else None)
    dns.query.inbound_xfr("127.0.0.1", zone, query, port=port, timeout=20, lifetime=40)
    return zone


# Out


@pytest.fixture(scope="module")
def secondaries(tmp_path_factory):
    """BIND, Knot and NSD on free ports, not started yet."""
    base = tmp_path_factory.mktemp("secondaries")
    servers = [BIND(base / "bind", KEY, []), Knot(base / "knot", KEY, []), NSD(base / "nsd", KEY, [])]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def tls_port():
    return configuration.free_port()


@pytest.fixture(scope="module")
def primary(module_factory, secondaries, tls_port):
    notify = [f"127.0.0.1:{server.port} key xfer." for server in secondaries]
    instance = module_factory(
        settings(
            {
                "out.test": own("out.test", notify=notify),
                "big.test": own("big.test", **{"allow-transfer": ["127.0.0.1"]}),
                "wide.test": own("wide.test", **{"allow-transfer": ["127.0.0.1"]}),
                "closed.test": "etc/zones/closed.test",
            },
            **{"listen-tls": [f"127.0.0.1:{tls_port}"]},
        ),
        users=(),
        start=False,
    )
    odd = ["*.wild TXT \"a b\" \"\\\"\\200\"", "sub NS ns.sub", "ns.sub A 192.0.2.7", "alias CNAME www.example.net.",
           "t TYPE65400 \\# 3 010203", "k CAA 0 issue \"ca.test\"", "d DNAME example.net."]
    hosts = [f"h{number} A 10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(BIG)]
    wide = [f"h{number} TXT" + 4 * f" {'x' * 250}" for number in range(10_000)]
    content = {"out.test": text(5, *odd), "big.test": text(1, *hosts), "wide.test": text(1, *wide), "closed.test": text(1)}
    prepare(instance, content)
    instance.start()
    return instance


@pytest.mark.parametrize("program", ["dig", "kdig", "dig +tls", "kdig +tls"])
def test_dig(primary, tls_port, program):
    port = tls_port if "+tls" in program else primary.ports["dns"]
    command = [*program.split(), "@127.0.0.1", "-p", str(port), "out.test", "AXFR"]
    done = subprocess.run([*command, "-y", KEY.dig], capture_output=True, text=True, timeout=30)
    lines = [line.split() for line in done.stdout.splitlines() if line and not line.startswith(";") and "TSIG" not in line]
    assert [line[3] for line in (lines[0], lines[-1])] == ["SOA", "SOA"]
    assert {line[3] for line in lines} >= {"TXT", "CNAME", "DNAME", "CAA", "TYPE65400", "NS", "A"}
    assert ["ns.sub.out.test.", "300", "IN", "A", "192.0.2.7"] in lines
    # The key decides, and it must be the right one.
    for options in ([], ["-y", OTHER.dig], ["-y", f"hmac-sha256:xfer.:{OTHER.secret}"], ["-y", f"hmac-sha256:none.:{KEY.secret}"]):
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=30)
        assert "SOA" not in [word for line in done.stdout.splitlines() if not line.startswith(";") for word in line.split()]


def test_dnspython(primary):
    zone = transfer(primary.ports["dns"], "out.test")
    file = (primary.directory / "etc" / "zones" / "out.test").read_text()
    assert records(zone) == records(dns.zone.from_text(file, "out.test"))


def big_zone(port: int) -> list[str]:
    """The addresses in the big zone as dig gets it, in order."""
    command = ["dig", "@127.0.0.1", "-p", str(port), "+onesoa", "big.test", "AXFR"]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
    hosts = [line.split() for line in lines if line.startswith("h")]
    return sorted((words[0] + " " + words[4] for words in hosts), key=lambda line: int(line[1 : line.index(".")]))


BIG_ZONE = [f"h{number}.big.test. 10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(BIG)]


def test_a_big_zone(primary):
    assert big_zone(primary.ports["dns"]) == BIG_ZONE


def query(kind: str, name: str = "out.test", serial: int | None = None, key: Key | None = KEY) -> dns.message.Message:
    message = dns.message.make_query(name, kind)
    if serial is not None:
        soa = f"ns.{name}. root.{name}. {serial} {TIMES}"
        message.authority.append(dns.rrset.from_text(f"{name}.", 0, "IN", "SOA", soa))
    if key:
        message.use_tsig(key.ring, key.name)
    return message


def test_who_gets_what(primary):
    port = primary.ports["dns"]

    def code(message, send=dns.query.tcp):
        return send(message, "127.0.0.1", 10, port).rcode()

    assert code(query("AXFR", "out.test", key=None)) == dns.rcode.REFUSED
    assert code(query("AXFR", "closed.test")) == dns.rcode.REFUSED
    assert code(query("AXFR", "sub.out.test")) == dns.rcode.NOTAUTH
    assert code(query("AXFR", "elsewhere.test")) == dns.rcode.NOTAUTH
    assert code(query("AXFR", "localhost")) == dns.rcode.REFUSED
    assert code(query("AXFR"), dns.query.udp) in (dns.rcode.FORMERR, dns.rcode.NOTIMP)
    assert code(query("IXFR")) == dns.rcode.FORMERR
    assert code(query("IXFR", serial=5, key=None)) == dns.rcode.REFUSED
    assert code(query("IXFR", serial=5, key=None), dns.query.udp) == dns.rcode.REFUSED


def test_differences_for_those_who_have_the_version(primary):
    for send in (dns.query.tcp, dns.query.udp):
        for held in (5, 6):
            answer = send(query("IXFR", serial=held), "127.0.0.1", 10, primary.ports["dns"])
            assert answer.rcode() == dns.rcode.NOERROR and answer.flags & dns.flags.AA
            assert [record.serial for rrset in answer.answer for record in rrset] == [5]
    # By UDP only whether there is more; the rest comes over TCP (RFC 1995 §2).
    answer = dns.query.udp(query("IXFR", serial=4), "127.0.0.1", 10, primary.ports["dns"])
    assert [record.serial for rrset in answer.answer for record in rrset] == [5]
    zone = dns.zone.from_text(text(4), "out.test")
    assert len(transfer(primary.ports["dns"], "out.test", zone=zone).nodes) > 8


def test_a_client_that_does_not_read(primary):
    """It holds one of ten places as long as it's there, and no more of the zone is made than the system takes."""

    def code(name: str, key: Key | None = None) -> int:
        with socket.create_connection(("127.0.0.1", primary.ports["dns"]), 10) as client:
            asked = query("AXFR", name, key=key).to_wire()
            client.sendall(len(asked).to_bytes(2, "big") + asked)
            with client.makefile("rb") as file:
                return file.read(6)[5] & 15

    wire = query("AXFR", "wide.test", key=None).to_wire()
    sockets = []
    for _ in range(10):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", primary.ports["dns"]))
        client.sendall(len(wire).to_bytes(2, "big") + wire)
        sockets.append(client)
    for client in sockets:
        # It has its place before anybody else asks; what it looks at stays unread.
        client.settimeout(30)
        assert client.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL)[5] & 15 == dns.rcode.NOERROR
    try:
        wait_for(lambda: code("wide.test") == dns.rcode.SERVFAIL)
        assert ask("wide.test", "SOA", primary.ports["dns"]).answer
    finally:
        for client in sockets:
            client.close()
    wait_for(lambda: code("out.test", KEY) == dns.rcode.NOERROR)
    # Whoever didn't get all is named in the log, which comes through another process.
    def is_named() -> bool:
        failed = [line for line in primary.supervisor.log_text("resolverd").splitlines() if "transfer failed" in line]
        return any("wide.test" in line and "127.0.0.1" in line for line in failed)

    wait_for(is_named)


def test_secondaries_are_told_and_transfer(primary, secondaries):
    port = primary.ports["dns"]
    for server in secondaries:
        server.zones.append(Zone("out.test", primary=port))
        server.start()
    for server in secondaries:
        wait_for(lambda server=server: serial("out.test", server.port) == 5, server.log)
    file = primary.directory / "etc" / "zones" / "out.test"
    primary.write(file, file.read_text().replace("root 5 ", "root 6 ") + "new A 192.0.2.99\n")
    primary.martlet("dns", "reload")
    for server in secondaries:
        wait_for(lambda server=server: serial("out.test", server.port) == 6, server.log)
        assert ask("new.out.test", "A", server.port).answer[0][0].address == "192.0.2.99"
        assert ask("t.out.test", "TYPE65400", server.port).answer
        wait_for(lambda server=server: came_as_differences(server), server.log)


def came_as_differences(server) -> bool:
    """Whether the last version of out.test did, by the server's own word."""
    if isinstance(server, NSD):
        # It stores differences that came, and has them for others; it makes none (create-ixfr).
        answer = dns.query.tcp(query("IXFR", serial=5), "127.0.0.1", 10, server.port, one_rr_per_rrset=True)
        return [rrset[0].serial for rrset in answer.answer if rrset.rdtype == dns.rdatatype.SOA] == [6, 5, 6, 6]
    lines = (server.directory / "log").read_text(errors="replace").splitlines()
    if isinstance(server, BIND):
        return any(line.endswith("got incremental response") for line in lines)
    return any("IXFR, incoming" in line and "finished" in line for line in lines) and "AXFR-style" not in str(lines)


class NotifySink:
    """A secondary that doesn't answer the first notifications."""

    def __init__(self, silent: int):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.silent, self.got = silent, []
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                wire, client = self.socket.recvfrom(4096)
            except OSError:
                return
            message = dns.message.from_wire(wire, keyring=KEY.ring)
            self.got.append((message, client))
            if len(self.got) > self.silent:
                self.socket.sendto(dns.message.make_response(message).to_wire(), client)


def test_notifications_are_repeated(make_instance):
    sink = NotifySink(silent=1)
    peers = [f"127.0.0.1:{sink.port} key xfer."]
    zone = own("out.test", notify=peers, **{"source-addresses": ["127.0.0.3"]})
    instance = make_instance(settings({"out.test": zone}), users=(), start=False)
    prepare(instance, {"out.test": text(5)})
    instance.start()
    wait_for(lambda: len(sink.got) >= 2)
    for message, client in sink.got:
        assert message.opcode() == dns.opcode.NOTIFY and message.flags & dns.flags.AA
        assert message.question[0].rdtype == dns.rdatatype.SOA and message.keyname == dns.name.from_text(KEY.name)
        assert message.answer[0][0].serial == 5
        assert client[0] == "127.0.0.3"
    sink.socket.close()


# In


# So that differences are worth it: BIND sends the whole zone where it's no longer.
FILLING = [f"filling{number} A 192.0.2.{number}" for number in range(100)]


@pytest.fixture(scope="module")
def primaries(tmp_path_factory):
    """BIND, Knot and NSD with a zone each; the secondary's port is known before it runs."""
    base = tmp_path_factory.mktemp("primaries")
    return [BIND(base / "bind", KEY, []), Knot(base / "knot", KEY, []), NSD(base / "nsd", KEY, [])]


@pytest.fixture(scope="module")
def secondary(module_factory, primaries, primary):
    zones = {
        server.directory.name + ".test": {"primaries": [f"127.0.0.1:{server.port} key xfer."]} for server in primaries
    }
    zones["big.test"] = {"primaries": ["127.0.0.1:1", f"127.0.0.1:{primary.ports['dns']}"], "allow-transfer": ["127.0.0.1"]}
    zones["never.test"] = {"primaries": ["127.0.0.1:1"]}
    zones["badkey.test"] = {"primaries": [f"127.0.0.1:{primaries[0].port} key other."]}
    instance = module_factory(settings(zones), users=(), start=False)
    prepare(instance, {})
    for server in primaries:
        zone = Zone(server.directory.name + ".test", notify=(instance.ports["dns"],))
        zone.text = text(1, "www A 192.0.2.1", "other TXT \"x\"", *FILLING)
        server.zones.append(zone)
        server.start()
    instance.start()
    yield instance
    for server in primaries:
        server.stop()


def test_zones_come(secondary, primaries):
    port = secondary.ports["dns"]
    for server in primaries:
        name = server.zones[0].name
        wait_for(lambda name=name: serial(name, port) == 1, server.log)
        answer = ask(f"www.{name}", "A", port)
        assert answer.flags & dns.flags.AA and answer.answer[0][0].address == "192.0.2.1"
        copy = secondary.directory / "dns" / name
        wait_for(copy.exists)
        expected = records(dns.zone.from_text(server.zones[0].text, name))
        assert records(dns.zone.from_file(str(copy), name)) == expected
    shown = zones(secondary)
    assert shown["bind.test."]["kind"] == "secondary" and shown["bind.test."]["state"] == "current"
    assert shown["bind.test."]["serial"] == 1 and shown["bind.test."]["expires"] > time.time() + 80000
    assert shown["never.test."]["state"] == "waiting" and "127.0.0.1 port 1" in shown["never.test."]["reason"]
    assert ask("never.test", "SOA", port).rcode() == dns.rcode.SERVFAIL


def test_a_primary_with_another_key(secondary):
    shown = wait_for(lambda: (zone := zones(secondary)["badkey.test."]).get("reason") and zone)
    assert "BADKEY" in shown["reason"] and shown["state"] == "waiting"


def test_a_big_zone_comes_in_full(secondary, primary):
    port = secondary.ports["dns"]
    # The first primary isn't there: the next one is asked.
    wait_for(lambda: serial("big.test", port) == 1)
    assert big_zone(port) == BIG_ZONE


def test_changes_come_when_primaries_say_so(secondary, primaries):
    port = secondary.ports["dns"]
    for server in primaries:
        zone = server.zones[0]
        new = text(2, "www A 192.0.2.2", "more TXT \"y\"", *FILLING)
        if isinstance(server, BIND):
            update = f"server 127.0.0.1 {server.port}\nzone {zone.name}\nupdate delete www.{zone.name} A\nupdate add www.{zone.name} 300 A 192.0.2.2\nupdate delete other.{zone.name} TXT\nupdate add more.{zone.name} 300 TXT y\nsend\n"
            subprocess.run(["nsupdate", "-y", KEY.dig], input=update, text=True, check=True, timeout=30)
            zone.text = new
        else:
            server.write(zone, new)
            server.reload() if isinstance(server, Knot) else server.process.send_signal(signal.SIGHUP)
    for server in primaries:
        zone = server.zones[0]
        wait_for(lambda name=zone.name: serial(name, port) == 2, server.log)
        assert ask(f"www.{zone.name}", "A", port).answer[0][0].address == "192.0.2.2"
        assert ask(f"other.{zone.name}", "TXT", port).rcode() == dns.rcode.NXDOMAIN
        copy = secondary.directory / "dns" / zone.name
        expected = records(dns.zone.from_text(zone.text, zone.name))
        wait_for(lambda: records(dns.zone.from_file(str(copy), zone.name)) == expected)

    def transferred() -> list[str]:
        lines = secondary.supervisor.log_text("resolverd").splitlines()
        return [line for line in lines if "zone transferred" in line and "serial=2" in line]

    # BIND and Knot had differences to give.
    for name in ("bind.test.", "knot.test."):
        lines = wait_for(lambda name=name: [line for line in transferred() if f"zone={name}" in line])
        assert any("differences=1" in line for line in lines), lines


def test_notifications_of_others(secondary):
    port = secondary.ports["dns"]

    def notify(name, source=None, key=None) -> int:
        message = dns.message.make_query(name, "SOA")
        message.set_opcode(dns.opcode.NOTIFY)
        if key:
            message.use_tsig(key.ring, key.name)
        return dns.query.udp(message, "127.0.0.1", 10, port, source=source).rcode()

    assert notify("bind.test") == dns.rcode.NOERROR
    assert notify("bind.test", "127.0.0.5") == dns.rcode.REFUSED
    assert notify("bind.test", "127.0.0.5", OTHER) == dns.rcode.REFUSED
    assert notify("bind.test", "127.0.0.5", KEY) == dns.rcode.NOERROR
    assert notify("elsewhere.test") == dns.rcode.NOTAUTH
    assert notify("example.test") == dns.rcode.NOTAUTH


def test_a_look_by_command(secondary, primaries):
    done = secondary.martlet("dns", "transfer", "bind.test")
    assert done.stdout == f"bind.test. serial {serial('bind.test', primaries[0].port)}\n"
    failed = secondary.martlet("dns", "transfer", "never.test", check=False)
    assert failed.returncode != 0 and "127.0.0.1 port 1" in failed.stderr
    failed = secondary.martlet("dns", "transfer", "example.test", check=False)
    assert failed.returncode != 0 and "no secondary zone" in failed.stderr


def test_primary_down_restart_and_expiry(make_instance, tmp_path):
    zone_texts = {"long.test": text(7, "www A 192.0.2.1"), "short.test": text(7, "www A 192.0.2.1", times="1 1 3 300")}
    server = BIND(tmp_path / "bind", KEY, [Zone(name, content) for name, content in zone_texts.items()])
    server.start()
    primaries = {"primaries": [f"127.0.0.1:{server.port} key xfer."]}
    instance = make_instance(settings(dict.fromkeys(zone_texts, primaries)), users=(), start=False)
    prepare(instance, {})
    instance.start()
    port = instance.ports["dns"]

    def restart():
        instance.supervisor.restart("resolverd")
        instance.supervisor.wait_ready(["resolverd"])

    def code(name: str) -> int | None:
        return (answer := ask(name, "A", port)) and answer.rcode()

    try:
        for name in zone_texts:
            wait_for(lambda name=name: serial(name, port) == 7, server.log)
            wait_for((instance.directory / "dns" / f"{name}.state").exists)
    finally:
        server.stop()
    # With its primary down it starts with its copy.
    restart()
    assert ask("www.long.test", "A", port).answer[0][0].address == "192.0.2.1"
    wait_for(lambda: code("www.short.test") == dns.rcode.SERVFAIL)
    assert zones(instance)["short.test."]["state"] == "expired"
    assert zones(instance)["long.test."]["state"] == "current"
    # What is too old stays so. Times are whole seconds, so that it may have been one early.
    time.sleep(1.1)
    restart()
    assert code("www.short.test") == dns.rcode.SERVFAIL and code("www.long.test") == dns.rcode.NOERROR
    server.start()
    try:
        wait_for(lambda: serial("short.test", port) == 7, server.log)
    finally:
        server.stop()


class Liar:
    """A primary that answers the SOA query with authority and a request for the zone with what it's given."""

    def __init__(self, pieces):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pieces = pieces
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, client.makefile("rb") as file:
            try:
                while head := file.read(2):
                    asked = dns.message.from_wire(file.read(int.from_bytes(head, "big")), keyring=KEY.ring)
                    name = asked.question[0].name.to_text()
                    answer = dns.message.make_response(asked)
                    answer.flags |= dns.flags.AA
                    answer.tsig = None
                    answer.answer.append(rrset(name, "SOA", f"ns.{name} root.{name} 9 {TIMES}"))
                    if asked.question[0].rdtype == dns.rdatatype.SOA:
                        client.sendall(framed(answer))
                        continue
                    for piece in self.pieces(answer, name):
                        client.sendall(piece)
            except OSError:
                return


def framed(message) -> bytes:
    wire = message.to_wire()
    return len(wire).to_bytes(2, "big") + wire


def rrset(name: str, kind: str, data: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(name, 300, "IN", kind, data)


def endless(answer, name):
    number = 0
    while True:
        for _ in range(300):
            number += 1
            answer.answer.append(rrset(f"h{number}.{name}", "TXT", "x" * 100))
        yield framed(answer)
        answer.answer = []


def foreign(answer, name):
    answer.answer += [rrset("www.example.net.", "A", "192.0.2.1"), answer.answer[0]]
    yield framed(answer)


def garbage(answer, name):
    yield framed(answer)
    yield b"\x00\x40" + os.urandom(64)


def ending(answer, name):
    answer.answer.append(rrset(f"www.{name}", "A", "192.0.2.1"))
    yield framed(answer)
    raise OSError


def silent(answer, name):
    yield framed(answer)
    time.sleep(60)


def faulty(answer, name):
    answer.answer += [rrset(f"a.{name}", "CNAME", f"b.{name}"), rrset(f"a.{name}", "NS", f"b.{name}"), answer.answer[0]]
    yield framed(answer)


def unsigned(answer, name):
    yield framed(answer)


LIES = {
    unsigned: "no signature",
    endless: "more records or octets",
    foreign: "www.example.net. is not in the zone",
    garbage: "a malformed message",
    ending: "closed",
    silent: "timed out",
    faulty: "CNAME and NS",
}


def test_primaries_that_lie(make_instance):
    liars = {f"{pieces.__name__}.test": Liar(pieces) for pieces in LIES}
    secondary = {name: {"primaries": [f"127.0.0.1:{liar.port}"]} for name, liar in liars.items()}
    secondary["unsigned.test"]["primaries"][0] += " key xfer."
    more = {"maximum-zone-size": "1MiB", "maximum-transfer-time": "2s"}
    instance = make_instance(settings(secondary, **more), users=(), start=False)
    prepare(instance, {})
    instance.start()
    for pieces, reason in LIES.items():
        name = f"{pieces.__name__}.test"
        shown = wait_for(lambda name=name: (zone := zones(instance)[f"{name}."]).get("reason") and zone)
        assert reason in shown["reason"] and shown["state"] == "waiting"
        assert ask(name, "SOA", instance.ports["dns"]).rcode() == dns.rcode.SERVFAIL
    for liar in liars.values():
        liar.listener.close()
