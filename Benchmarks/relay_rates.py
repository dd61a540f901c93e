"""Measures sending to other hosts: with TLS, with DKIM, to many destinations, Martlet beside Postfix with OpenDKIM. See README.md."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts" / "lib"), str(REPOSITORY / "Tests" / "EndToEnd")]

import configuration  # noqa: E402
from instance import Instance  # noqa: E402
from milters import OpenDKIM  # noqa: E402
from namespace import Names, enter_namespace  # noqa: E402
from postfix import Postfix  # noqa: E402
from processor_time import processor_time, spent  # noqa: E402
from queue_rates import Martlet, Sink, disk, wait_for  # noqa: E402
from smtp_client import Load, send  # noqa: E402

DESTINATIONS = 1000
# On the loopback device of this namespace: every address of these is here.
IPV4, IPV6 = "198.18.{}.{}", "fd00:25::{:x}"
# Where the hosts are that mail is sent to: neither system sends to port 25 of an address that it has itself.
HERE = "198.18.0.1"
NETWORK = (
    f"ip addr add {HERE}/16 dev lo",
    "ip -6 route add local fd00:25::/64 dev lo",
    "sysctl -q -w net.ipv6.bindv6only=1",
)
# By the sender's domain: the kinds of keys that it has.
SIGNED = {"plain.test": [], "signed.test": ["rsa"], "both.test": ["rsa", "ed25519"]}
USER = "someone@{}"


@dataclass(frozen=True)
class Row:
    """One thing that is measured.

    - host: the domain of the recipients, or the domains, by a number.
    """

    text: str
    host: str
    sender: str = "plain.test"
    isOursAlone: bool = False

    @property
    def keys(self) -> list[str]:
        return SIGNED[self.sender]


ROWS = {
    "plain": Row("to one host", "clear.net"),
    "tls": Row("to one host that has STARTTLS", "tls.net"),
    "dkim": Row("signed with RSA (2048 bits), to one host", "clear.net", "signed.test"),
    "tls+dkim": Row("signed, to one host that has STARTTLS", "tls.net", "signed.test"),
    "many": Row(f"to {DESTINATIONS} domains, each with an MX of its own", "d{}.many.net"),
    "many+tls": Row("the same, hosts that have STARTTLS", "d{}.manytls.net"),
    "ed25519": Row("signed with RSA and Ed25519 (Martlet alone), to one host", "clear.net", "both.test", isOursAlone=True),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench relay")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--row", action="append", choices=tuple(ROWS), help="only these; all unless said")
    parser.add_argument("--only", choices=("Martlet", "Postfix"), help="one of the two")
    parser.add_argument("--reuse", action="store_true", help="Postfix with smtp_tls_connection_reuse, which it has not by itself")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    return parser.parse_args()


def records() -> str:
    """Where mail for the many domains goes."""
    lines = ["clear.net. A 127.0.0.1"]
    for number in range(DESTINATIONS):
        for zone, record in (
            ("many.net", "A " + IPV4.format(1 + number // 250, 1 + number % 250)),
            ("manytls.net", "AAAA " + IPV6.format(1 + number)),
        ):
            name = f"d{number}.{zone}."
            lines += [f"{name} MX 10 mx.{name}", f"mx.{name} {record}"]
    return "\n".join(lines) + "\n"


class RelayingMartlet(Martlet):
    """With routes to the hosts, users of three domains, and keys of two of them."""

    def __init__(self, directory: Path, routes: dict[str, tuple[str, int]]):
        self.instance = Instance(directory)
        values = configuration.configuration(configuration.free_ports())
        changes = {
            "domains": ["example.test", *SIGNED],
            "smtpd": {"relay-from": ["127.0.0.0/8"]},
            # No limit of a user's.
            "authd": {"sending": dict.fromkeys(("messages-per-hour", "messages-per-day", "recipients-per-hour", "recipients-per-day"), 0)},
            "remote-relay": {"routes": {name: f"{host}:{port}" for name, (host, port) in routes.items()}},
            "resolverd": {"mode": "forward", "forwarders": ["127.0.0.1"], "dnssec": "no"},
        }
        self.instance.make(configuration.merge(values, changes))
        self.passwords = {}
        for domain, kinds in SIGNED.items():
            self.passwords[domain] = self.instance.add_user(USER.format(domain))
            for kind in kinds:
                self.instance.martlet("dkim", "keygen", "--domain", domain, "--type", kind, "--active")
        ports = self.instance.ports
        self.port, self.submission = ports["smtp"], ports["submission"]

    def login(self, domain: str) -> tuple[str, str] | None:
        return USER.format(domain), self.passwords[domain]

    @property
    def processes(self) -> list[int]:
        return [self.instance.supervisor.supervisor_pid()]


class RelayingPostfix(Postfix):
    """With a second port that takes mail by TLS and has OpenDKIM sign it."""

    def __init__(self, directory: Path, ports: list[int], routes: dict[str, tuple[str, int]], private_key: bytes, reuse: bool):
        self.submission = ports[1]
        (directory / "tls").mkdir(parents=True)
        configuration.make_certificate(directory / "tls", "mail.example.test")
        # A path of a socket must be short.
        self.place = Path(tempfile.mkdtemp(prefix="mlt-dkim-"))
        self.place.chmod(0o777)
        self.socket = self.place / "socket"
        self.signer = OpenDKIM(
            directory / "dkim", 0, 53, "signed.test", private_key, canonicalization="relaxed/relaxed", socket=self.socket
        )
        maps = ", ".join(f"{{{name}=smtp:[{host}]:{port}}}" for name, (host, port) in routes.items())
        settings = {
            "inet_protocols": "all",
            "transport_maps": f"inline:{{{maps}}}",
            "smtp_dns_support_level": "enabled",
            # As Debian's main.cf has it.
            "smtp_tls_security_level": "may",
            "smtp_tls_session_cache_database": f"btree:{directory}/data/smtp_scache",
            "smtp_tls_connection_reuse": "yes" if reuse else "no",
            "smtpd_tls_cert_file": directory / "tls" / "certificate.pem",
            "smtpd_tls_key_file": directory / "tls" / "private-key.pem",
        }
        services = (
            f"127.0.0.1:{self.submission} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt\n"
            f"  -o smtpd_milters=unix:{self.socket} -o milter_default_action=tempfail\n"
            "tlsproxy unix - - n - 0 tlsproxy\n"
        )
        super().__init__(directory, ports[0], 0, settings, services)

    def login(self, domain: str) -> None:
        """Postfix takes it from this host without."""

    def start(self) -> None:
        self.signer.start()
        wait_for(self.socket.exists)
        self.socket.chmod(0o777)
        super().start()

    def stop(self) -> None:
        super().stop()
        self.signer.stop()
        shutil.rmtree(self.place)

    @property
    def processes(self) -> list[int]:
        master = int((self.directory / "queue" / "pid" / "master.pid").read_text())
        return [master, self.signer.processes[0].pid]


class Terminator:
    """stunnel, which speaks STARTTLS and gives the rest to a sink: smtp-sink has no TLS."""

    def __init__(self, directory: Path, places: list[str], sink: int):
        directory.mkdir()
        configuration.make_certificate(directory, "tls.net")
        services = "".join(
            f"[{number}]\naccept = {place}\nconnect = 127.0.0.1:{sink}\nprotocol = smtp\n"
            f"cert = {directory}/certificate.pem\nkey = {directory}/private-key.pem\nTIMEOUTclose = 0\n"
            for number, place in enumerate(places)
        )
        path = directory / "stunnel.conf"
        path.write_text("foreground = yes\ndebug = 3\npid =\n" + services)
        self.process = subprocess.Popen(
            ["stunnel4", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class RelayBench:
    def __init__(self, options: argparse.Namespace, sink: Sink):
        self.options = options
        self.sink = sink

    def load(self, system, row: Row) -> tuple[int, Load]:
        """The port, and what goes there."""
        sender = USER.format(row.sender)
        head = f"From: <{sender}>\r\nTo: <someone@example.net>\r\nSubject: a message\r\nMessage-ID: <1@{row.sender}>\r\n"
        head += "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n"
        line = "The quick brown fox jumps over the lazy dog, over and over again.\r\n"
        text = (head + line * max(1, self.options.octets // len(line))).encode()
        load = Load(
            sender,
            lambda number: "someone@" + row.host.format(number % DESTINATIONS),
            text,
            "client.example.test",
            keeps=True,
            pipelines=True,
            tls=bool(row.keys),
            login=system.login(row.sender) if row.keys else None,
        )
        return system.submission if row.keys else system.port, load

    def measure(self, system, row: Row, messages: int) -> tuple[float, dict[str, float]]:
        """Messages a second until the last has reached its host, and seconds of the processors, by daemon."""
        wait_for(lambda: system.queued() == 0)
        os.sync()
        before = self.sink.messages
        begun: list = []

        def start() -> None:
            begun.append([processor_time(pid) for pid in system.processes])
            begun.append(time.monotonic())

        port, load = self.load(system, row)
        if deferred := send(port, load, messages, min(messages, self.options.sessions), start):
            print(f"{system.name}: {deferred} messages deferred and sent again", flush=True)
        wait_for(lambda: self.sink.messages - before >= messages)
        seconds = time.monotonic() - begun[1]
        times: dict[str, float] = {}
        for pid, earlier in zip(system.processes, begun[0]):
            for name, value in spent(earlier, processor_time(pid)).items():
                times[name] = times.get(name, 0.0) + value
        return messages / seconds, times

    def check(self, system, row: Row, place: Path) -> None:
        """That a message has the signatures that are meant."""
        port, load = self.load(system, row)
        before = set(place.iterdir())
        send(port, Load(**{**vars(load), "recipient": lambda number: "someone@look.net"}), 1, 1)
        wait_for(lambda: any(path.read_bytes().count(b"\n.") or path.stat().st_size > 1000 for path in set(place.iterdir()) - before))
        time.sleep(0.2)
        text = b"".join(path.read_bytes() for path in set(place.iterdir()) - before)
        found = text.count(b"DKIM-Signature:")
        if found != len(row.keys):
            raise RuntimeError(f"{system.name}: {found} signatures in\n{text[:2000].decode('latin-1')}")


def microseconds(times: dict[str, float], messages: int) -> str:
    """What a message takes of the processors."""
    parts = sorted(((value / messages * 1e6, name or "ended") for name, value in times.items()), reverse=True)
    words = ", ".join(f"{name} {value:.0f}" for value, name in parts if value >= 1)
    return f"{sum(value for value, _ in parts):.0f} µs a message ({words})"


def report(rates: dict, costs: dict) -> None:
    print(f"\n{'median':10} {'Martlet':>10} {'Postfix':>10} {'ratio':>7} {'Martlet':>10} {'Postfix':>10} {'ratio':>7}")
    for name in rates:
        words = f"{name:10}"
        for found, unit in ((rates[name], "/s"), (costs[name], "µs")):
            medians = {system: statistics.median(values) for system, values in found.items() if values}
            for system in ("Martlet", "Postfix"):
                words += f" {medians[system]:8.0f}{unit}" if system in medians else f" {'':10}"
            if len(medians) == 2:
                ratio = medians["Martlet"] / medians["Postfix"]
                words += f" {ratio if unit == '/s' else 1 / ratio:7.2f}"
            else:
                words += f" {'':7}"
        print(words)


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for both systems use several users")
    enter_namespace()
    for command in NETWORK:
        subprocess.run(command.split(), check=True)
    base = Path(tempfile.mkdtemp(prefix="mlt-bench-", dir=options.directory))
    base.chmod(0o755)
    files, appends = disk(base)
    print(f"disk: {files:.0f} files/s with fsync, {appends:.0f} appends/s with fdatasync; {os.cpu_count()} cores")
    print(f"load: {options.sessions} sessions, {options.messages} messages of {options.octets} octets")
    key = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], check=True, capture_output=True).stdout
    looks = base / "looks"
    looks.mkdir()
    looks.chmod(0o777)
    ports = list(configuration.free_ports().values())
    routes = {"clear.net": (HERE, 25), "look.net": (HERE, ports[2]), "tls.net": (HERE, ports[3])}
    names = Names(base / "names", records())
    sink = Sink(25, "0.0.0.0")
    looker = subprocess.Popen(
        ["smtp-sink", "-u", "nobody", "-d", f"{looks}/%s.", f"{HERE}:{ports[2]}", "10"], stdin=subprocess.DEVNULL
    )
    terminator = Terminator(base / "stunnel", [f"{HERE}:{ports[3]}", ":::25"], 25)
    systems = [
        RelayingMartlet(base / "martlet", routes),
        RelayingPostfix(base / "postfix", ports[:2], routes, key, options.reuse),
    ]
    systems = [system for system in systems if options.only in (None, system.name)]
    chosen = {name: row for name, row in ROWS.items() if name in (options.row or ROWS)}
    rates = {name: {system.name: [] for system in systems} for name in chosen}
    costs = {name: {system.name: [] for system in systems} for name in chosen}
    bench = RelayBench(options, sink)
    started = []
    try:
        for system in systems:
            started.append(system)
            system.start()
        for turn in range(options.rounds + 1):
            for name, row in chosen.items():
                for system in systems:
                    if row.isOursAlone and system.name != "Martlet":
                        continue
                    if turn == 0:
                        # The first ones fill caches.
                        bench.check(system, row, looks)
                        bench.measure(system, row, 200)
                        continue
                    rate, times = bench.measure(system, row, options.messages)
                    rates[name][system.name].append(rate)
                    costs[name][system.name].append(sum(times.values()) / options.messages * 1e6)
                    cost = microseconds(times, options.messages)
                    print(f"round {turn}, {name}, {system.name}: {rate:.0f}/s, {cost}", flush=True)
        report(rates, costs)
    finally:
        for system in started:
            system.stop()
        for other in (terminator, sink, names):
            other.stop()
        looker.terminate()
        looker.wait()
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
