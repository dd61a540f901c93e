"""Measures resolverd beside unbound, Knot Resolver and PowerDNS Recursor: cache hits, local zones, misses, misses with validation. See README.md."""

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dns.message

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts" / "lib"), str(REPOSITORY / "Tests" / "EndToEnd")]

from dns_peers import KnotResolver, PowerDNSRecursor  # noqa: E402
from internet.fixtures import Internet  # noqa: E402

MIB = 1 << 20
LOCAL = "local.example"
RECORDS = {f"h{number}.{LOCAL}": f"192.0.2.{number}" for number in range(200)}
PEERS = ("unbound", "knot", "powerdns")
# The zone of each case, and whether it is signed.
MISSES = {"misses": "wild.plain.com", "validated misses": "wild.a13-nsec3.com"}
# Questions per second while the time to an answer is measured.
CALM = 1000
CASES = ("cache hits", "local zone", *MISSES)
# What the mail daemons ask of names that the cache has, one question after the other.
MAIL = (("plain.com", "MX"), ("mail.plain.com", "A"), ("_25._tcp.mail.a13-nsec3.com", "TLSA"), ("a8-nsec.com", "TXT"))
ROUND_TRIPS = 20_000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench dns")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="how long each case runs")
    parser.add_argument("--threads", type=int, default=1, help="of each resolver")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--outstanding", type=int, default=100)
    parser.add_argument("--peer", action="append", choices=PEERS, help="only these; all unless said")
    parser.add_argument("--case", action="append", choices=(*CASES, "mail"), help="only these; all unless said")
    return parser.parse_args()


def start(internet: Internet, name: str, threads: int):
    """A resolver with nothing in its cache."""
    if name == "unbound":
        lines = [f'local-zone: "{LOCAL}" static', "msg-cache-size: 21m", "rrset-cache-size: 43m"]
        lines += [f"local-data: '{name} A {address}'" for name, address in RECORDS.items()]
        return internet.unbound(lines=lines, threads=threads)
    if name in ("knot", "powerdns"):
        place = (internet.namespace, internet.place(name), internet.hints, internet.anchors, RECORDS)
        peer = KnotResolver(*place, threads) if name == "knot" else PowerDNSRecursor(*place, LOCAL, threads)
        return internet.begin(peer)
    changes = {"threads": threads, "zones": {LOCAL: f"etc/zones/{LOCAL}"}, "cache-size": "64MiB"}
    resolver = internet.martlet(changes=changes, start=False)
    hosts = "".join(f"{name}. A {address}\n" for name, address in RECORDS.items())
    zone = f"$TTL 3600\n@ SOA ns hostmaster 1 7200 900 1209600 300\n@ NS ns\nns A 127.0.0.1\n{hosts}"
    (resolver.directory / "etc" / "zones" / LOCAL).write_text(zone)
    resolver.start()
    return resolver


def questions(case: str, path: Path, turn: int) -> Path:
    """A file for dnsperf: the same names again and again, or names that nobody asked before."""
    if case == "cache hits":
        names = [f"h{number}.wild.plain.com" for number in range(1000)]
    elif case == "local zone":
        names = list(RECORDS)
    else:
        names = [f"t{turn}n{number}.{MISSES[case]}" for number in range(400_000)]
    path.write_text("".join(f"{name} A\n" for name in names))
    return path


def dnsperf(internet: Internet, resolver, path: Path, options, seconds: int, *more: str) -> str:
    command = ["dnsperf", "-s", resolver.address, "-d", str(path), "-l", str(seconds), "-D"]
    command += ["-c", str(options.clients), "-q", str(options.outstanding), *more]
    with internet.namespace.inside():
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout


def measure(internet: Internet, resolver, path: Path, options) -> dict[str, float]:
    """As many questions as it answers, then so few that none waits for another."""
    said = dnsperf(internet, resolver, path, options, options.seconds)
    found = {
        "queries/s": float(re.search(r"Queries per second:\s+([\d.]+)", said)[1]),
        "lost": float(re.search(r"Queries lost:\s+(\d+)", said)[1]),
        "RSS MiB": resolver.resident() / MIB,
    }
    # Names that the first part didn't come to.
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))
    said = dnsperf(internet, resolver, path, options, 2, "-v", "-Q", str(CALM))
    times = sorted(float(line.split()[-1]) * 1e6 for line in said.splitlines() if line.startswith("> NOERROR"))
    for name, part in (("median µs", 0.5), ("99 % µs", 0.99)):
        found[name] = times[int(len(times) * part)] if times else 0.0
    return found


def mail_questions(resolver) -> dict[str, float]:
    """Round trips of single questions, from before the system call that sends one to after that which reads its answer:
    at resolverd's own socket as the mail daemons use it, at unbound by UDP, since it has none such. In microseconds."""
    queries = [dns.message.make_query(name, kind, want_dnssec=True).to_wire() for name, kind in MAIL]
    for name, kind in MAIL:
        resolver.ask(name, kind)
    stream = resolver.name == "martlet"
    if stream:
        queries = [len(query).to_bytes(2, "big") + query for query in queries]
        client = resolver.socket()
    else:
        with resolver.namespace.inside():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.connect((resolver.address, 53))
    times = []
    with client:
        for turn in range(ROUND_TRIPS + 1000):
            query = queries[turn % len(queries)]
            begun = time.perf_counter_ns()
            client.sendall(query)
            answer = client.recv(65536)
            while stream and len(answer) < 2 + int.from_bytes(answer[:2], "big"):
                answer += client.recv(65536)
            times.append((time.perf_counter_ns() - begun) / 1000)
            assert answer[2:4] == query[2:4] if stream else answer[:2] == query[:2]
    times = sorted(times[1000:])
    return {"median µs": times[len(times) // 2], "99 % µs": times[len(times) * 99 // 100]}


def main() -> None:
    options = arguments()
    cases = [case for case in CASES if case in (options.case or CASES)]
    peers = [peer for peer in PEERS if peer in (options.peer or PEERS)]
    mail = "mail" in (options.case or ["mail"])
    directory = Path(tempfile.mkdtemp(prefix="mlt-bench-", dir="/var/tmp"))
    directory.chmod(0o755)
    internet = Internet(directory)
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    try:
        internet.start()
        for turn in range(options.rounds):
            for case in cases:
                for name in ("martlet", *peers):
                    resolver = start(internet, name, options.threads)
                    path = questions(case, directory / "questions", turn)
                    if case == "cache hits":
                        dnsperf(internet, resolver, path, options, 1)
                    found = measure(internet, resolver, path, options)
                    resolver.stop()
                    results.setdefault((case, name), []).append(found)
                    text = ", ".join(f"{value:,.0f} {key}" for key, value in found.items())
                    print(f"round {turn + 1}, {case}, {name}: {text}", flush=True)
            for name in ("martlet", "unbound") if mail else ():
                resolver = start(internet, name, options.threads)
                found = mail_questions(resolver) | {"RSS MiB": resolver.resident() / MIB}
                resolver.stop()
                results.setdefault(("mail's questions", name), []).append(found)
                text = ", ".join(f"{value:,.0f} {key}" for key, value in found.items())
                print(f"round {turn + 1}, mail's questions, {name}: {text}", flush=True)
    finally:
        internet.stop()
        shutil.rmtree(directory)
    print(f"\nMedians; {options.threads} threads each, and martlet's figure by the peer's")
    for case in (*cases, *(["mail's questions"] if mail else [])):
        for key in ("queries/s", "median µs", "99 % µs", "RSS MiB"):
            found = {
                name: statistics.median(item[key] for item in results[case, name])
                for name in ("martlet", *peers)
                if (case, name) in results and key in results[case, name][0]
            }
            if not found:
                continue
            ours = found["martlet"]
            texts = [f"{ours:12,.1f}"]
            texts += [f"{name} {found[name]:10,.1f} ({ours / found[name] if found[name] else 0:.2f})" for name in found if name != "martlet"]
            print(f"{case:18} {key:10} {'  '.join(texts)}")


if __name__ == "__main__":
    main()
