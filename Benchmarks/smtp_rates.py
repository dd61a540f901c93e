"""Measures taking mail from strangers, with and without looking at who it is from, Martlet beside Postfix. See README.md."""

import argparse
import base64
import ipaddress
import os
import shutil
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts" / "lib"), str(REPOSITORY / "Tests" / "EndToEnd")]

import configuration  # noqa: E402
from instance import Instance  # noqa: E402
from milters import OpenDKIM, Rspamd  # noqa: E402
from namespace import Names, enter_namespace  # noqa: E402
from postfix import Postfix  # noqa: E402
from queue_rates import BOB, Bench, Martlet, disk, wait_for  # noqa: E402
from smtp_client import Load, send  # noqa: E402

SENDER, HELO = "someone@partner.net", "out.partner.net"
# Of no network that resolvers answer for themselves (RFC 6303), as loopback's is.
CLIENT = "198.18.0.25"
ROWS = {
    "no checks": "nobody looks at the message",
    "checks": "SPF, DKIM: ours built in, with DMARC and ARC; Postfix with policyd-spf and OpenDKIM",
    "opendkim": "the same milter on both: OpenDKIM, verifying",
    "rspamd": "the same milter on both: rspamd's proxy with its usual rules",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench smtp")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--single", type=int, default=100, help="messages one after the other, for the time that one takes")
    parser.add_argument("--keep-sessions", action="store_true", help="all messages over the same connections")
    parser.add_argument("--keep-connections", action="store_true", help="ours keeps connections to milters for the next client")
    parser.add_argument("--row", action="append", choices=tuple(ROWS), help="only these; all unless said")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    return parser.parse_args()


def records(key: str) -> str:
    """The sender's."""
    text = " ".join(f'"{key[at : at + 200]}"' for at in range(0, len(key), 200))
    return (
        f'partner.net. TXT "v=spf1 ip4:{CLIENT} -all"\nout.partner.net. A {CLIENT}\n'
        f'out.partner.net. TXT "v=spf1 ip4:{CLIENT} -all"\n_dmarc.partner.net. TXT "v=DMARC1; p=reject"\n'
        f"key._domainkey.partner.net. TXT {text}\n{ipaddress.ip_address(CLIENT).reverse_pointer}. PTR out.partner.net.\n"
    )


class CheckingMartlet(Martlet):
    """With checks built in, or a milter."""

    def __init__(self, directory: Path, row: str, milter, keeps: bool):
        self.instance = Instance(directory)
        # One host sends what thousands do elsewhere: how often it may isn't what is measured.
        smtpd = {"authentication": {"enabled": row == "checks"}, "clients": {"exempt": [f"{CLIENT}/32"]}}
        if row in ("opendkim", "rspamd"):
            smtpd["milters"] = {row: {"socket": f"127.0.0.1:{milter.port}", "keep-connections": keeps}}
        forwarder = ["127.0.0.1"]
        values = configuration.configuration(configuration.free_ports())
        changes = {"smtpd": smtpd, "resolverd": {"mode": "forward", "forwarders": forwarder, "dnssec": "no"}}
        self.instance.make(configuration.merge(values, changes))
        self.instance.add_user(BOB)
        self.port = self.instance.ports["smtp"]


class CheckingPostfix(Postfix):
    """With policyd-spf and OpenDKIM, or another milter."""

    def __init__(self, directory: Path, row: str, milter, port: int):
        settings = {"mynetworks": "192.0.2.0/24", "smtpd_relay_restrictions": "reject_unauth_destination"}
        services = ""
        if row != "no checks":
            settings |= {"smtpd_milters": f"inet:127.0.0.1:{milter.port}", "milter_default_action": "tempfail"}
        policy = directory / "etc" / "policyd-spf.conf"
        if row == "checks":
            settings |= {
                "smtpd_recipient_restrictions": "reject_unauth_destination, check_policy_service unix:private/policyd-spf",
                "policyd-spf_time_limit": "3600",
            }
            services = f"policyd-spf unix - n n - 0 spawn user=policyd-spf argv=/usr/bin/policyd-spf {policy}\n"
        super().__init__(directory, port, 9, settings, services)
        policy.write_text(
            "debugLevel = 0\nTestOnly = 1\nHELO_reject = Fail\nMail_From_reject = Fail\nskip_addresses = 192.0.2.0/24\n"
        )


class SignedMail(Bench):
    """Sends one signed message again and again."""

    def __init__(self, options: argparse.Namespace, message: Path):
        super().__init__(options)
        self.message = message

    def send(self, system, recipient: str, messages: int) -> None:
        text = self.message.read_bytes().replace(b"\n", b"\r\n")
        load = Load(SENDER, lambda number: recipient, text, HELO, keeps=self.options.keep_sessions, source=CLIENT)
        if deferred := send(system.port, load, messages, self.options.sessions):
            print(f"{system.name}: {deferred} messages deferred and sent again", flush=True)

    def times(self, system, messages: int) -> float:
        """Milliseconds from MAIL to the last reply, the median of messages over one connection."""
        text = self.message.read_bytes().replace(b"\n", b"\r\n")
        times = []
        with smtplib.SMTP("127.0.0.1", system.port, HELO, timeout=60, source_address=(CLIENT, 0)) as client:
            client.ehlo()
            for _ in range(messages):
                start = time.monotonic()
                client.sendmail(SENDER, [BOB], text)
                times.append((time.monotonic() - start) * 1000)
        return statistics.median(times)


def signed_message(octets: int) -> tuple[bytes, str]:
    """A message with lines that end in LF, and the record of its key."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = f"From: <{SENDER}>\r\nTo: <{BOB}>\r\nSubject: a message\r\nMessage-ID: <1@partner.net>\r\n"
    head += "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n"
    body = "The quick brown fox jumps over the lazy dog, over and over again.\r\n"
    message = (head + body * max(1, octets // len(body))).encode()
    signature = dkim.sign(message, b"key", b"partner.net", private, canonicalize=(b"relaxed", b"relaxed"))
    record = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
    return (signature + message).replace(b"\r\n", b"\n"), record


def check(system, row: str) -> None:
    """That what is measured is what is meant: the last message has the results of who looked at it."""
    paths = system.maildir.glob("new/*") if isinstance(system, Postfix) else mailbox(system).glob("*")
    text = max(paths, key=lambda path: path.stat().st_mtime).read_bytes()
    words = {
        "no checks": [],
        "checks": [b"dkim=pass", b"pass"] if isinstance(system, Postfix) else [b"dkim=pass", b"spf=pass", b"dmarc=pass"],
        "opendkim": [b"opendkim.test", b"dkim=pass"],
        "rspamd": [b"X-Spamd-Bar"],
    }[row]
    if isinstance(system, Postfix) and row == "checks":
        words.append(b"Received-SPF")
    nothing = b"\n\n"
    for word in words:
        if word not in text:
            raise RuntimeError(f"{row}, {system.name}: no {word.decode()} in\n{text.partition(nothing)[0].decode('latin-1')}")


def mailbox(system) -> Path:
    name, _, domain = BOB.partition("@")
    mail = system.instance.directory / "mail"
    return next(path / "new" for path in (mail / domain / name, mail / BOB) if path.exists())


def measure(bench: SignedMail, row: str, base: Path, options) -> dict[str, tuple[float, float]]:
    """Messages a second and milliseconds for one, by system."""
    base.mkdir()
    base.chmod(0o755)
    ports = list(configuration.free_ports().values())
    milter = None
    if row == "rspamd":
        milter = Rspamd(base / "milter", ports[0], 53, rules=True, workers=os.cpu_count() or 1)
    elif row != "no checks":
        milter = OpenDKIM(base / "milter", ports[0], 53)
    systems = [
        CheckingMartlet(base / "martlet", row, milter, options.keep_connections),
        CheckingPostfix(base / "postfix", row, milter, ports[1]),
    ]
    rates: dict[str, list[float]] = {system.name: [] for system in systems}
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    started = []
    try:
        if milter:
            milter.start()
            milter.wait_until_ready()
        for system in systems:
            started.append(system)
            system.start()
            # The first one fills the caches of all who ask the DNS.
            bench.times(system, 1)
            bench.measure(system, BOB, system.delivered, 200)
            check(system, row)
        for number in range(options.rounds):
            for system in systems:
                accepted, _ = bench.measure(system, BOB, system.delivered, options.messages)
                wait_for(lambda: system.queued() == 0)
                time_of_one = bench.times(system, options.single)
                rates[system.name].append(accepted)
                times[system.name].append(time_of_one)
                print(f"{row}, round {number + 1}, {system.name}: {accepted:.0f}/s, {time_of_one:.2f} ms", flush=True)
    finally:
        for system in started:
            system.stop()
        if milter:
            milter.stop()
    return {name: (statistics.median(rates[name]), statistics.median(times[name])) for name in rates}


def report(results: dict[str, dict[str, tuple[float, float]]]) -> None:
    print(f"\n{'median':10} {'Martlet':>10} {'Postfix':>10} {'ratio':>7} {'Martlet':>10} {'added':>8} {'Postfix':>10} {'added':>8}")
    first = next(iter(results.values()))
    for row, values in results.items():
        (ours, our_time), (theirs, their_time) = values["Martlet"], values["Postfix"]
        added = our_time - first["Martlet"][1], their_time - first["Postfix"][1]
        print(
            f"{row:10} {ours:8.0f}/s {theirs:8.0f}/s {ours / theirs:7.2f} {our_time:8.2f}ms {added[0]:6.2f}ms"
            f" {their_time:8.2f}ms {added[1]:6.2f}ms"
        )
    if "no checks" in results and "checks" in results:
        ours = results["checks"]["Martlet"][0] / results["no checks"]["Martlet"][0]
        print(f"\nMartlet with its checks takes {ours:.0%} of the rate without")


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for both systems use several users")
    enter_namespace()
    subprocess.run(["ip", "address", "add", f"{CLIENT}/32", "dev", "lo"], check=True)
    base = Path(tempfile.mkdtemp(prefix="mlt-bench-", dir=options.directory))
    base.chmod(0o755)
    message, record = signed_message(options.octets)
    path = base / "message"
    path.write_bytes(message)
    names = Names(base / "names", records(record))
    bench = SignedMail(options, path)
    files, appends = disk(base)
    print(f"disk: {files:.0f} files/s with fsync, {appends:.0f} appends/s with fdatasync; {os.cpu_count()} cores")
    print(f"load: {options.sessions} sessions, {options.messages} messages of {len(message)} octets")
    try:
        chosen = [row for row in ROWS if row in (options.row or ROWS)]
        results = {row: measure(bench, row, base / row.replace(" ", "-"), options) for row in chosen}
        report(results)
    finally:
        names.stop()
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
