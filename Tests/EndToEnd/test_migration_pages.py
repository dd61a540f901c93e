"""The pages for those who come from elsewhere name what there is."""

import re
import subprocess

import pytest
from instance import PROGRAMS
from layout import REPOSITORY

PAGES = ("postfix", "qmail", "dovecot")
SETTING = re.compile(r"`\[([a-z.A-Z-]+)\] ([a-z0-9-]+)`")


def known_settings() -> set[tuple[str, str]]:
    """Section and key of each row in the page on configuration."""
    sections, found = [], set()
    for line in (REPOSITORY / "docs" / "configuration.md").read_text().splitlines():
        if line.startswith("#") or line.startswith("`["):
            if names := re.findall(r"\[([a-zA-Z.-]+)\]", line):
                sections = names
        elif (row := re.match(r"\| ((?:`[a-z0-9-]+`(?:, )?)+) \|", line)) and sections:
            found |= {(section, key) for section in sections for key in re.findall(r"`([a-z0-9-]+)`", row.group(1))}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_settings_are_there(page):
    named = set(SETTING.findall((REPOSITORY / "docs" / f"{page}.md").read_text()))
    assert page == "dovecot" or len(named) > 10
    assert named - known_settings() == set()


def test_settings_are_read():
    """What the page on configuration names, the code knows."""
    # Daemons' names are keys of [seccomp].
    daemon = REPOSITORY / "Sources" / "Daemon"
    sources = [*(daemon / "Configuration").glob("*.swift"), daemon / "DaemonName.swift"]
    keys = set(re.findall(r'"([a-z0-9-]+)"', "".join(path.read_text() for path in sources)))
    assert {key for _, key in known_settings()} - keys == set()


@pytest.mark.parametrize("page", PAGES)
def test_rules_are_understood(page, tmp_path):
    for number, rules in enumerate(re.findall(r"```policy\n(.*?)```", (REPOSITORY / "docs" / f"{page}.md").read_text(), re.DOTALL)):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / "martlet.toml").write_text(f'hostname = "mail.example.com"\n[smtpd]\npolicy = """\n{rules}"""\n')
        command = [str(PROGRAMS / "martlet"), "policy", "show", "--instance", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        assert done.returncode == 0 and done.stdout, (number, done.stderr)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_there(page):
    text = (REPOSITORY / "docs" / f"{page}.md").read_text()
    for words in sorted(set(re.findall(r"`martlet ((?:queue|user|alias|policy|domain|dmarc) [a-z-]+)", text))):
        done = subprocess.run(
            [str(PROGRAMS / "martlet"), *words.split(), "--help"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0 and words.split()[-1] in done.stdout.partition("USAGE:")[2].partition("\n")[0], words
