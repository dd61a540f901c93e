"""Measures taking mail from strangers, with and without looking at who it is from, Martlet beside Postfix. See README.md."""

import argparse
import base64
import multiprocessing
import os
import shutil
import smtplib
import socket
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
from postfix import Postfix  # noqa: E402
from queue_rates import BOB, Bench, Martlet, disk, wait_for  # noqa: E402

SENDER, HELO = "someone@partner.net", "out.partner.net"
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


class Names:
    """nsd on port 53 of this network namespace: the sender's records, and nothing else."""

    def __init__(self, directory: Path, record: str):
        directory.mkdir()
        text = " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))
        (directory / "root").write_text(
            "$ORIGIN .\n$TTL 3600\n@ SOA ns.net. root.net. 1 3600 600 86400 60\n@ NS ns.net.\nns.net. A 127.0.0.1\n"
            'partner.net. TXT "v=spf1 ip4:127.0.0.1 -all"\nout.partner.net. A 127.0.0.1\n'
            'out.partner.net. TXT "v=spf1 ip4:127.0.0.1 -all"\n_dmarc.partner.net. TXT "v=DMARC1; p=reject"\n'
            f"key._domainkey.partner.net. TXT {text}\n1.0.0.127.in-addr.arpa. PTR out.partner.net.\n"
        )
        (directory / "nsd.conf").write_text(
            f'server:\n  ip-address: 127.0.0.1\n  port: 53\n  username: ""\n  chroot: ""\n  zonesdir: "{directory}"\n'
            f'  database: ""\n  pidfile: ""\n  xfrdfile: "{directory}/xfrd"\n  zonelistfile: "{directory}/zones"\n'
            'remote-control:\n  control-enable: no\nzone:\n  name: "."\n  zonefile: root\n'
        )
        self.process = subprocess.Popen(
            ["nsd", "-d", "-c", str(directory / "nsd.conf")], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class CheckingMartlet(Martlet):
    """With checks built in, or a milter."""

    def __init__(self, directory: Path, row: str, milter, keeps: bool):
        self.instance = Instance(directory)
        smtpd = {"authentication": {"enabled": row == "checks"}}
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


class Client:
    """One of the hosts that send: a process of its own, one message a connection unless said otherwise. What gets 4xx is
    sent again, and counted: smtp-source would give up."""

    def __init__(self, port: int, recipient: str, text: bytes, keeps: bool):
        self.port = port
        self.envelope = [b"MAIL FROM:<%s>\r\n" % SENDER.encode(), b"RCPT TO:<%s>\r\n" % recipient.encode(), b"DATA\r\n"]
        self.text = text + b".\r\n"
        self.keeps = keeps
        self.socket = None

    def say(self, octets: bytes, expected: bytes) -> bool:
        self.socket.sendall(octets)
        return self.hear(expected)

    def hear(self, expected: bytes) -> bool:
        reply = b""
        while not (reply.endswith(b"\n") and reply.splitlines()[-1][3:4] == b" "):
            octets = self.socket.recv(4096)
            if not octets:
                raise ConnectionError("closed")
            reply += octets
        if not reply.startswith((expected, b"4")):
            raise RuntimeError(reply.decode("latin-1"))
        return reply.startswith(expected)

    def open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.hear(b"220")
        self.say(f"EHLO {HELO}\r\n".encode(), b"250")

    def close(self) -> None:
        self.say(b"QUIT\r\n", b"221")
        self.socket.close()
        self.socket = None

    def send(self) -> bool:
        if self.socket is None:
            self.open()
        taken = all(self.say(line, expected) for line, expected in zip(self.envelope, (b"250", b"250", b"354")))
        taken = taken and self.say(self.text, b"250")
        if not self.keeps:
            self.close()
        return taken

    def run(self, messages: int, barrier, deferred) -> None:
        barrier.wait()
        while messages:
            if self.send():
                messages -= 1
                continue
            with deferred.get_lock():
                deferred.value += 1
            if deferred.value > 1000:
                raise RuntimeError("1,000 messages were deferred")
        if self.socket:
            self.close()


class SignedMail(Bench):
    """Sends one signed message again and again."""

    def __init__(self, options: argparse.Namespace, message: Path):
        super().__init__(options)
        self.message = message

    def send(self, system, recipient: str, messages: int) -> None:
        sessions = self.options.sessions
        text = self.message.read_bytes().replace(b"\n", b"\r\n")
        fork = multiprocessing.get_context("fork")
        barrier, deferred = fork.Barrier(sessions), fork.Value("i", 0)
        clients = []
        for number in range(sessions):
            client = Client(system.port, recipient, text, self.options.keep_sessions)
            share = messages // sessions + (number < messages % sessions)
            clients.append(fork.Process(target=client.run, args=(share, barrier, deferred)))
            clients[-1].start()
        for client in clients:
            client.join()
        if any(client.exitcode for client in clients):
            raise RuntimeError(f"{system.name} did not take all messages")
        if deferred.value:
            print(f"{system.name}: {deferred.value} messages deferred and sent again", flush=True)

    def times(self, system, messages: int) -> float:
        """Milliseconds from MAIL to the last reply, the median of messages over one connection."""
        text = self.message.read_bytes().replace(b"\n", b"\r\n")
        times = []
        with smtplib.SMTP("127.0.0.1", system.port, HELO, timeout=60) as client:
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


def enter_namespace() -> None:
    """Goes on in a network and a mount namespace of its own, where port 53 is free and the system's resolver is ours."""
    if os.environ.get("MARTLET_BENCH_NAMESPACE"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ["MARTLET_BENCH_NAMESPACE"] = "yes"
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for both systems use several users")
    enter_namespace()
    base = Path(tempfile.mkdtemp(prefix="mlt-bench-", dir=options.directory))
    base.chmod(0o755)
    message, record = signed_message(options.octets)
    path = base / "message"
    path.write_bytes(message)
    resolver = base / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", str(resolver), "/etc/resolv.conf"], check=True)
    names = Names(base / "names", record)
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
