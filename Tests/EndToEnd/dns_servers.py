"""Name servers from Debian on loopback, as primaries and secondaries of resolverd: BIND, Knot and NSD with TSIG keys."""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import configuration
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.tsigkeyring
from internet.processes import end

PATIENCE = 30


@dataclass(frozen=True)
class Key:
    """A TSIG key."""

    name: str
    secret: str
    algorithm: str = "hmac-sha256"

    @property
    def ring(self):
        return dns.tsigkeyring.from_text({self.name: (self.algorithm, self.secret)})

    @property
    def dig(self) -> str:
        return f"{self.algorithm}:{self.name}:{self.secret}"


@dataclass
class Zone:
    """A zone of a server: with `text` it's the primary, with `primary` (a port on 127.0.0.1) a secondary."""

    name: str
    text: str | None = None
    primary: int | None = None
    notify: tuple[int, ...] = ()


@dataclass
class Server:
    """A server that runs on a free port of 127.0.0.1 and signs all that it says about zones with one key."""

    directory: Path
    key: Key
    zones: list[Zone]
    port: int = field(default_factory=configuration.free_port)
    process: subprocess.Popen | None = None

    def file(self, zone: Zone) -> Path:
        return self.directory / f"{zone.name}.zone"

    def command(self) -> list[str]:
        """Writes the configuration; returns what to run."""
        raise NotImplementedError

    def write(self, zone: Zone, text: str) -> None:
        zone.text = text
        self.file(zone).write_text(text)

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for zone in self.zones:
            if zone.text is not None:
                self.file(zone).write_text(zone.text)
        with open(self.directory / "log", "ab") as log:
            command = self.command()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        for zone in self.zones:
            if zone.text is not None:
                wait_for(lambda name=zone.name: serial(name, self.port) is not None, self.log)

    def stop(self) -> None:
        end(self.process)
        self.process = None

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-3000:]


class BIND(Server):
    def command(self) -> list[str]:
        base, key = self.directory, self.key
        zones = [self.zone(zone) for zone in self.zones]
        text = f"""
            key "{key.name}" {{ algorithm {key.algorithm}; secret "{key.secret}"; }};
            server 127.0.0.1 {{ keys "{key.name}"; }};
            options {{
                directory "{base}"; pid-file "{base}/pid"; session-keyfile "{base}/session.key";
                listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
                recursion no; check-integrity no; dnssec-validation no; managed-keys-directory "{base}";
                notify-delay 0; min-refresh-time 1; min-retry-time 1; serial-query-rate 100; notify-rate 100;
                startup-notify-rate 100; ixfr-from-differences yes; request-ixfr yes;
            }};
            controls {{ }};
        """
        (base / "conf").write_text(text + "\n".join(zones) + "\n")
        # Verbose, so that it says what kind of answer a transfer is.
        return ["named", "-g", "-d", "3", "-n", "1", "-c", str(base / "conf")]

    def zone(self, zone: Zone) -> str:
        key, file = self.key, self.file(zone)
        if zone.primary:
            return (
                f'zone "{zone.name}" {{ type secondary; file "{file}"; masterfile-format text; '
                f'primaries {{ 127.0.0.1 port {zone.primary} key "{key.name}"; }}; notify no; }};'
            )
        notify = " ".join(f'127.0.0.1 port {port} key "{key.name}";' for port in zone.notify)
        return (
            f'zone "{zone.name}" {{ type primary; file "{file}"; allow-transfer {{ key "{key.name}"; }}; '
            f'allow-update {{ key "{key.name}"; }}; notify explicit; also-notify {{ {notify} }}; }};'
        )


class Knot(Server):
    def command(self) -> list[str]:
        base, key = self.directory, self.key
        lines = ["server:", f"  rundir: {base}", f"  listen: 127.0.0.1@{self.port}", "  udp-workers: 1"]
        lines += ["  tcp-workers: 1", "  background-workers: 1", "database:", f"  storage: {base}/db", "control:"]
        lines += [f"  listen: {base}/ctl", "log:", "  - target: stderr", "    any: info", "key:", f"  - id: {key.name}"]
        lines += [f"    algorithm: {key.algorithm}", f"    secret: {key.secret}"]
        ports = {port for zone in self.zones for port in (zone.primary, *zone.notify) if port}
        lines += ["remote:"] if ports else []
        for port in ports:
            lines += [f"  - id: p{port}", f"    address: 127.0.0.1@{port}", f"    key: {key.name}"]
        lines += ["acl:", "  - id: all", f"    key: {key.name}", "    action: [transfer, notify, update]", "zone:"]
        for zone in self.zones:
            lines += [f"  - domain: {zone.name}", f"    file: {self.file(zone)}", "    acl: all"]
            lines += ["    zonefile-load: difference", "    journal-content: changes"]
            lines += [f"    master: p{zone.primary}", "    refresh-min-interval: 2"] if zone.primary else []
            lines += [f"    notify: [{', '.join(f'p{port}' for port in zone.notify)}]"] if zone.notify else []
        (base / "db").mkdir(exist_ok=True)
        (base / "conf").write_text("\n".join(lines) + "\n")
        return ["knotd", "-c", str(base / "conf")]

    def reload(self) -> None:
        knotc = ["knotc", "-c", str(self.directory / "conf"), "zone-reload"]
        subprocess.run(knotc, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)


class NSD(Server):
    def command(self) -> list[str]:
        base, key = self.directory, self.key
        lines = ["server:", "  ip-address: 127.0.0.1", f"  port: {self.port}", '  username: ""', f'  zonesdir: "{base}"']
        lines += ['  database: ""', f'  pidfile: "{base}/pid"', f'  xfrdfile: "{base}/xfrd"', f'  xfrdir: "{base}"']
        lines += [f'  zonelistfile: "{base}/list"', "  server-count: 1", "  verbosity: 2", "  rrl-ratelimit: 0"]
        lines += ["  xfrd-reload-timeout: 0", "remote-control:", "  control-enable: no"]
        lines += ["key:", f'  name: "{key.name}"', f"  algorithm: {key.algorithm}", f'  secret: "{key.secret}"']
        for zone in self.zones:
            lines += ["zone:", f'  name: "{zone.name}"', f'  zonefile: "{self.file(zone)}"']
            if zone.primary:
                lines += [f"  request-xfr: 127.0.0.1@{zone.primary} {key.name}", f"  allow-notify: 127.0.0.1 {key.name}"]
                lines += ["  min-refresh-time: 1", "  min-retry-time: 1", "  store-ixfr: yes"]
                lines += [f"  provide-xfr: 127.0.0.1 {key.name}"]
            else:
                lines += [f"  provide-xfr: 127.0.0.1 {key.name}"]
            lines += [f"  notify: 127.0.0.1@{port} {key.name}" for port in zone.notify]
        (base / "conf").write_text("\n".join(lines) + "\n")
        return ["nsd", "-d", "-c", str(base / "conf")]


def ask(name: str, kind: str, port: int, **options) -> dns.message.Message | None:
    """What the server on a port of 127.0.0.1 says over TCP; None without an answer."""
    try:
        return dns.query.tcp(dns.message.make_query(name, kind), "127.0.0.1", 5, port, **options)
    except (OSError, EOFError, dns.exception.DNSException):
        return None


def serial(zone: str, port: int) -> int | None:
    """The serial of the zone that a server on 127.0.0.1 answers with authority."""
    answer = ask(zone, "SOA", port)
    return answer.answer[0][0].serial if answer and answer.answer else None


def wait_for(condition, report=lambda: ""):
    """Waits until a condition holds, and gives its value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(report())
        time.sleep(0.05)
    return value
