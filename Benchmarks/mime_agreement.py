"""Compares what Martlet and Python's email package find in messages: structure, file names, bodies, text, subjects."""

import email
import email.errors
import email.message
import subprocess
import sys
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests" / "EndToEnd"))
from mime_reading import Part, read, words

# Explained in docs/mime.md.
ENCODED_NAME = "encoded word in a file name, which Python leaves as it is"
OPEN_END = "line end at the end of a message without its last delimiter, which Python takes away"
EXPLAINED = {ENCODED_NAME, OPEN_END}
PROCESSES = 2
SHOWN = 5


def digest(octets: bytes) -> str:
    return f"{len(octets)}:{zlib.crc32(octets)}"


def spelled(text: str | None) -> str:
    return text.encode("utf-8", "replace").hex() if text else "-"


def is_open(message: email.message.Message) -> bool:
    """Whether a last delimiter is missing."""
    defects = [defect for part in message.walk() for defect in part.defects]
    return any(isinstance(defect, email.errors.CloseBoundaryNotFoundDefect) for defect in defects)


def differences(part: Part, line: list[str], has_open_end: bool) -> list[str]:
    """What Martlet has otherwise; its line is DEPTH TYPE NAME BODY TEXT."""
    found = []
    if line[:2] != [str(part.depth), part.type]:
        found.append("structure")
    if line[2] != spelled(part.name):
        is_explained = part.name and part.name.startswith("=?") and line[2] == spelled(words(part.name))
        found.append(ENCODED_NAME if is_explained else "file name")
    text = None if part.text is None else part.text.encode("utf-8", "replace")
    for kind, theirs, ours, end in (("body", part.body, line[3], b"\r\n"), ("text", text, line[4], b"\n")):
        if ours != ("-" if theirs is None else digest(theirs)):
            is_end = theirs is not None and has_open_end and ours == digest(theirs + end)
            found.append(OPEN_END if is_end else f"decoded {kind}")
    return found


def compare(program: str, files: list[str]) -> tuple[Counter, list[str]]:
    """Counts parts, kinds of parts and differences; tells of the first messages that differ."""
    counts, told = Counter(), []
    listing = subprocess.Popen([program, "read", *files], stdout=subprocess.PIPE, text=True)
    line = listing.stdout.readline().split()
    for name in files:
        other = email.message_from_bytes(Path(name).read_bytes())
        assert line[0] == "message", line
        found = [] if line[1] == spelled(words(other["Subject"])) else ["subject"]
        ours = []
        while (line := listing.stdout.readline().split()) and line[0] != "message":
            ours.append(line)
        theirs = read(other)
        counts["parts"] += len(theirs)
        counts["bodies"] += sum(part.body is not None for part in theirs)
        counts["texts"] += sum(part.text is not None for part in theirs)
        counts["file names"] += sum(part.name is not None for part in theirs)
        if len(ours) != len(theirs):
            found.append("structure")
        has_open_end = is_open(other)
        for part, words_of_line in zip(theirs, ours):
            found += differences(part, words_of_line, has_open_end)
        counts.update(f"difference: {kind}" for kind in found)
        unexplained = sorted(set(found) - EXPLAINED)
        if unexplained and len(told) < SHOWN:
            told.append(f"{name}: {', '.join(unexplained)}")
    assert listing.wait() == 0
    return counts, told


def run(program: str, files: list[str]) -> bool:
    """Prints how far both agree; whether all differences are explained."""
    counts, told = Counter(), []
    with ProcessPoolExecutor(PROCESSES) as pool:
        for some, lines in pool.map(compare, [program] * PROCESSES, [files[i::PROCESSES] for i in range(PROCESSES)]):
            counts += some
            told += lines
    print(f"{len(files)} messages compared with Python's email package")
    for kind, number in sorted(counts.items()):
        print(f"{number:8} {kind}")
    for line in told:
        print(line)
    unexplained = sum(n for kind, n in counts.items() if kind.startswith("difference: ") and kind[12:] not in EXPLAINED)
    print(f"{unexplained:8} differences that are not explained")
    return unexplained == 0
