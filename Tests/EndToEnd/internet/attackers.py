"""Domains of attackers, and of their victims; the tests bring the servers."""

from .domains import Domain, make
from .keys import ECDSAP256, Key

# Each has one server, `ns.NAME`, at an address of its own.
NAMES = (
    "poison", "spoof", "bomb", "delegator", "loop", "chain", "elsewhere", "garbage", "hanging", "truncated", "rebind",
    "huge", "flood", "names", "keytrap", "iterated", "dname", "bailiwick", "lower", "sideways",
)  # fmt: skip
SIGNED = {"keytrap": [Key(ECDSAP256)], "iterated": [Key(ECDSAP256)]}
VICTIM = "45.6.1.1"


def address(name: str) -> str:
    return f"45.6.0.{10 + NAMES.index(name)}"


def domains() -> list[Domain]:
    made = []
    for name in NAMES:
        domain = make(f"{name}.evil", None, servers={f"ns.{name}.evil": [address(name)]})
        domain.keys = SIGNED.get(name, [])
        domain.sign = lambda domain: None
        made.append(domain)
    made.append(make("victim.com", None, servers={"ns.victim.com": [VICTIM]}))
    return made
