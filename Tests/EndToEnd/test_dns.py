"""resolverd with dnspython and dig, by UDP, TCP and its own socket."""

import socket
import socketserver
import subprocess
import threading

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

TRANSPORTS = ("udp", "tcp", "socket")


def ask(instance, name: str, kind: str, transport: str = "udp", **options) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)
    if transport == "udp":
        return dns.query.udp(query, "127.0.0.1", 10, instance.ports["dns"])
    if transport == "tcp":
        return dns.query.tcp(query, "127.0.0.1", 10, instance.ports["dns"])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(instance.directory / "run" / "dns.sock"))
        wire = query.to_wire()
        connection.sendall(len(wire).to_bytes(2, "big") + wire)
        with connection.makefile("rb") as file:
            return dns.message.from_wire(file.read(int.from_bytes(file.read(2), "big")))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_local_zone(system, transport):
    answer = ask(system, "example.test", "MX", transport)
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.flags & dns.flags.QR and answer.flags & dns.flags.AA and answer.flags & dns.flags.RA
    assert [record.to_text() for record in answer.answer[0]] == ["10 mail.example.test."]
    assert answer.answer[0].ttl == 3600


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_negative_answers(system, transport):
    answer = ask(system, "nowhere.example.test", "A", transport)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.authority[0].rdtype == dns.rdatatype.SOA
    answer = ask(system, "mail.example.test", "TXT", transport)
    assert answer.rcode() == dns.rcode.NOERROR and not answer.answer
    assert answer.authority[0].rdtype == dns.rdatatype.SOA


def test_an_alias(system):
    answer = ask(system, "www.example.test", "A")
    kinds = {rrset.rdtype for rrset in answer.answer}
    assert kinds == {dns.rdatatype.CNAME, dns.rdatatype.A}


def test_case_does_not_matter(system):
    assert ask(system, "MaIl.ExAmPlE.tEsT", "A").answer[0][0].address == "127.0.0.1"


def test_dig(system):
    port = str(system.ports["dns"])
    command = ["dig", "@127.0.0.1", "-p", port, "+short", "mail.example.test", "AAAA"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "::1"


@pytest.mark.parametrize("octets", [b"", b"\x00", b"x" * 11, b"\xff" * 600, b"\x12\x34\x01\x00\x00\x01" + b"\x00" * 6 + b"\xc0\x0c"])
def test_nonsense(system, octets):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(octets, ("127.0.0.1", system.ports["dns"]))
    assert ask(system, "mail.example.test", "A").answer


class Upstream(socketserver.BaseRequestHandler):
    """A name server that answers A queries and counts them."""

    def handle(self):
        octets, reply_socket = self.request
        query = dns.message.from_wire(octets)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        name = query.question[0].name
        with self.server.lock:
            self.server.asked.append(name.to_text().lower())
        if name.to_text().lower().startswith("missing"):
            answer.set_rcode(dns.rcode.NXDOMAIN)
            soa = "ns.upstream.net. root.upstream.net. 1 7200 900 1209600 300"
            answer.authority.append(dns.rrset.from_text("upstream.net.", 300, "IN", "SOA", soa))
        else:
            answer.answer.append(dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.1"))
        reply_socket.sendto(answer.to_wire(), self.client_address)


@pytest.fixture
def upstream():
    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Upstream) as server:
        server.lock, server.asked = threading.Lock(), []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_forwarding_and_cache(make_instance, upstream):
    instance = make_instance({"resolverd": {"mode": "forward", "forwarders": [f"127.0.0.1:{upstream.server_address[1]}"]}}, users=())
    for _ in range(3):
        answer = ask(instance, "host.upstream.net", "A")
        assert answer.answer[0][0].address == "192.0.2.1"
        assert 295 <= answer.answer[0].ttl <= 300
        assert not answer.flags & dns.flags.AA
        assert ask(instance, "missing.upstream.net", "A", "tcp").rcode() == dns.rcode.NXDOMAIN
    assert upstream.asked.count("host.upstream.net.") == 1
    assert upstream.asked.count("missing.upstream.net.") == 1
    assert ask(instance, "mail.example.test", "A").flags & dns.flags.AA
