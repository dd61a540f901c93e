"""The commands that docs/operations.md gives."""

import re

import layout

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A block with a supervisor's own commands is for that one alone.
SUPERVISORS = {"s6": re.compile(r"\bs6-"), "systemd": re.compile(r"\bsystemctl\b")}


def commands(title: str, supervisor: str) -> list[str]:
    """The blocks of commands in a section of the page, without those for other supervisors."""
    parts = SECTION.split((layout.REPOSITORY / "docs" / "operations.md").read_text())
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    others = [words for name, words in SUPERVISORS.items() if name != supervisor]
    return [block for block in BLOCK.findall(sections[title]) if not any(words.search(block) for words in others)]
