"""Parses a generated corpus with Martlet, GMime and Python's email package in turn, and compares the rates."""

import argparse
import email
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mime_agreement

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHON = "python"


def python_parse(mode: str, files: list[str]) -> None:
    for name in files:
        message = email.message_from_bytes(Path(name).read_bytes())
        for part in message.walk():
            if mode == "decode" and not part.is_multipart():
                part.get_payload(decode=True)


def build(directory: Path) -> dict[str, list[str]]:
    environment = dict(os.environ, MARTLET_BENCH="1")
    scratch = REPOSITORY / ".build-bench"
    command = ["swift", "build", "-c", "release", "--static-swift-stdlib", "--product", "mime-bench"]
    subprocess.run([*command, "--scratch-path", str(scratch)], check=True, cwd=REPOSITORY, env=environment,
                   stdin=subprocess.DEVNULL)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "gmime-3.0"], check=True, capture_output=True, text=True)
    gmime = directory / "gmime-bench"
    source = REPOSITORY / "Benchmarks" / "MIME" / "gmime.c"
    subprocess.run(["cc", "-O2", "-o", str(gmime), str(source), *flags.stdout.split()], check=True)
    return {
        "martlet": [str(scratch / "release" / "mime-bench")],
        "gmime": [str(gmime)],
        PYTHON: [sys.executable, __file__, "--parse"],
    }


def seconds(command: list[str], mode: str, files: list[str]) -> float:
    start = time.monotonic()
    subprocess.run([*command, mode, *files], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.monotonic() - start


def main() -> None:
    if sys.argv[1:2] == ["--parse"]:
        return python_parse(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="scripts/bench mime")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--octets", type=int, default=28_000, help="of a part, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="300 messages")
    parser.add_argument("--agreement", action="store_true", help="compare what both find, rather than how fast")
    options = parser.parse_args()
    if options.quick:
        options.messages = 300
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        directory = Path(name)
        generator = REPOSITORY / "Tests" / "EndToEnd" / "mime_corpus.py"
        numbers = [str(options.messages), str(options.octets)]
        subprocess.run([sys.executable, str(generator), str(directory / "corpus"), *numbers], check=True)
        files = [str(path) for path in sorted((directory / "corpus").iterdir())]
        size = sum(os.path.getsize(path) for path in files) / 1e6
        print(f"corpus: {len(files)} messages, {size:.0f} MB, {size * 1e6 / 2**30:.2f} GiB", flush=True)
        commands = build(directory)
        if options.agreement:
            sys.exit(0 if mime_agreement.run(commands["martlet"][0], files) else 1)
        for mode in ("structure", "decode"):
            rates = {}
            for parser_name, command in commands.items():
                rounds = 1 if parser_name == PYTHON else options.rounds
                rates[parser_name] = size / statistics.median(seconds(command, mode, files) for _ in range(rounds))
            for parser_name, rate in rates.items():
                print(f"{mode:10} {parser_name:8} {rate:8.0f} MB/s   {rate / rates['gmime']:.2f} of GMime's")


if __name__ == "__main__":
    main()
