"""Questions that chance makes up, with all flags, asked of resolverd and of unbound: each difference has a reason.

MARTLET_QUESTIONS says how many (1,500 unless set), MARTLET_SEED which ones."""

import collections
import concurrent.futures
import os
import random

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from test_dns_comparison import explanation, questions, same_but_proof, summary

pytestmark = pytest.mark.root

COUNT = int(os.environ.get("MARTLET_QUESTIONS", "1500"))
SEED = os.environ.get("MARTLET_SEED", "1")
TYPES = """
    A A A AAAA AAAA MX NS SOA TXT CNAME DNAME DS DS DNSKEY NSEC NSEC3PARAM TLSA PTR SRV NAPTR CAA HTTPS SVCB SSHFP HINFO
    OPENPGPKEY URI LOC TYPE65400 ANY RRSIG NSEC3 CDS CDNSKEY ZONEMD
""".split()
CLASSES = ["CH", "HS", "CLASS4711"]


def made_up(source: random.Random, known: list[tuple[str, str]]):
    """A question, its class, and how it's asked."""
    name, kind = source.choice(known)
    labels = [label for label in name.rstrip(".").split(".") if label]
    match source.randrange(8):
        case 0 if labels:
            labels[0] = source.choice(["no", "x", "*", "www", "mail", "a.b", "_25._tcp"])
        case 1:
            labels.insert(0, source.choice(["no", "x", "*", "www", "_tcp", "a.b.c", "0"]))
        case 2 if len(labels) > 1:
            labels.pop(0)
        case 3 if len(labels) > 2:
            labels.pop(1)
    name = ".".join(labels)[:200] + "."
    name = "".join(letter.upper() if source.random() < 0.3 else letter for letter in name)
    if source.random() < 0.6:
        kind = source.choice(TYPES)
    how = {
        "rd": source.random() < 0.95,
        "cd": source.random() < 0.2,
        "ad": source.random() < 0.5,
        "edns": source.random() < 0.8,
        "do": source.random() < 0.6,
        "tcp": source.random() < 0.2,
    }
    return name, kind, source.choice(CLASSES) if source.random() < 0.01 else "IN", how


def ask(resolver, name, kind, question_class, how):
    query = dns.message.make_query(name, kind, question_class)
    query.flags = (dns.flags.RD if how["rd"] else 0) | (dns.flags.CD if how["cd"] else 0) | (dns.flags.AD if how["ad"] else 0)
    if how["edns"]:
        query.use_edns(0, dns.flags.DO if how["do"] else 0, 1232)
    with resolver.namespace.inside():
        if how["tcp"]:
            return dns.query.tcp(query, resolver.address, 20)
        return dns.query.udp_with_fallback(query, resolver.address, 20)[0]


def seen(resolver, question) -> dict:
    try:
        return without_names_in_other_cases(summary(ask(resolver, *question)))
    except (OSError, EOFError, dns.exception.Timeout):
        return {"rcode": "no answer", "ad": False, "answer": [], "soa": [], "proof": []}


def without_names_in_other_cases(found: dict) -> dict:
    """The same with names in small letters: a name has the case in which it was asked for first, or that of the zone."""
    answer = sorted((owner, kind, text.lower()) for owner, kind, text in found["answer"])
    proof = sorted((owner, kind, text.lower()) for owner, kind, text in found["proof"])
    return found | {"answer": answer, "proof": proof, "soa": [owner.lower() for owner in found["soa"]]}


def any_type(asked, ours, theirs) -> bool:
    return asked[1] == "ANY" and ours["rcode"] in ("NOERROR", theirs["rcode"])


def signatures_by_themselves(asked, ours, theirs) -> bool:
    """unbound has of RRSIG what it was told; for a validator both are of no use (RFC 4035 §3.1.1). That there are none is
    proven or not by both."""
    found = any(kind == "RRSIG" for _, kind, _ in ours["answer"] + theirs["answer"])
    return asked[1] == "RRSIG" and (found or ours["rcode"] == theirs["rcode"])


def not_desired(asked, ours, theirs) -> bool:
    return not asked[3]["rd"] and ours["rcode"] == "REFUSED"


def other_classes(asked, ours, theirs) -> bool:
    return asked[2] != "IN" and ours["rcode"] == "REFUSED"


def checking_disabled(asked, ours, theirs) -> bool:
    """Who checks himself gets an answer from whichever server spoke first, good or bogus."""
    return asked[3]["cd"] and ours["rcode"] == theirs["rcode"] and not ours["ad"]


def nothing_to_prove(asked, ours, theirs) -> bool:
    """Proofs are for those who set DO; where the answer is the same they may differ by what else was asked before."""
    return same_but_proof(ours, theirs) and not asked[3]["do"]


def below(name: str, label: str) -> bool:
    return f".{label}." in name.lower()


def asterisks(asked, ours, theirs) -> bool:
    """A name that begins with an asterisk, and that a wildcard stands for: unbound can't check the signature."""
    return asked[0].startswith("*.") and theirs["rcode"] == "SERVFAIL" and ours["rcode"] == "NOERROR"


def aliases_themselves(asked, ours, theirs) -> bool:
    """CNAME or DNAME asked for where a DNAME leads on."""
    is_dname = any(kind == "DNAME" for _, kind, _ in ours["answer"])
    return asked[1] in ("CNAME", "DNAME") and is_dname and theirs["rcode"] == "SERVFAIL"


def below_an_alias(asked, ours, theirs) -> bool:
    """unbound passes on what it learnt of the alias above, when it asked for a part of the name."""
    return below(asked[0], "dangling") and ours["rcode"] == theirs["rcode"]


def stricter_without_ad(asked, ours, theirs) -> bool:
    return explanation((asked[0].rstrip(".").lower(), asked[1]), ours, theirs | {"ad": True}) is not None


def proof_behind_a_dname(asked, ours, theirs) -> bool:
    return below(asked[0], "d") and any(kind == "DNAME" for _, kind, _ in ours["answer"]) and same_but_proof(ours, theirs)


def proofs_at_an_alias(asked, ours, theirs) -> bool:
    """An alias has an NSEC record beside it (RFC 4035 §2.5), and servers give that; where there is none, NSD denies it by a proof
    that says that there is an alias (RFC 6840 §4.3). unbound follows the alias that it knows."""
    is_alias = any(kind == "CNAME" for _, kind, _ in theirs["answer"] + ours["answer"])
    own = any(kind == asked[1] for _, kind, _ in ours["answer"])
    return asked[1] in ("NSEC", "NSEC3") and (is_alias or own or "SERVFAIL" in (ours["rcode"], theirs["rcode"]))


def made_denials(asked, ours, theirs) -> bool:
    """unbound 1.17 doesn't take some of the denials that Knot makes as they are asked for."""
    return "online.com" in asked[0].lower() and theirs["rcode"] == "SERVFAIL" and ours["rcode"] == "NOERROR"


def without_the_start(asked, ours, theirs) -> bool:
    """Where a fault was mended by asking again, unbound may leave the SOA record out."""
    return asked[0].lower().endswith(".bogus.") and not theirs["soa"] and ours | {"soa": []} == theirs


def unanswered(asked, ours, theirs) -> bool:
    return theirs["rcode"] == "no answer" and ours["rcode"] == "SERVFAIL"


REASONS = [
    ("an asterisk is a label like others where a wildcard stands for it", asterisks),
    ("aliases asked for themselves, below aliases", aliases_themselves),
    ("what unbound learnt on the way, below an alias", below_an_alias),
    ("revoked keys and SHA-1 digests beside others prove nothing", stricter_without_ad),
    ("the proof of a wildcard behind a DNAME comes from another answer", proof_behind_a_dname),
    ("NSEC and NSEC3 asked for at an alias", proofs_at_an_alias),
    ("denials of Knot's making", made_denials),
    ("a denial without the SOA record", without_the_start),
    ("nobody has an answer, and unbound doesn't say so in time", unanswered),
    ("ANY: one record says that nobody is asked for everything (RFC 8482)", any_type),
    ("signatures asked for by themselves", signatures_by_themselves),
    ("without RD nothing but our own zones is told", not_desired),
    ("other classes than IN are refused", other_classes),
    ("with CD the first answer counts, whichever server it's from", checking_disabled),
    ("proofs that nobody asked for", nothing_to_prove),
]


def reason(asked, ours, theirs) -> str | None:
    for text, fits in REASONS:
        if fits(asked, ours, theirs):
            return text
    return explanation((asked[0].rstrip(".").lower(), asked[1]), ours, theirs)


@pytest.mark.timeout(1800)
def test_the_same_as_unbound(martlet, unbound):
    source = random.Random(SEED)
    known = questions()
    asked = [made_up(source, known) for _ in range(COUNT)]

    def both(question):
        return question, seen(martlet, question), seen(unbound, question)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(both, asked))
    explained, unexplained = collections.Counter(), []
    for question, ours, theirs in results:
        if ours == theirs:
            continue
        text = reason(question, ours, theirs)
        if text:
            explained[text] += 1
        else:
            unexplained.append(f"{question}\n  martlet {ours}\n  unbound {theirs}")
    print(f"{COUNT} questions, explained differences: {dict(explained)}")
    assert not unexplained, f"{len(unexplained)} differences, seed {SEED}\n" + "\n".join(unexplained[:40])
