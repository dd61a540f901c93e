"""Name servers from Debian: NSD, BIND and Knot, each in the namespace with files of its own."""

import subprocess
import time
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from .namespace import Namespace

PATIENCE = 20


def end(process: subprocess.Popen | None) -> None:
    """Ends a process that a test began: asks it to, and kills it where that doesn't help."""
    if process and process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class NameServer:
    """A name server process; it serves `zones` (name to master file's text) on port 53 of its addresses."""

    def __init__(self, directory: Path, addresses: list[str], zones: dict[str, str], port: int = 53):
        self.directory, self.addresses, self.zones, self.port = directory, addresses, dict(zones), port
        self.process: subprocess.Popen | None = None
        directory.mkdir(parents=True)

    def file(self, zone: str) -> Path:
        return self.directory / f"{zone.rstrip('.') or 'root'}.zone"

    def command(self) -> list[str]:
        """Writes the configuration; returns what to run."""
        raise NotImplementedError

    def start(self, namespace: Namespace) -> None:
        for zone, text in self.zones.items():
            self.file(zone).write_text(text)
        with namespace.inside():
            command = self.command()
            with open(self.directory / "log", "ab") as log:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def wait_ready(self, namespace: Namespace) -> None:
        """Waits until every zone is served."""
        end = time.monotonic() + PATIENCE
        with namespace.inside():
            for zone in self.zones:
                query = dns.message.make_query(zone, "SOA")
                while True:
                    try:
                        answer = dns.query.tcp(query, self.addresses[0], 2, self.port)
                        if answer.answer:
                            break
                    except (OSError, EOFError, dns.exception.DNSException):
                        pass
                    if time.monotonic() > end or self.process.poll() is not None:
                        text = (self.directory / "log").read_text(errors="replace")
                        raise TimeoutError(f"{type(self).__name__} does not serve {zone}\n{text[-3000:]}")
                    time.sleep(0.05)

    def stop(self) -> None:
        end(self.process)


class NSD(NameServer):
    def command(self) -> list[str]:
        base = self.directory
        lines = ["server:", *(f"  ip-address: {address}" for address in self.addresses), f"  port: {self.port}"]
        lines += ["  ip-freebind: yes", '  username: ""', f'  zonesdir: "{base}"', '  database: ""']
        lines += [f'  pidfile: "{base}/pid"', f'  xfrdfile: "{base}/xfrd"', f'  zonelistfile: "{base}/list"']
        lines += [f'  xfrdir: "{base}"', "  server-count: 1", "  verbosity: 1", "  rrl-ratelimit: 0"]
        lines += ["  hide-version: yes", "remote-control:", "  control-enable: no"]
        for zone in self.zones:
            lines += ["zone:", f'  name: "{zone}"', f'  zonefile: "{self.file(zone)}"']
        (base / "conf").write_text("\n".join(lines) + "\n")
        return ["nsd", "-d", "-c", str(base / "conf")]


class BIND(NameServer):
    def command(self) -> list[str]:
        base = self.directory
        four = " ".join(f"{address};" for address in self.addresses if ":" not in address)
        six = " ".join(f"{address};" for address in self.addresses if ":" in address)
        zones = [f'zone "{zone}" {{ type primary; file "{self.file(zone)}"; }};' for zone in self.zones]
        text = f"""
            options {{
                directory "{base}"; pid-file "{base}/pid"; session-keyfile "{base}/session.key";
                listen-on port {self.port} {{ {four or "none;"} }}; listen-on-v6 port {self.port} {{ {six or "none;"} }};
                recursion no; minimal-responses no; allow-transfer {{ none; }}; notify no; check-names primary ignore;
                check-integrity no; dnssec-validation no; managed-keys-directory "{base}";
            }};
            controls {{ }};
        """
        (base / "conf").write_text(text + "\n".join(zones) + "\n")
        return ["named", "-g", "-n", "1", "-c", str(base / "conf")]


class Knot(NameServer):
    """Knot; the zones in `signed` are signed as they are answered, with a denial made for each question."""

    def __init__(self, directory, addresses, zones, signed: list[str] = (), port: int = 53):
        super().__init__(directory, addresses, zones, port)
        self.signed = list(signed)

    def configure(self) -> Path:
        base = self.directory
        path = base / "conf"
        listen = ", ".join(f"{address}@{self.port}" for address in self.addresses)
        lines = ["server:", f"  rundir: {base}", f"  listen: [{listen}]", "  udp-workers: 1", "  tcp-workers: 1"]
        lines += ["  background-workers: 1", "database:", f"  storage: {base}/db", "control:", f"  listen: {base}/ctl"]
        lines += ["log:", "  - target: stderr", "    any: warning", "policy:", "  - id: online", "    manual: on"]
        lines += ["    single-type-signing: on", "mod-onlinesign:", "  - id: online", "    policy: online"]
        lines += ["zone:"]
        for zone in self.zones or self.signed:
            lines += [f"  - domain: {zone}", f"    file: {self.file(zone)}", "    zonefile-load: whole"]
            if zone in self.signed:
                lines += ["    module: mod-onlinesign/online", "    dnssec-policy: online"]
        path.write_text("\n".join(lines) + "\n")
        return path

    def make_keys(self) -> dict[str, str]:
        """Makes the keys of the zones in `signed`; returns their DS records as text."""
        configuration = self.configure()
        (self.directory / "db").mkdir()
        found = {}
        for zone in self.signed:
            keymgr = ["keymgr", "-c", str(configuration), zone]
            make = [*keymgr, "generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes"]
            subprocess.run(make, check=True, capture_output=True)
            printed = subprocess.run([*keymgr, "ds"], check=True, capture_output=True, text=True).stdout
            lines = [line.split(" DS ")[1] for line in printed.splitlines() if " DS " in line]
            found[zone] = next(line for line in lines if line.split()[2] == "2")
        return found

    def command(self) -> list[str]:
        return ["knotd", "-c", str(self.configure())]


def sign_with_ldns(directory: Path, zone: str, text: str, algorithm: str, *options: str) -> tuple[str, str]:
    """Signs a zone with ldns-signzone; returns its text and DS record."""
    directory.mkdir(parents=True)
    (directory / "zone").write_text(text)
    make = ["ldns-keygen", "-a", algorithm, "-b", "1280", "-k", zone]
    key = subprocess.run(make, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()
    sign = ["ldns-signzone", "-o", zone, *options, "-f", "signed", "zone", key]
    subprocess.run(sign, cwd=directory, check=True, capture_output=True)
    return (directory / "signed").read_text(), (directory / f"{key}.ds").read_text().split("DS\t")[1].split(";")[0]


def sign_with_bind(directory: Path, zone: str, text: str, algorithm: str, *options: str) -> tuple[str, str]:
    """Signs a zone with dnssec-signzone; returns its text and DS record."""
    directory.mkdir(parents=True)
    (directory / "zone").write_text(text)
    for more in (["-f", "KSK"], []):
        make = ["dnssec-keygen", "-q", "-a", algorithm, *more, zone]
        subprocess.run(make, cwd=directory, check=True, capture_output=True)
    sign = ["dnssec-signzone", "-q", "-S", "-x", "-P", "-o", zone, *options, "-f", "signed", "zone"]
    subprocess.run(sign, cwd=directory, check=True, capture_output=True)
    ds = (directory / f"dsset-{zone}.").read_text().split("DS")[1].strip()
    return (directory / "signed").read_text(), ds
