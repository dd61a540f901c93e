"""martlet dns lookup on the pretended internet: the way down from the root, and the chain of trust."""

import pytest
from instance import PROGRAMS

pytestmark = pytest.mark.root


def lookup(internet, resolver, *arguments: str) -> str:
    return resolver.run(str(PROGRAMS / "martlet"), "dns", "lookup", f"@{resolver.address}", *arguments)


def test_trace(internet, resolver):
    said = lookup(internet, resolver, "--trace", "www.plain.com", "A")
    steps = [line for line in said.splitlines() if line.startswith("; from ")]
    assert [line.rsplit(" ", 1)[1] for line in steps] == [".", "com.", "plain.com."], said
    assert "45.100.0.1" in said


def test_validate_a_chain(internet, resolver):
    said = lookup(internet, resolver, "--validate", "--trust-anchors", str(internet.anchors), "www.a13-nsec3.com", "A")
    lines = said.splitlines()
    assert lines[0].startswith(". trust begins with key")
    assert any(line.startswith("com. DS ") for line in lines)
    assert any(line.startswith("a13-nsec3.com. DNSKEY ") and "algorithm 13" in line for line in lines)
    assert lines[-1] == "secure: www.a13-nsec3.com. A", said


@pytest.mark.parametrize("name, last", [("www.plain.com", "insecure: www.plain.com. A"), ("www.expired.bogus", "bogus: ")])
def test_validate_what_has_no_chain(internet, resolver, name, last):
    said = lookup(internet, resolver, "--validate", "--trust-anchors", str(internet.anchors), name, "A")
    assert said.splitlines()[-1].startswith(last), said
