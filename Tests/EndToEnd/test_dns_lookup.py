"""martlet dns lookup on the pretended internet: answers in each form, the way down from the root, the chain of trust."""

import json
import socket

import pytest
from instance import PROGRAMS

pytestmark = pytest.mark.root

MARTLET = str(PROGRAMS / "martlet")


def lookup(resolver, *arguments: str, code: int = 0, input: str = "", server: str | None = None) -> str:
    """What it says when it's asked through a resolver, or another server; an empty one for resolverd's own socket."""
    if server is None:
        server = f"@{resolver.address}"
    where = [server] if server else ["--instance", str(resolver.directory)]
    done = resolver.done(MARTLET, "dns", "lookup", *where, *arguments, input=input)
    assert done.returncode == code, done.stdout
    return done.stdout


def test_short_answers(martlet):
    assert lookup(martlet, "www.plain.com") == (
        "www.plain.com. is an alias of plain.com.\n45.100.0.1\n2a0e:100::1\n"
    )
    assert lookup(martlet, "plain.com", "mx") == "10 mail.plain.com.\n20 mail.plain.net.\n"
    assert lookup(martlet, "plain.com", "--type", "MX") == lookup(martlet, "plain.com", "-t", "mx", server="")
    assert lookup(martlet, "plain.com", "SRV", code=1) == "no such record\n"
    assert lookup(martlet, "no.plain.com", code=1) == "no such name\n"


def test_failures_say_why(martlet):
    said = lookup(martlet, "www.expired.bogus", "A", code=2)
    assert said.startswith("SERVFAIL: ") and "expired" in said
    assert lookup(martlet, "www.expired.bogus", "A", "--checking-disabled").startswith("45.")
    with martlet.namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.99", 53))
        quickly = ["--timeout", "1", "--attempts", "1"]
        assert "no answer" in lookup(martlet, "plain.com", "A", *quickly, code=2, server="@127.0.0.99")
    # Nobody listens there.
    assert "refused" in lookup(martlet, "plain.com", "A", code=2, server="@127.0.0.99").lower()


@pytest.mark.parametrize("words", [["bad..name"], ["plain.com", "NOTYPE"], ["a", "b", "c"], ["-x", "no.address"], ["--attempts", "0", "a"]])
def test_wrong_questions(martlet, words):
    lookup(martlet, *words, code=64)


@pytest.mark.parametrize("server", ["@no-such-server.invalid", "@127.0.0.1#0", "@127.0.0.1#x", "@"])
def test_wrong_servers(martlet, server):
    lookup(martlet, "plain.com", server=server, code=64)


@pytest.mark.parametrize("server", ["@45.2.0.1", "@45.2.0.1:53", "@45.2.0.1#53", "@2a0e:2::1", "@2a0e:2::1#53", "@[2a0e:2::1]", "@[2a0e:2::1]:53"])
def test_ways_to_name_a_server(martlet, server):
    said = lookup(martlet, "mail.plain.com", "A", "--full", "--no-recursion", server=server)
    assert "flags: aa\n" in said and "mail.plain.com.\t" in said and "45.100.0.25" in said


def test_addresses_are_turned_round(martlet):
    for words in (["45.100.0.1"], ["-x", "45.100.0.1"], ["1.0.100.45.in-addr.arpa", "PTR"]):
        assert lookup(martlet, *words) == "www.plain.com.\n"
    assert lookup(martlet, "2a0e:100::1") == "www.plain.com.\n"
    assert lookup(martlet, "45.100.0.77", code=1) == "no such name\n"


def test_names_in_other_scripts(martlet):
    assert lookup(martlet, "mail.a15-nsec.рф", "A") == lookup(martlet, "mail.a15-nsec.xn--p1ai", "A")
    assert "is not an internationalised domain name" in lookup(martlet, "a\u2024b.рф\u0378", code=64)


def test_full(martlet):
    said = lookup(martlet, "www.a8-nsec.com", "A", "--full", "--dnssec")
    assert "; NOERROR, id " in said and "flags: rd ra ad\n" in said
    assert "; EDNS version 0, flags do, udp 1232" in said
    assert ";   www.a8-nsec.com. IN A\n" in said
    assert "\tIN\tRRSIG\tA 8 2 " in said and said.splitlines()[-1].startswith(f"; from {martlet.address} (udp) in ")
    said = lookup(martlet, "no.a8-nsec.com", "A", "--full", code=1)
    assert "; NXDOMAIN" in said and "; authority\n" in said and "\tIN\tSOA\t" in said
    said = lookup(martlet, "www.expired.bogus", "A", "--full", code=2)
    assert "EDE: 7 (Signature Expired): " in said


def test_long_answers_come_by_tcp(martlet):
    said = lookup(martlet, "huge.plain.com", "TXT", "--full")
    assert said.count("\tTXT\t") == 40 and " (tcp) in " in said
    assert " (tcp) in " in lookup(martlet, "plain.com", "A", "--full", "--tcp")
    assert "; from resolverd (socket) in " in lookup(martlet, "huge.plain.com", "TXT", "--full", server="")


def test_json(martlet):
    documents = json.loads(lookup(martlet, "www.a13-nsec.info", "--json", "--dnssec"))
    assert [document["type"] for document in documents] == ["A", "AAAA"]
    first = documents[0]
    assert first["status"] == "NOERROR" and "ad" in first["flags"] and first["transport"] == "udp"
    assert first["edns"] == {"do": True, "options": [], "udp": 1232, "version": 0}
    assert {record["type"] for record in first["answer"]} == {"CNAME", "A", "RRSIG"}
    failed = json.loads(lookup(martlet, "www.expired.bogus", "A", "--json", code=2))[0]
    assert failed["status"] == "SERVFAIL" and failed["edns"]["options"][0]["name"] == "EDE" and failed["errors"]


def test_trace(martlet):
    said = lookup(martlet, "--trace", "mail.plain.com", "A")
    steps = [line for line in said.splitlines() if line.startswith("; from ")]
    assert [line.rsplit(" ", 1)[1] for line in steps] == [".", "com.", "plain.com."], said
    assert "45.100.0.25" in said
    # Servers without glue, two zones at the same servers, and an end in a denial.
    said = lookup(martlet, "--trace", "no.a14-nsec3.uk", "A")
    steps = [line for line in said.splitlines() if line.startswith("; from ")]
    assert [line.rsplit(" ", 1)[1] for line in steps] == [".", "uk.", "a14-nsec3.uk."] and "; NXDOMAIN" in said


def test_trace_where_no_server_answers(martlet):
    said = lookup(martlet, "--trace", "www.unreachable.com", "A", "--timeout", "1", "--attempts", "1", code=2)
    assert "; no server of unreachable.com. answers" in said


def test_validate_a_chain(internet, resolver):
    said = lookup(resolver, "--validate", "--trust-anchors", str(internet.anchors), "mail.a13-nsec3.com", "A")
    lines = said.splitlines()
    assert lines[0].startswith(". trust begins with key")
    for zone, algorithm in ((".", 8), ("com.", 13), ("a13-nsec3.com.", 13)):
        assert any(line.startswith(f"{zone} DNSKEY ") and f"algorithm {algorithm} " in line for line in lines), said
    for zone in ("com.", "a13-nsec3.com."):
        assert any(line.startswith(f"{zone} DS signed by key ") for line in lines)
        assert any(line.startswith(f"{zone} DS ") and "digest 2" in line for line in lines)
    assert any(line.startswith("mail.a13-nsec3.com. A signed by key ") and " to 20" in line for line in lines)
    assert lines[-1] == "secure: mail.a13-nsec3.com. A", said


def test_validate_for_programs(internet, martlet):
    anchors = ["--trust-anchors", str(internet.anchors), "--json", "--validate"]
    found = json.loads(lookup(martlet, *anchors, "no.a8-nsec.com", "A"))
    assert found["security"] == "secure"
    assert [step["kind"] for step in found["steps"]] == ["anchor", "keys", "set", "signers", "keys", "set", "signers", "keys", "denial"]
    signers, keys = [step for step in found["steps"] if step["name"] == "a8-nsec.com." and step["kind"] in ("signers", "keys")]
    assert keys["entrance"] in {key["tag"] for key in signers["keys"]} and all(key["key"] for key in keys["keys"])
    found = json.loads(lookup(martlet, *anchors, "www.expired.bogus", "A", code=1))
    assert found["security"] == "bogus" and "expired" in found["reason"]


@pytest.mark.parametrize("name, last", [("www.plain.com", "insecure: www.plain.com. A"), ("www.expired.bogus", "bogus: ")])
def test_validate_what_has_no_chain(internet, resolver, name, last):
    code = 1 if last.startswith("bogus") else 0
    said = lookup(resolver, "--validate", "--trust-anchors", str(internet.anchors), name, "A", code=code)
    assert said.splitlines()[-1].startswith(last), said


def test_prompt(internet, martlet):
    lines = [
        "plain.com MX", "set type=mx", "plain.com", "set q=nonsense", "set all", "server 45.2.0.1", "set norecurse", "full",
        "mail.plain.com A", "server no-such-server.invalid", "short", "server", "set recurse", "45.100.0.1", "set type=any",
        "validate www.plain.com A", "json", "no.plain.com A", "nonsense..name", "help", "exit", "plain.com A",
    ]  # fmt: skip
    options = ["--trust-anchors", str(internet.anchors)]
    said = lookup(martlet, *options, server="", input="\n".join(lines) + "\n")
    assert said.startswith("10 mail.plain.com.\n20 mail.plain.net.\n" * 2 + 'unknown type "nonsense"\nserver: resolverd\ntype: MX\n')
    assert "; from 45.2.0.1 (udp) in " in said and "flags: aa\n" in said
    assert '"no-such-server.invalid" is not a server' in said
    assert "www.plain.com.\n" in said and "insecure: www.plain.com. A\n" in said
    assert json.loads(next(line for line in said.splitlines() if line.startswith("[")))[0]["status"] == "NXDOMAIN"
    assert "is not a domain name" in said and said.rstrip().endswith("exit")
