"""`martlet spf explain` and pyspf agree about the policies of spf_policies.py, or the difference is explained there."""

import json
import socketserver
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import spf
from instance import PROGRAMS
from spf_policies import CLIENTS, DIFFERENT, FAILING, POLICIES, RECORDS

SENDER = "list-user"
ALL = dict(RECORDS)
for number, policy in enumerate(POLICIES):
    pieces = [policy[start : start + 200] for start in range(0, len(policy), 200)]
    ALL[f"p{number}.test"] = [("TXT", tuple(pieces))]


def quoted(text: str) -> str:
    octets = text.encode()
    return '"' + "".join(chr(o) if 32 <= o < 127 and o not in b'"\\' else f"\\{o:03}" for o in octets) + '"'


def presentation(kind: str, value) -> str:
    if kind == "TXT":
        return " ".join(quoted(piece) for piece in value)
    if kind == "MX":
        return f"{value[0]} {value[1].rstrip('.')}."
    return f"{value}." if kind in ("CNAME", "PTR") else value


def owner(name: str) -> str:
    return name.replace("%", "\\037").replace("@", "\\064") + "."


class Server(socketserver.BaseRequestHandler):
    """Answers from ALL as a recursive server would."""

    def handle(self):
        octets, reply_socket = self.request
        query = dns.message.from_wire(octets)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        name = b".".join(question.name.labels[:-1]).decode("latin-1").lower()
        for _ in range(20):
            if name in FAILING:
                answer.set_rcode(dns.rcode.SERVFAIL)
                break
            if name not in ALL:
                answer.set_rcode(dns.rcode.NXDOMAIN)
                break
            values = [presentation(kind, value) for found, value in ALL[name] if found == kind]
            if values:
                answer.answer.append(dns.rrset.from_text(owner(name), 300, "IN", kind, *values))
                break
            aliases = [value for found, value in ALL[name] if found == "CNAME"]
            if not aliases:
                break
            answer.answer.append(dns.rrset.from_text(owner(name), 300, "IN", "CNAME", aliases[0] + "."))
            name = aliases[0]
        reply_socket.sendto(answer.to_wire(max_size=65535), self.client_address)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    zone = tmp_path_factory.mktemp("spf") / "zone"
    lines = ["$TTL 300"]
    for name, records in ALL.items():
        lines += [f"{owner(name)} IN {kind} {presentation(kind, value)}" for kind, value in records]
    zone.write_text("\n".join(lines) + "\n")
    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield {"zone": ["--zone", str(zone)], "resolver": ["--resolver", f"127.0.0.1:{server.server_address[1]}"]}
        server.shutdown()
        thread.join()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        yield pool


def ours(domain: str, client: str, source: list[str]) -> tuple[str, str | None]:
    command = [str(PROGRAMS / "martlet"), "spf", "explain", domain, "--ip", client, "--sender", f"{SENDER}@{domain}"]
    command += ["--helo", "helo.test", "--json", *source]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1, 2), done.stderr
    outcome = json.loads(done.stdout)
    return outcome["result"], folded(outcome.get("explanation"))


def theirs(domain: str, client: str) -> tuple[str, str | None]:
    def lookup(name, kind, strict=True, timeout=20):
        name = str(name).rstrip(".").lower()
        if name in FAILING:
            raise spf.TempError("DNS")
        answers = []
        for found, value in ALL.get(name, []):
            if found not in (kind, "CNAME"):
                continue
            if found == "TXT":
                value = [piece.encode() for piece in value]
            answers.append(((name, found), value))
        return answers

    original, spf.DNSLookup = spf.DNSLookup, lookup
    try:
        query = spf.query(i=client, s=f"{SENDER}@{domain}", h="helo.test", strict=True)
        result, _, explanation = query.check()
    finally:
        spf.DNSLookup = original
    if result != "fail" or explanation == spf.EXPLANATIONS["fail"]:
        explanation = None
    return result, folded(explanation)


def folded(explanation: str | None) -> str | None:
    """pyspf writes the nibbles of addresses in capitals."""
    return explanation.lower() if explanation else None


def test_there_are_enough_policies():
    assert len(POLICIES) >= 200
    assert len(set(POLICIES)) == len(POLICIES)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ("resolver", "zone"))
def test_pyspf_agrees(sources, pool, kind):
    unexplained, explained = [], set()
    for number, policy in enumerate(POLICIES):
        # A file knows no failures.
        if kind == "zone" and any(name in policy for name in ("broken",)):
            continue
        checks = [(f"p{number}.test", client, sources[kind]) for client in CLIENTS]
        for client, mine in zip(CLIENTS, pool.map(ours, *zip(*checks))):
            other = theirs(f"p{number}.test", client)
            if mine == other:
                continue
            expected = DIFFERENT.get(policy)
            if expected and (mine[0], other[0]) == expected[:2]:
                explained.add(policy)
            else:
                unexplained.append((policy, client, mine, other))
    assert not unexplained
    assert explained == set(DIFFERENT)


def test_the_tree_of_records(sources):
    command = [str(PROGRAMS / "martlet"), "spf", "explain", "nine.test", "--json", *sources["zone"]]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    tree = json.loads(done.stdout)
    assert tree["lookups"] == 10
    assert [line["text"] for line in tree["lines"] if line["depth"] == 0] == [
        "v=spf1 include:eight.test a:h1.test -all", "include:eight.test", "a:h1.test", "-all",
    ]  # fmt: skip
