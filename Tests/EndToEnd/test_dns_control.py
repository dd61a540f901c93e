"""resolverd under the administrator's hands: martlet dns cache, zones, servers, log; and DNS over TLS with kdig."""

import json
import socketserver
import subprocess
import threading
import time

import dns.message
import dns.rrset
import pytest
from test_dns import ask

ADDRESSES = {"a.upstream.net.": "192.0.2.1", "b.a.upstream.net.": "192.0.2.2", "c.upstream.net.": "192.0.2.3"}


class Upstream(socketserver.BaseRequestHandler):
    def handle(self):
        query = dns.message.from_wire(self.request[0])
        answer = dns.message.make_response(query)
        question = query.question[0]
        self.server.asked.append(question.name.to_text().lower())
        address = ADDRESSES.get(question.name.to_text().lower())
        if address and question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 300, "IN", "A", address))
        self.request[1].sendto(answer.to_wire(), self.client_address)


@pytest.fixture(scope="module")
def upstream():
    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Upstream) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def instance(module_factory, upstream):
    return module_factory(
        {
            "resolverd": {
                "mode": "forward",
                "forwarders": [f"127.0.0.1:{upstream.server_address[1]}"],
                "stub-zones": {"stub.test": ["127.0.0.1:9"]},
            }
        },
        users=(),
    )


def documents(instance, *arguments) -> list | dict:
    return json.loads(instance.martlet("dns", *arguments, "--json").stdout)


def test_the_cache_is_listed_shown_and_flushed(instance, upstream):
    for name in ADDRESSES:
        assert ask(instance, name, "A").answer[0][0].address == ADDRESSES[name]
    listed = {(entry["name"], entry["type"]) for entry in documents(instance, "cache", "list")}
    assert listed >= {(name, "A") for name in ADDRESSES}
    below = documents(instance, "cache", "list", "a.upstream.net")
    assert {entry["name"] for entry in below} == {"a.upstream.net.", "b.a.upstream.net."}
    shown = instance.martlet("dns", "cache", "show", "c.upstream.net").stdout
    assert "192.0.2.3" in shown and "NOERROR" in shown
    assert documents(instance, "cache", "stats")["answers"] >= 3

    assert instance.martlet("dns", "cache", "flush", "a.upstream.net").stdout == "forgotten: 1\n"
    assert instance.martlet("dns", "cache", "show", "a.upstream.net", check=False).returncode == 1
    assert documents(instance, "cache", "show", "b.a.upstream.net")
    before = upstream.asked.count("a.upstream.net.")
    ask(instance, "a.upstream.net", "A")
    ask(instance, "c.upstream.net", "A")
    assert upstream.asked.count("a.upstream.net.") == before + 1
    assert upstream.asked.count("c.upstream.net.") == 1

    assert documents(instance, "cache", "flush", "upstream.net", "--below")["count"] == 3
    ask(instance, "c.upstream.net", "A")
    assert documents(instance, "cache", "flush")["count"] >= 1
    assert documents(instance, "cache", "list") == []


def test_zones_and_servers(instance, upstream):
    zones = {zone["name"]: zone for zone in documents(instance, "zones")}
    assert zones["example.test."]["kind"] == "local" and zones["example.test."]["records"] > 0
    assert zones["stub.test."]["kind"] == "stub"
    ask(instance, "c.upstream.net", "A")
    servers = documents(instance, "servers")
    assert any(server["kind"] == "forwarder" and "127.0.0.1" in server["address"] for server in servers)


def test_queries_are_logged_when_it_is_switched_on(instance):
    def log() -> str:
        return instance.supervisor.log_text("resolverd")

    assert instance.martlet("dns", "log").stdout == "log of queries: off\n"
    ask(instance, "quiet.example.test", "A")
    instance.martlet("dns", "log", "on")
    ask(instance, "logged.example.test", "TXT")
    deadline = time.monotonic() + 10
    while "name=logged.example.test." not in log() and time.monotonic() < deadline:
        time.sleep(0.05)
    line = next(line for line in log().splitlines() if "name=logged.example.test." in line)
    assert "client=127.0.0.1" in line and "type=TXT" in line and "transport=udp" in line
    assert "quiet.example.test" not in log()
    assert instance.martlet("dns", "log", "off").stdout == "log of queries: off\n"


def test_statistics(instance):
    before = documents(instance, "stats")
    for number in range(10):
        ask(instance, f"stats{number}.example.test", "A")
    after = documents(instance, "stats")
    assert after["queries"] - before["queries"] >= 10 and after["local-answers"] > before["local-answers"]
    assert after["octets"] <= after["limit"] and after["event-loops"] >= 1
    assert "queries: " in instance.martlet("dns", "stats").stdout
    lines = instance.martlet("dns", "stats", "--watch", "1", "--count", "2").stdout.splitlines()
    assert len(lines) == 3 and lines[0].split()[0] == "queries/s"
    rates = json.loads(instance.martlet("dns", "stats", "--watch", "1", "--count", "1", "--json").stdout)
    assert rates["limit"] == after["limit"] and rates["queriesPerSecond"] >= 0
    assert instance.martlet("dns", "stats", "--watch", "0", check=False).returncode == 64


def test_wrong_requests_are_refused(instance):
    done = instance.martlet("dns", "cache", "list", "two..dots", check=False)
    assert done.returncode != 0 and "not a domain name" in done.stderr
    done = instance.martlet("dns", "log", "perhaps", check=False)
    assert done.returncode != 0 and "neither on nor off" in done.stderr


def test_dns_over_tls(module_factory):
    import configuration

    port = configuration.free_port()
    instance = module_factory({"resolverd": {"listen-tls": [f"127.0.0.1:{port}"]}}, users=())
    certificate = instance.directory / "etc/tls/certificate.pem"
    command = ["kdig", "@127.0.0.1", "-p", str(port), f"+tls-ca={certificate}", "+tls-hostname=mail.example.test"]
    done = subprocess.run([*command, "example.test", "MX", "+short"], capture_output=True, text=True, timeout=30)
    assert done.stdout == "10 mail.example.test.\n", done.stdout + done.stderr
    wrong = subprocess.run(
        [*command[:-1], "+tls-hostname=other.test", "example.test", "MX", "+short", "+retry=0"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "10 mail" not in wrong.stdout


def test_questions_from_standard_input(instance):
    lines = "c.upstream.net A\nfull\nmail.example.test A\nbad..name\nquit\nexample.test MX\n"
    done = instance.martlet("dns", "lookup", input=lines)
    assert "192.0.2.3\n" in done.stdout
    assert "; NOERROR" in done.stdout and "flags: aa" in done.stdout
    assert "is not a domain name" in done.stdout
    assert "10 mail" not in done.stdout
