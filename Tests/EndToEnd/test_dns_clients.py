"""Clients that nobody here wrote, against resolverd on the pretended internet: dig, kdig, delv, drill, dnspython's own
resolver, the C library's getaddrinfo, nsupdate's refusal, and unbound that forwards to us."""

import json
import socket
import subprocess
import sys

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import pytest
import system_resolver

pytestmark = pytest.mark.root

LOOPBACKS = ["127.0.0.1:53", "[::1]:53"]


@pytest.fixture(scope="module")
def machine(internet, tmp_path_factory):
    """resolverd as `scripts/install --resolver` makes it the machine's, and the resolv.conf that it writes."""
    root = tmp_path_factory.mktemp("machine")
    (root / "etc").mkdir()
    (root / "etc/resolv.conf").write_text("nameserver 192.0.2.1\nsearch plain.com\n")
    system_resolver.SystemResolver(root).take_over(LOOPBACKS, force=False)
    resolver = internet.martlet(address="127.0.0.31", changes={"listen": ["127.0.0.31:53", "[::1]:53"]})
    text = (root / "etc/resolv.conf").read_text()
    assert "nameserver 127.0.0.1\n" in text
    # The address of the session's resolver is taken.
    (root / "etc/resolv.conf").write_text(text.replace("127.0.0.1", "127.0.0.31"))
    resolver.resolv_conf = root / "etc/resolv.conf"
    yield resolver
    resolver.stop()


def within(machine, *command: str) -> subprocess.CompletedProcess:
    """A program that finds our resolv.conf in /etc, in the network and mount namespace of its own."""
    script = 'mount --bind "$1" /etc/resolv.conf && printf "hosts: files dns\\n" >"$1.nsswitch" && '
    script += 'mount --bind "$1.nsswitch" /etc/nsswitch.conf && shift && exec "$@"'
    return machine.done("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(machine.resolv_conf), *command)


GETADDRINFO = """
import json, socket, sys
found = []
for name in sys.argv[1:]:
    try:
        found.append(sorted({item[4][0] for item in socket.getaddrinfo(name, 25, type=socket.SOCK_STREAM)}))
    except socket.gaierror as error:
        found.append(error.errno == socket.EAI_NONAME and "no name" or error.errno == socket.EAI_AGAIN and "again" or str(error))
print(json.dumps(found))
"""


def test_getaddrinfo(machine):
    names = ["mail.plain.com", "www.a13-nsec3.com", "no.plain.com", "www.expired.bogus", "mail", "x.wild.a8-nsec.com", "localhost"]
    done = within(machine, sys.executable, "-c", GETADDRINFO, *names)
    assert done.returncode == 0, done.stdout
    found = dict(zip(names, json.loads(done.stdout)))
    assert found["mail.plain.com"] == found["mail"] == ["2a0e:100::25", "45.100.0.25"]
    assert "45.100.10.1" in found["www.a13-nsec3.com"] and len(found["www.a13-nsec3.com"]) == 2
    assert found["no.plain.com"] == "no name" and found["www.expired.bogus"] == "again"
    assert found["x.wild.a8-nsec.com"] == ["45.100.6.42"]
    assert "127.0.0.1" in found["localhost"]


def test_getent(machine):
    done = within(machine, "getent", "ahosts", "mail.plain.com")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"45.100.0.25", "2a0e:100::25"}, done.stdout
    done = within(machine, "getent", "hosts", "45.100.0.1")
    assert done.stdout.split() == ["45.100.0.1", "www.plain.com"]
    assert within(machine, "getent", "ahosts", "no.plain.com").returncode == 2


def test_the_library_trusts_our_word(machine):
    """With trust-ad the C library passes on the AD bit (res_query), as DANE in Postfix wants it."""
    query = "import ctypes, sys; l = ctypes.CDLL('libc.so.6'); b = (ctypes.c_ubyte * 4096)(); "
    query += "n = l.res_query(sys.argv[1].encode(), 1, int(sys.argv[2]), b, 4096); print(n > 0 and bool(b[3] & 0x20))"
    assert within(machine, sys.executable, "-c", query, "_25._tcp.mail.a13-nsec3.com", "52").stdout == "True\n"
    assert within(machine, sys.executable, "-c", query, "plain.com", "15").stdout == "False\n"


def sections(said: str) -> dict[str, list[str]]:
    """The records in what dig, kdig or drill print, by section."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in said.splitlines():
        if line.startswith(";;") and "SECTION" in line:
            section = line.split()[1].lower()
        elif section and line and not line.startswith(";"):
            found.setdefault(section, []).append(" ".join(line.split()))
    return found


DIGGERS = ("dig", "kdig", "drill")


@pytest.mark.parametrize("program", DIGGERS)
@pytest.mark.parametrize("question, code, wanted", [
    ("plain.com MX", "NOERROR", {"10 mail.plain.com.", "20 mail.plain.net."}),
    ("c1.plain.net A", "NOERROR", {"c2.plain.net.", "c3.deeper.plain.net.", "www.plain.net.", "plain.net.", "45.100.1.1"}),
    ("x.wild.a8-nsec.com TXT", "NOERROR", {'"wild"'}),
    ("svc.plain.com TYPE65", "NOERROR", {""}),
    ("no.plain.com A", "NXDOMAIN", set()),
    ("plain.com SRV", "NOERROR", set()),
    ("www.expired.bogus A", "SERVFAIL", set()),
], ids=lambda item: item if isinstance(item, str) and " " in item else "")  # fmt: skip
def test_diggers(machine, program, question, code, wanted):
    name, kind = question.split()
    command = [program, f"@{machine.address}", name, kind] if program != "drill" else [program, name, f"@{machine.address}", kind]
    said = machine.run(*command)
    assert f"status: {code}" in said or f"rcode: {code}" in said, said
    answers = sections(said).get("answer", [])
    if "TYPE65" in question:
        assert len(answers) == 1
    else:
        assert {line.split(" ", 4)[4] for line in answers} == wanted, said


@pytest.mark.parametrize("options, wanted", [
    (["+tcp"], "TCP"),
    (["+notcp", "+bufsize=512", "+dnssec"], "NOERROR"),
    (["+noedns"], "NOERROR"),
    (["+ednsopt=65001:aabb"], "NOERROR"),
    (["+edns=1", "+noednsneg"], "BADVERS"),
    (["+opcode=notify"], "FORMERR"),
    (["+opcode=status"], "NOTIMP"),
    (["-c", "CH"], "REFUSED"),
    (["+norecurse"], "REFUSED"),
    (["+cdflag"], "NOERROR"),
    (["+header-only", "+nocookie"], "FORMERR"),
    (["-6", "@::1"], "NOERROR"),
], ids=lambda item: " ".join(item) if isinstance(item, list) else item)  # fmt: skip
def test_peculiar_queries(machine, options, wanted):
    said = machine.run("dig", f"@{machine.address}", *options, "mail.plain.com", "A")
    assert wanted in said, said


def test_dnspython_resolver(machine):
    with machine.namespace.inside():
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [machine.address]
        resolver.use_edns(0, dns.flags.DO, 1232)
        assert {item.to_text() for item in resolver.resolve("plain.com", "MX")} == {"10 mail.plain.com.", "20 mail.plain.net."}
        assert resolver.resolve("mail.a13-nsec3.com", "A").response.flags & dns.flags.AD
        assert resolver.canonical_name("c1.plain.com").to_text() == "plain.com."
        assert resolver.resolve_address("45.100.0.1")[0].to_text() == "www.plain.com."
        assert str(dns.resolver.zone_for_name("a.b.ent.plain.com", resolver=resolver)) == "plain.com."
        with pytest.raises(dns.resolver.NXDOMAIN):
            resolver.resolve("no.plain.com", "A")
        with pytest.raises(dns.resolver.NoAnswer):
            resolver.resolve("plain.com", "SRV")
        with pytest.raises(dns.resolver.NoNameservers):
            resolver.resolve("www.expired.bogus", "A")


def test_many_questions_on_one_connection(machine):
    """Pipelined by TCP, answered in any order (RFC 7766 §6.2.1)."""
    names = [f"h{number}.wild.plain.com" for number in range(50)] + ["www.expired.bogus", "no.plain.net"]
    queries = [dns.message.make_query(name, "A", id=number) for number, name in enumerate(names)]

    with machine.namespace.inside(), socket.create_connection((machine.address, 53), 20) as connection:
        wire = b"".join(len(octets := query.to_wire()).to_bytes(2, "big") + octets for query in queries)
        connection.sendall(wire)
        found = {}
        for _ in names:
            answer, _ = dns.query.receive_tcp(connection)
            found[names[answer.id]] = dns.rcode.to_text(answer.rcode())
    assert found["www.expired.bogus"] == "SERVFAIL" and found["no.plain.net"] == "NXDOMAIN"
    assert list(found.values()).count("NOERROR") == 50


def test_nsupdate_is_refused(machine):
    """A resolver has no zones that strangers may change."""
    script = f"server {machine.address}\nzone plain.com\nupdate add x.plain.com 60 A 192.0.2.1\nsend\n"
    done = machine.done("nsupdate", input=script)
    assert done.returncode != 0 and ("NOTAUTH" in done.stdout or "REFUSED" in done.stdout), done.stdout


def test_unbound_forwards_to_us(internet, machine):
    """unbound that validates by itself, from the pretended root's anchor, with nobody to ask but us."""
    front = internet.unbound(forward=machine.address, address="127.0.0.32")
    try:
        proved = """www.a8-nsec.com A; no.a13-nsec3.com A; x.wild.a15-nsec3.info A; a.d.a14-nsec.co.uk A; mail.a15-nsec.xn--p1ai AAAA;
            _25._tcp.mail.a16-nsec.com TLSA; a10-nsec.org MX; x.wildalias.a13-single.org SRV; no.by-bind-nsec3.de A; www.double.org A;
            1.0.100.45.in-addr.arpa PTR; www.below.signed.a8-nsec.com A; huge.a13-nsec.info TXT; plain.uk A"""
        for question in proved.split(";"):
            answer = front.ask(*question.split())
            assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) and answer.flags & dns.flags.AD, question
        for name in ("www.unsigned.a8-nsec.com", "www.unsigned.a13-optout.de", "www.plain.zz", "www.plain.com"):
            answer = front.ask(name)
            assert answer.answer and not answer.flags & dns.flags.AD, name
        for name in ("www.expired.bogus", "www.flipped.bogus"):
            assert front.rcode(name) == "SERVFAIL"
    finally:
        front.stop()


@pytest.mark.parametrize("question, said", [
    ("mail.a8-nsec.com A", "fully validated"), ("no.a14-nsec3.uk A", "negative response, fully validated"),
    ("y.x.wild.a13-nsec3.com TXT", "fully validated"), ("mail.plain.com A", "unsigned answer"),
    ("www.expired.bogus A", "resolution failed"),
])  # fmt: skip
def test_delv(internet, machine, question, said):
    anchor = internet.world.root_keys[0].dnskey
    path = internet.directory / "delv.clients"
    flags, protocol, algorithm, *key = anchor.to_text().split()
    path.write_text(f'trust-anchors {{ . static-key {flags} {protocol} {algorithm} "{"".join(key)}"; }};\n')
    assert said in machine.run("delv", f"@{machine.address}", "-a", str(path), "+root=.", *question.split())
