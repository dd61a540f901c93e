"""Resolvers that resolverd is measured beside, besides unbound: Knot Resolver and PowerDNS Recursor."""

import os
import subprocess
from pathlib import Path

from internet.resolvers import Resolver

KNOT = "127.0.0.3"
POWERDNS = "127.0.0.4"
# Octets of cache, as the others have.
CACHE = 64 << 20
# PowerDNS counts records; one takes about so many octets with its name and index.
OCTETS_A_RECORD = 400


class KnotResolver(Resolver):
    """kresd: a process for each thread, which share the cache and the address."""

    name = "knot"

    def __init__(self, namespace, directory, hints: Path, anchors: Path, records: dict[str, str], threads: int):
        super().__init__(namespace, directory, KNOT)
        directory.mkdir(parents=True)
        self.others: list[subprocess.Popen] = []
        self.threads = threads
        lines = [f"net.listen('{KNOT}', 53, {{ kind = 'dns' }})", "net.ipv6 = false", f"cache.size = {CACHE}"]
        lines += ["modules = { 'hints > iterate' }", f"hints.root_file('{hints}')"]
        lines += ["trust_anchors.remove('.')", f"trust_anchors.add_file('{anchors}', true)"]
        lines += ["hints.use_nodata(true)", *(f"hints.set('{name} {address}')" for name, address in records.items())]
        (directory / "conf").write_text("\n".join(lines) + "\n")

    def launch(self) -> subprocess.Popen:
        with open(self.log_file, "ab") as log:
            command = ["kresd", "-n", "-c", str(self.directory / "conf"), str(self.directory)]
            start = lambda: subprocess.Popen(  # noqa: E731
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self.environment
            )
            self.others = [start() for _ in range(self.threads - 1)]
            return start()

    def stop(self) -> None:
        for process in self.others:
            process.terminate()
            process.wait()
        super().stop()


class PowerDNSRecursor(Resolver):
    name = "powerdns"

    def __init__(self, namespace, directory, hints: Path, anchors: Path, records: dict[str, str], zone: str, threads: int):
        super().__init__(namespace, directory, POWERDNS)
        directory.mkdir(parents=True)
        text = [f"$ORIGIN {zone}.", "$TTL 3600", "@ SOA ns hostmaster 1 7200 900 1209600 300", "@ NS ns", "ns A 127.0.0.1"]
        text += [f"{name}. A {address}" for name, address in records.items()]
        (directory / "zone").write_text("\n".join(text) + "\n")
        # The root's own keys don't count here.
        (directory / "anchors.lua").write_text(f'clearTA()\nreadTrustAnchorsFromFile("{anchors}")\n')
        settings = {
            "local-address": POWERDNS,
            "local-port": 53,
            "hint-file": hints,
            "auth-zones": f"{zone}={directory}/zone",
            "lua-config-file": directory / "anchors.lua",
            "dnssec": "validate",
            "dont-query": "",
            "query-local-address": "0.0.0.0",
            "allow-from": "127.0.0.0/8",
            "threads": threads,
            "pdns-distributes-queries": "no",
            "reuseport": "yes",
            "max-cache-entries": CACHE // OCTETS_A_RECORD,
            "max-packetcache-entries": CACHE // OCTETS_A_RECORD,
            "edns-outgoing-bufsize": 1232,
            "socket-dir": directory,
            "config-dir": directory,
            "disable-syslog": "yes",
            "daemon": "no",
            "write-pid": "no",
            "security-poll-suffix": "",
            "loglevel": 3,
            "quiet": "yes",
        }
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (directory / "recursor.conf").write_text(lines)

    def launch(self) -> subprocess.Popen:
        with open(self.log_file, "ab") as log:
            command = ["pdns_recursor", f"--config-dir={self.directory}"]
            environment = os.environ | self.environment
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
