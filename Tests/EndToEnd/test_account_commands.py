"""`martlet user`, `martlet alias` and `martlet domain`, with what programs read of them."""

import json

import pytest
from conftest import ALICE, BOB
from mail import Talk, wait_until

CAROL = "carol@example.test"


@pytest.fixture(scope="module")
def office(module_factory):
    return module_factory()


def said(instance, *words: str, input: str | None = None):
    return json.loads(instance.martlet(*words, "--json", input=input).stdout)


def refused(instance, *words: str, input: str | None = None) -> str:
    done = instance.martlet(*words, input=input, check=False)
    assert done.returncode != 0
    return done.stderr


def reply(instance, address: str) -> str:
    with Talk(instance.ports["smtp"]) as client:
        client.reply()
        client.say(b"EHLO client.example.test")
        client.say(b"MAIL FROM:<someone@example.org>")
        return client.say(f"RCPT TO:<{address}>".encode())[:3]


def test_users(office):
    users = office.directory / "etc" / "users"
    users.write_text("# people\n" + users.read_text() + "# the end\n")
    made = said(office, "user", "add", CAROL, "--generate", "--quota", "1GiB")
    assert len(made["password"]) == 20 and made["quota"] == 1 << 30 and made["scram"] and not made["disabled"]
    assert said(office, "user", "quota", CAROL, "2MiB")["quota"] == 2 << 20
    assert said(office, "user", "disable", CAROL)["disabled"]
    # A new password opens nothing that an administrator has closed.
    assert said(office, "user", "password", CAROL, input="another\n")["disabled"]
    assert not said(office, "user", "enable", CAROL)["disabled"]
    assert {entry["address"] for entry in said(office, "user", "list")} == {ALICE, BOB, CAROL}
    assert said(office, "user", "list", "--domain", "other.test") == []
    shown = said(office, "user", "show", "Carol@Example.test")
    assert shown["user"]["address"] == CAROL and shown["aliases"] == [] and shown["appPasswords"] == []
    office.martlet("user", "app-password", "add", CAROL, "phone")
    assert said(office, "user", "remove", CAROL)["address"] == CAROL
    assert CAROL not in (office.directory / "etc" / "app-passwords").read_text()
    text = users.read_text()
    assert text.startswith("# people\n") and "\n# the end\n" in text and CAROL not in text
    for words in (("show", CAROL), ("quota", CAROL, "1"), ("disable", CAROL), ("remove", CAROL), ("quota", ALICE, "x")):
        assert refused(office, "user", *words)
    assert refused(office, "user", "app-password", "add", ALICE, "a:b")
    assert refused(office, "user", "app-password", "add", ALICE, "x", "--services", "nntp")


def test_aliases(office):
    assert said(office, "alias", "add", "team", "alice", BOB) == {"name": "team", "targets": ["alice", BOB], "line": 1}
    wait_until(lambda: reply(office, "team@example.test") == "250")
    assert "\"/file\"" in refused(office, "alias", "add", "team", "/file")
    assert said(office, "alias", "add", "team", "x@example.net")["targets"] == ["alice", BOB, "x@example.net"]
    assert said(office, "alias", "remove", "team", BOB)["targets"] == ["alice", "x@example.net"]
    assert said(office, "user", "show", ALICE)["aliases"] == ["team"]
    assert [entry["name"] for entry in said(office, "alias", "list")] == ["team"]
    assert office.martlet("alias", "show", "TEAM").stdout == "team: alice, x@example.net\n"
    assert said(office, "alias", "remove", "team") is None
    assert "there is no alias team" in refused(office, "alias", "show", "team")
    wait_until(lambda: reply(office, "team@example.test") == "550")


def test_domains(office):
    assert [entry["domain"] for entry in said(office, "domain", "list")] == ["example.test"]
    file = office.configuration_file
    text = "# ours\n" + file.read_text()
    file.write_text(text)
    assert said(office, "domain", "add", "Other.test") == {
        "domain": "other.test", "isFirst": False, "users": [], "aliases": [],
    }  # fmt: skip
    office.martlet("alias", "add", "postmaster@other.test", ALICE)
    wait_until(lambda: reply(office, "postmaster@other.test") == "250")
    assert "remove those first" in refused(office, "domain", "remove", "other.test")
    shown = said(office, "domain", "show", "other.test")
    assert shown["aliases"] == ["postmaster@other.test"]
    assert "other.test is there already" in refused(office, "domain", "add", "other.test")
    assert refused(office, "domain", "add", "not a domain")
    office.martlet("domain", "remove", "other.test", "--force")
    wait_until(lambda: reply(office, "postmaster@other.test") != "250")
    assert file.read_text() == text
    office.martlet("alias", "remove", "postmaster@other.test")
