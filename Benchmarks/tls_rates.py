"""Measures TLS handshakes of a server whose private key is keyd's beside one that has it itself. See README.md."""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts" / "lib")]

import configuration  # noqa: E402
import layout  # noqa: E402
from instance import Instance  # noqa: E402

KINDS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}
# OpenSSL's client resumes sessions of TLS 1.2 only.
ROWS = {
    "TLS 1.3": ["-tls1_3", "-new"],
    "TLS 1.2": ["-tls1_2", "-new"],
    "resumed": ["-tls1_2", "-reuse"],
}


def build() -> Path:
    scratch = REPOSITORY / ".build-bench"
    command = ["swift", "build", "-c", "release", "--static-swift-stdlib", "--product", "tls-bench"]
    environment = dict(os.environ, MARTLET_BENCH="1")
    subprocess.run([*command, "--scratch-path", str(scratch)], check=True, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL)
    return scratch / "release" / "tls-bench"


class Server:
    """One process that serves handshakes."""

    def __init__(self, program: Path, *words):
        self.port = configuration.free_port()
        command = [str(program), str(self.port), *map(str, words)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("tls-bench does not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def rate(self, clients: int, seconds: int, words: list[str]) -> float:
        """Handshakes a second of several clients at a time."""
        command = ["openssl", "s_time", "-connect", f"127.0.0.1:{self.port}", "-time", str(seconds), *words]
        running = [
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(clients)
        ]
        count = 0
        for client in running:
            said = client.communicate()[0]
            found = re.search(r"(\d+) connections in (\d+) real seconds", said)
            if not found:
                raise RuntimeError(said[-500:])
            count += int(found.group(1))
        return count / seconds


def wait_for(path: Path) -> None:
    for _ in range(500):
        if path.exists():
            return
        time.sleep(0.01)
    raise TimeoutError(path)


def measure(program: Path, directory: Path, kind: str, options: argparse.Namespace) -> None:
    one = Instance(directory / kind)
    one.make(configuration.configuration(configuration.free_ports()))
    key = one.certificate.with_name("private-key.pem")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=mail.example.test", "-newkey", *KINDS[kind]]
    subprocess.run([*command, "-keyout", key, "-out", one.certificate], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    layout.own_keys(one.directory)
    keyd = subprocess.Popen([str(one.programs / "keyd"), "--instance", str(one.directory)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    servers: dict[str, Server] = {}
    try:
        wait_for(one.directory / "run" / "key.sock")
        servers = {
            "keyd": Server(program, "keyd", one.directory / "run" / "key.sock"),
            "itself": Server(program, "files", one.certificate, key),
        }
        found: dict[tuple[str, str], list[float]] = {}
        for turn in range(options.rounds):
            for row, words in ROWS.items():
                for name, server in servers.items():
                    rate = server.rate(options.clients, options.seconds, words)
                    found.setdefault((row, name), []).append(rate)
                    print(f"round {turn + 1}: {kind}, {row}, {name}: {rate:.0f} handshakes/s", flush=True)
        print(f"\n{kind:8} {'keyd':>8} {'itself':>8} {'ratio':>6}")
        for row in ROWS:
            keyed, own = (statistics.median(found[row, name]) for name in ("keyd", "itself"))
            print(f"{row:8} {keyed:8.0f} {own:8.0f} {keyed / own:6.2f}")
        print(flush=True)
    finally:
        for server in servers.values():
            server.stop()
        keyd.kill()
        keyd.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench tls")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--clients", type=int, default=8, help="at a time")
    parser.add_argument("--kind", action="append", choices=tuple(KINDS), help="only these keys; all unless said")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    program = build()
    directory = Path(tempfile.mkdtemp(prefix="mlt-", dir=options.directory))
    try:
        for kind in options.kind or KINDS:
            measure(program, directory, kind, options)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
