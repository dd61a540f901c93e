"""Measures reading mail, Martlet beside Dovecot: the same driver, the same messages, each with its own copy of them."""

import argparse
import contextlib
import email.utils
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "lib"))

import configuration  # noqa: E402
import layout  # noqa: E402
from dovecot import Dovecot  # noqa: E402
from imap_client import Client  # noqa: E402
from instance import Instance  # noqa: E402

BOB = "bob@example.test"
WORDS = "account answer budget change contract customer delivery garden invoice letter machine meeting morning network number office order paper people plan price project question report result school service street system table team ticket travel water window winter".split()
# Stands in one message of a hundred, in the text alone.
RARE = "zephyrine"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench imap")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=20, help="that work at the same time")
    parser.add_argument("--idle", type=int, default=200, help="sessions whose memory is measured")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    return parser.parse_args()


# What is measured


def message(number: int) -> bytes:
    """One of a mailbox's messages: two of three are plain text, the others have an HTML part and a file."""
    chance = random.Random(number)
    words = lambda count: " ".join(chance.choice(WORDS) for _ in range(count))  # noqa: E731
    sender = f"{chance.choice(WORDS)}.{chance.choice(WORDS)}"
    head = [
        f"Return-Path: <{sender}@example.net>",
        "Received: from mail.example.net (mail.example.net [192.0.2.1]) by mail.example.test with ESMTPS;",
        f"\t{email.utils.formatdate(1_700_000_000 + number * 600)}",
        f"Message-ID: <{number}.{chance.randrange(1 << 32)}@example.net>",
        f"Date: {email.utils.formatdate(1_700_000_000 + number * 600)}",
        f'From: "{sender.replace(".", " ").title()}" <{sender}@example.net>',
        f"To: Bob <{BOB}>",
        f"Subject: {words(5)} {number}",
        "MIME-Version: 1.0",
    ]
    if number % 4 and number > 10:
        head.append(f"References: <{number - chance.randrange(1, 10)}.x@example.net>")
    text = "\n".join(words(10) for _ in range(chance.randrange(5, 60)))
    if number % 100 == 7:
        text += f"\n{RARE}\n"
    if number % 3:
        body = ["Content-Type: text/plain; charset=utf-8", "", text, ""]
    else:
        data = "\n".join("QUJD" * 18 for _ in range(chance.randrange(10, 100)))
        body = [
            'Content-Type: multipart/mixed; boundary="limit"', "", "--limit", "Content-Type: text/plain", "", text,
            "--limit", "Content-Type: text/html", "", f"<p>{words(30)}</p>", "--limit",
            f'Content-Type: application/pdf; name="{words(1)}.pdf"', "Content-Transfer-Encoding: base64", "", data, "--limit--", "",
        ]  # fmt: skip
    return "\n".join(head + body).encode()


def fill(maildir: Path, messages: int, user: str) -> None:
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    for number in range(messages):
        octets = message(number)
        with_crlf = len(octets) + octets.count(b"\n")
        name = f"{1_700_000_000 + number}.M{number}P1.host,S={len(octets)},W={with_crlf}:2,{'S' if number % 2 else ''}"
        path = maildir / "cur" / name
        path.write_bytes(octets)
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    for path in (maildir.parent, maildir, *maildir.rglob("*")):
        shutil.chown(path, user, user)


class Martlet:
    name = "Martlet"

    def __init__(self, directory: Path):
        self.instance = Instance(directory)
        unlimited = {"maximum-connections": 20_000, "maximum-connections-per-client": 20_000}
        values = configuration.merge(configuration.configuration(configuration.free_ports()), {"imapd": unlimited})
        self.instance.make(values)
        self.password = self.instance.add_user(BOB)
        self.ports = self.instance.ports
        self.maildir = directory / "mail" / "example.test" / "bob"

    def start(self) -> None:
        self.instance.start()

    def stop(self) -> None:
        self.instance.stop()

    def forget(self) -> None:
        """What was built of the messages before is gone, on disk and in memory."""
        self.instance.stop()
        for path in [*self.maildir.glob("martlet-index*"), *self.maildir.glob("*.sqlite*")]:
            path.unlink()
        self.instance.start()

    def settle(self, messages: int) -> None:
        """Waits until the texts of so many messages are in the index."""
        end = time.monotonic() + 600
        while time.monotonic() < end:
            with contextlib.suppress(sqlite3.Error), contextlib.closing(
                sqlite3.connect(f"file:{self.maildir}/martlet-index?mode=ro", uri=True)
            ) as index:
                if index.execute("SELECT count(*) FROM texts").fetchone()[0] >= messages:
                    return
            time.sleep(0.5)
        raise TimeoutError("the index isn't filled")

    def processes(self) -> list[int]:
        return [pid for name in layout.SERVICE_NAMES if "imapd" in name and (pid := self.instance.supervisor.pid(name))]


class Peer(Dovecot):
    def __init__(self, directory: Path, certificate: Path, users: str, password: str):
        ports = list(configuration.free_ports().values())
        super().__init__(directory, ports[0], ports[1], certificate, users)
        self.password = password
        self.maildir = self.mail / "example.test" / "bob"

    def settle(self, messages: int) -> None:
        """Dovecot has no full-text index without a plugin."""

    def forget(self) -> None:
        self.stop()
        for path in self.maildir.rglob("dovecot.index*"):
            path.unlink()
        self.start()


# How it is measured


class Bench:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.times: dict[str, dict[str, list[float]]] = {}

    def log_in(self, system) -> Client:
        return Client(system.ports["imaps"]).log_in(BOB, system.password)

    def time(self, system, name: str, run) -> None:
        start = time.monotonic()
        run()
        milliseconds = (time.monotonic() - start) * 1000
        self.times.setdefault(name, {}).setdefault(system.name, []).append(milliseconds)

    def round(self, system) -> None:
        system.forget()
        count = self.options.messages
        client = self.log_in(system)
        one = lambda name, command: self.time(system, name, lambda: client.run(command))  # noqa: E731
        one("SELECT, index gone", "SELECT INBOX")
        one("SELECT, warm", "SELECT INBOX")
        one("FETCH FLAGS", "FETCH 1:* FLAGS")
        one("sizes", "FETCH 1:* RFC822.SIZE")
        one("dates", "FETCH 1:* INTERNALDATE")
        one("ENVELOPE, first", "FETCH 1:* ENVELOPE")
        one("ENVELOPE, again", "FETCH 1:* ENVELOPE")
        one("BODYSTRUCTURE, first", "FETCH 1:* BODYSTRUCTURE")
        one("BODYSTRUCTURE, again", "FETCH 1:* BODYSTRUCTURE")
        fields = "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT FROM DATE)]"
        one("three fields, first", fields)
        one("three fields, again", fields)
        one("2,000 bodies", f"FETCH 1:{min(2000, count)} BODY.PEEK[]")
        one("SEARCH SUBJECT, first", "SEARCH SUBJECT invoice")
        one("SEARCH SUBJECT, again", "SEARCH SUBJECT invoice")
        one("SEARCH FLAGS", "SEARCH UNSEEN")
        one("SEARCH TEXT, first", f"SEARCH TEXT {RARE}")
        one("SEARCH TEXT, again", f"SEARCH TEXT {RARE}")
        system.settle(count)
        one("SEARCH TEXT, settled", f"SEARCH TEXT {RARE}")
        one("SEARCH SUBJECT, settled", "SEARCH SUBJECT invoice")
        if b"SORT" in client.run("CAPABILITY"):
            one("SORT by date", "SORT (DATE) UTF-8 ALL")
            one("THREAD", "THREAD REFERENCES UTF-8 ALL")
        one("STORE", "STORE 1:* +FLAGS.SILENT (\\Flagged)")
        one("STORE back", "STORE 1:* -FLAGS.SILENT (\\Flagged)")
        self.time(system, "APPEND, one", lambda: client.append("INBOX", message(1).replace(b"\n", b"\r\n")))
        client.run("CREATE Other")
        one("COPY 1,000", "COPY 1:1000 Other")
        client.run("SELECT Other")
        client.run("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        one("EXPUNGE 1,000", "EXPUNGE")
        client.run("SELECT INBOX")
        client.run("COPY 1:500 Other")
        client.run("SELECT Other")
        one("MOVE 500", "MOVE 1:500 INBOX")
        client.run("SELECT INBOX")
        client.run(f"STORE {count + 1}:* +FLAGS.SILENT (\\Deleted)")
        client.run("EXPUNGE")
        client.run("DELETE Other")
        self.notice(system, client)
        client.close()
        self.time(system, "login", lambda: self.log_in(system).close())
        self.busy(system)

    def notice(self, system, client: Client) -> None:
        """How long after an APPEND by another session one in IDLE hears of it."""
        other = self.log_in(system)
        other.run("SELECT INBOX")
        client.run("SELECT INBOX")
        tag = client.send("IDLE")
        client.socket.recv(4096)
        start = time.monotonic()
        other.append("INBOX", b"Subject: x\r\n\r\nx\r\n")
        heard = b""
        while b"EXISTS" not in heard:
            heard += client.socket.recv(4096)
        milliseconds = (time.monotonic() - start) * 1000
        self.times.setdefault("notice in IDLE", {}).setdefault(system.name, []).append(milliseconds)
        client.socket.sendall(b"DONE\r\n")
        client.finish(tag)
        other.run("SELECT INBOX")
        other.run("STORE * +FLAGS.SILENT (\\Deleted)")
        other.run("EXPUNGE")
        other.close()

    def busy(self, system) -> None:
        """Several sessions at once, each as a client does when somebody reads mail."""
        last = self.options.messages

        def work(seed: int) -> None:
            chance = random.Random(seed)
            client = self.log_in(system)
            client.run("SELECT INBOX")
            for _ in range(50):
                first = chance.randrange(1, max(2, last - 50))
                client.run(f"FETCH {first}:{first + 49} (FLAGS UID ENVELOPE)")
                client.run(f"FETCH {first} BODY.PEEK[]")
                client.run(f"STORE {first} +FLAGS (\\Seen)")
                client.run("NOOP")
            client.close()

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(self.options.clients)]

        def all_of_them() -> None:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        self.time(system, f"{self.options.clients} busy clients", all_of_them)

    def memory(self, system) -> float:
        """KiB that a session in IDLE takes, private memory of the processes behind it."""
        before = private_memory(system.processes())
        clients = []
        for _ in range(self.options.idle):
            client = self.log_in(system)
            client.run("SELECT INBOX")
            client.send("IDLE")
            client.socket.recv(4096)
            clients.append(client)
        time.sleep(1)
        taken = private_memory(system.processes()) - before
        for client in clients:
            client.close()
        return taken / self.options.idle


def private_memory(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Dirty", "Private_Clean")):
                total += int(line.split()[1])
    return total


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for both systems use several users")
    base = Path(tempfile.mkdtemp(prefix="mlt-bench-", dir=options.directory))
    base.chmod(0o755)
    martlet = Martlet(base / "martlet")
    line = next(l for l in (martlet.instance.directory / "etc" / "users").read_text().splitlines() if l.startswith(BOB))
    users = ":".join(line.split(":")[:2]) + "\n"
    systems = [martlet, Peer(base / "dovecot", martlet.instance.certificate, users, martlet.password)]
    print(f"{options.messages} messages; {os.cpu_count()} cores", flush=True)
    bench = Bench(options)
    memory = {}
    try:
        fill(systems[0].maildir, options.messages, "mlt-mail")
        fill(systems[1].maildir, options.messages, "mail")
        for system in systems:
            system.start()
            bench.log_in(system).run("SELECT INBOX")
        for number in range(options.rounds):
            for system in systems:
                bench.round(system)
                print(f"round {number + 1}, {system.name}: done", flush=True)
        for system in systems:
            memory[system.name] = bench.memory(system)
    finally:
        for system in systems:
            system.stop()
        shutil.rmtree(base)
    print(f"\n{'ms, median':24} {'Martlet':>10} {'Dovecot':>10} {'times faster':>13}")
    for name, of in bench.times.items():
        if len(of) < 2:
            print(f"{name:24} {' '.join(f'{system}: {statistics.median(times):.1f}' for system, times in of.items())}")
            continue
        ours, theirs = (statistics.median(of[system.name]) for system in systems)
        print(f"{name:24} {ours:10.1f} {theirs:10.1f} {theirs / ours:13.2f}")
    ours, theirs = memory["Martlet"], memory["Dovecot"]
    print(f"{'KiB a session':24} {ours:10.0f} {theirs:10.0f} {theirs / max(ours, 1):13.2f}")


if __name__ == "__main__":
    main()
