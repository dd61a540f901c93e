"""The same questions asked of resolverd and of unbound, about everything that there is."""

import collections
import concurrent.futures

import dns.flags
import dns.rcode
import dns.rdatatype
import pytest
from internet.domains import ordinary_questions
from internet.trouble import BOGUS, TROUBLES
from internet.world import ORDINARY
from test_dns_validation import PROVED

pytestmark = pytest.mark.root

RELATIVES = """
    www A; www AAAA; www TXT; www SOA; @ A; @ MX; @ NS; @ SOA; @ DNSKEY; no A; a.no TXT; x.wild A; x.wild AAAA; ent A; a.ent A;
    alias A; alias MX; other A; d DNAME; a.d A
"""


def questions() -> list[tuple[str, str]]:
    asked = []
    for origin, *_ in ORDINARY:
        asked += ordinary_questions(origin)
    for item in TROUBLES:
        for line in RELATIVES.split(";"):
            name, kind = line.split()
            asked.append((item.origin if name == "@" else f"{name}.{item.origin}", kind))
    for top in ("com", "net", "org", "info", "de", "uk", "co.uk", "xn--p1ai", "arpa", "bogus", "zz", "nowhere"):
        asked += [(top, kind) for kind in ("SOA", "NS", "DNSKEY", "DS", "A", "TXT")]
        asked += [(f"{name}.{top}", "A") for name in ("www.nic", "nic", "gov", "sub.gov", "nobody", "x.y.z.nobody", "0")]
    asked += [(".", kind) for kind in ("SOA", "NS", "DNSKEY", "DS", "A", "TXT")]
    asked += [(question.split()[0], kind) for question in PROVED for kind in ("A", "MX", "DS", "TYPE4711")]
    return list(dict.fromkeys(asked))


def summary(answer) -> dict:
    """What two resolvers should agree about."""
    records = []
    for rrset in answer.answer:
        for item in rrset:
            text = item.to_text()
            if item.rdtype == dns.rdatatype.RRSIG:
                # Zones that are signed as they are asked have other signatures each time.
                text = " ".join(text.split()[:3])
            records.append((rrset.name.to_text().lower(), dns.rdatatype.to_text(item.rdtype), text))
    owners = [rrset.name.to_text().lower() for rrset in answer.authority if rrset.rdtype == dns.rdatatype.SOA]
    proofs = sorted(
        (rrset.name.to_text().lower(), dns.rdatatype.to_text(rrset.rdtype), item.to_text())
        for rrset in answer.authority
        if rrset.rdtype in (dns.rdatatype.NSEC, dns.rdatatype.NSEC3)
        for item in rrset
    )
    return {
        "rcode": dns.rcode.to_text(answer.rcode()),
        "ad": bool(answer.flags & dns.flags.AD),
        "answer": sorted(records),
        "soa": owners if not answer.answer else [],
        # What proves it, to those who validate themselves.
        "proof": proofs,
    }


def same_but_proof(ours: dict, theirs: dict) -> bool:
    return ours | {"proof": []} == theirs | {"proof": []}


def proof_of_the_child(question, ours: dict, theirs: dict) -> bool:
    is_alias = any(kind == "CNAME" for _, kind, _ in ours["answer"])
    return question[1] == "DS" and is_alias and same_but_proof(ours, theirs)


def proof_of_another_question(question, ours: dict, theirs: dict) -> bool:
    return question[0].endswith("online.com") and same_but_proof(ours, theirs)


def code_of_the_target(question, ours: dict, theirs: dict) -> bool:
    codes = (ours["rcode"], theirs["rcode"])
    return question[1] == "CNAME" and codes == ("NOERROR", "NXDOMAIN") and ours["answer"] == theirs["answer"]


def signed_alias_of_dname(question, ours: dict, theirs: dict) -> bool:
    more = [item for item in theirs["answer"] if item not in ours["answer"]]
    dnames = [item for item in ours["answer"] if item[1] == "DNAME"]
    return question[0].endswith("online.com") and bool(dnames) and [item[1] for item in more] == ["RRSIG"]


def behind_a_dname(question, ours: dict, theirs: dict) -> bool:
    name, zone = question[0].split(".d.")[0], question[0].partition(".d.")[2]
    found = name in ("x", "a.b.c") and zone in NSEC_ON_NSD
    return bool(zone) and found and same_but_proof(ours, theirs)


def stricter(question, ours: dict, theirs: dict) -> bool:
    zones = {item.origin for item in TROUBLES if item.unbound}
    return ".".join(question[0].split(".")[-2:]) in zones and ours["rcode"] == "SERVFAIL" and theirs["ad"]


def fault_in_one_of_two_answers(question, ours: dict, theirs: dict) -> bool:
    zones = ("hidden", "hidden-nsec3", "emptied", "address-changed", "address-added", "alias-redirected")
    return question[0].startswith(("alias.", "a.d.")) and question[0].split(".")[-2] in zones


# Ordinary domains that NSD serves with NSEC.
NSEC_ON_NSD = ("a5-nsec.net", "a8-nsec.com", "a10-nsec.org", "a15-nsec.xn--p1ai", "by-ldns.com", "island.zz")

# Why a question may be answered otherwise by unbound: a reason, and whether it fits a question and the two answers.
DIFFERENCES = [
    (
        "behind an alias unbound passes on what the child's server says to deny DS, besides the parent's word",
        proof_of_the_child,
    ),
    (
        "Knot makes an NSEC for each question; what it said to another one proves this too (RFC 8198)",
        proof_of_another_question,
    ),
    (
        "asked for an alias itself, whose target it knows to be missing, unbound gives the target's response code",
        code_of_the_target,
    ),
    (
        "Knot signs the CNAMEs that it makes from DNAMEs; resolverd makes them itself and leaves such signatures out",
        signed_alias_of_dname,
    ),
    (
        "behind a DNAME, NSD 4.6 sends the NSEC of another name for a wildcard; what proves the target comes with another answer",
        behind_a_dname,
    ),
    (
        "revoked keys (RFC 5011 §2.1), and SHA-1 digests beside others (RFC 4509 §3), prove nothing to resolverd",
        stricter,
    ),
    (
        "the relay's fault is in the answer about the alias or in that about its target; unbound asks for both",
        fault_in_one_of_two_answers,
    ),
]


def explanation(question, ours: dict, theirs: dict) -> str | None:
    return next((reason for reason, fits in DIFFERENCES if fits(question, ours, theirs)), None)


@pytest.mark.timeout(300)
def test_the_same_as_unbound(martlet, unbound):
    asked = questions()
    assert len(asked) >= 2000
    ways = {item.name for item in TROUBLES if item.expected == BOGUS}
    assert len(ways) >= 30, "ways to be bogus"

    def both(question):
        return question, summary(martlet.ask(*question)), summary(unbound.ask(*question))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(both, asked))
    unexplained, explained = [], collections.Counter()
    for question, ours, theirs in results:
        if ours != theirs:
            reason = explanation(question, ours, theirs)
            if reason:
                explained[reason] += 1
            else:
                unexplained.append((question, ours, theirs))
    print(f"{len(asked)} questions, explained differences: {dict(explained)}")
    lines = [f"{' '.join(question)}\n  martlet {ours}\n  unbound {theirs}" for question, ours, theirs in unexplained]
    assert not unexplained, f"{len(unexplained)} differences\n" + "\n".join(lines[:60])
