"""Milters for tests and for scripts/bench: a scripted one, one made with libmilter, OpenDKIM's, ClamAV's and rspamd's."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

# Bits of the protocol: everything that a milter may do, and nothing that it doesn't want.
ALL_ACTIONS = 0x1FF
SIGNATURE = b"MARTLET-TEST-VIRUS"


def text(*parts) -> bytes:
    return b"".join(part.encode() + b"\0" for part in parts)


def packet(code: str, payload: bytes = b"") -> bytes:
    return struct.pack(">I", 1 + len(payload)) + code.encode() + payload


def numbered(code: str, number: int, *parts) -> bytes:
    return packet(code, struct.pack(">I", number) + text(*parts))


class ScriptedMilter:
    """Does what the sender's local part says: `add+…`, `die-at-R+…` and so on; all else goes on."""

    def __init__(self, path: Path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        path.chmod(0o666)
        self.listener.listen(64)
        self.heard: list[tuple[str, bytes]] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.path.unlink(missing_ok=True)

    def serve(self, client: socket.socket) -> None:
        task = ""
        with client, client.makefile("rb") as stream:
            try:
                while head := stream.read(4):
                    (count,) = struct.unpack(">I", head)
                    octets = stream.read(count)
                    code, payload = octets[:1].decode(), octets[1:]
                    self.heard.append((code, payload))
                    if code == "M":
                        task = payload.split(b"\0")[0].decode().strip("<>").partition("+")[0]
                    if task.startswith("die-at-") and task[7:8] == code:
                        self.die(task[9:], client)
                        return
                    if answer := self.answer(code, task):
                        client.sendall(answer)
            except (ConnectionError, struct.error):
                return

    def answer(self, code: str, task: str) -> bytes:
        if code == "O":
            return packet("O", struct.pack(">III", 6, ALL_ACTIONS, 0))
        if code in "DAQK":
            return b""
        return (self.changes(task) if code == "E" else b"") + packet("c")

    def changes(self, task: str) -> bytes:
        match task:
            case "change":
                return b"".join((
                    packet("h", text("X-Added", "last\n\tfolded")),
                    numbered("i", 0, "X-Top", "first"),
                    numbered("m", 1, "X-Change", "changed"),
                    numbered("m", 2, "X-Change", ""),
                    packet("b", b"Another body,\r\n"),
                    packet("p"),
                    packet("b", b"in two pieces\r\n"),
                ))
            case "envelope":
                return b"".join((
                    packet("e", text("<changed@partner.test>")),
                    packet("+", text("<bob@example.test>")),
                    packet("-", text("<alice@example.test>")),
                ))
            case "quarantine":
                return packet("q", text("looks odd"))
            case "lone":
                return packet("-", text("<alice@example.test>"))
        return b""

    def die(self, manner: str, client: socket.socket) -> None:
        match manner:
            case "hang":
                time.sleep(4)
            case "garbage":
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                time.sleep(0.2)
            case "half":
                client.sendall(packet("c")[:3])


LIBMILTER = """
import sys
import Milter

class Filter(Milter.Base):
    @Milter.noreply
    def connect(self, name, family, address):
        self.name = name
        return Milter.CONTINUE
    def hello(self, name):
        self.helo = name
        return Milter.CONTINUE
    def envfrom(self, path, *parameters):
        self.octets = 0
        self.fields = []
        self.path = path
        self.recipients = []
        return Milter.CONTINUE
    def envrcpt(self, path, *parameters):
        if path.startswith('<refused'):
            self.setreply('550', '5.7.1', 'not', 'by libmilter 100%%')
            return Milter.REJECT
        self.recipients.append(path)
        return Milter.CONTINUE
    def header(self, name, value):
        self.fields.append(name)
        return Milter.CONTINUE
    def eoh(self):
        return Milter.CONTINUE
    def body(self, chunk):
        self.octets += len(chunk)
        return Milter.CONTINUE
    def eom(self):
        self.progress()
        said = [self.name, self.helo, self.path, ' '.join(self.recipients), ' '.join(self.fields), str(self.octets)]
        said += [str(self.getsymval(name)) for name in ('i', 'j', '{client_addr}', '{mail_addr}', '{daemon_name}')]
        self.addheader('X-Libmilter', '; '.join(said))
        if self.path.startswith('<libmilter'):
            self.chgheader('Subject', 1, 'changed by libmilter')
            self.addheader('X-Second', 'below Received', 1)
            self.addrcpt('<bob@example.test>', 'NOTIFY=NEVER')
            self.chgfrom('<other@partner.test>')
            self.replacebody(b'libmilter was here\\r\\n')
        return Milter.CONTINUE
    def abort(self):
        return Milter.CONTINUE
    def close(self):
        return Milter.CONTINUE

Milter.factory = Filter
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.ADDRCPT_PAR | Milter.DELRCPT
                 | Milter.CHGFROM | Milter.QUARANTINE)
Milter.runmilter('test', sys.argv[1], 60)
"""


class Program:
    """A milter that is a program of its own, with its files in a directory."""

    def __init__(self, directory: Path, port: int):
        self.directory = directory
        self.port = port
        directory.mkdir(parents=True)
        directory.chmod(0o777)
        self.log = directory / "output"
        self.processes: list[subprocess.Popen] = []

    def run(self, *command) -> None:
        output = open(self.log, "ab")
        options = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "start_new_session": True}
        self.processes.append(subprocess.Popen([str(word) for word in command], **options))
        output.close()

    def write(self, name: str, content: str) -> Path:
        path = self.directory / name
        path.write_text(content)
        path.chmod(0o644)
        return path

    def wait_until_ready(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > end or any(process.poll() is not None for process in self.processes):
                    raise RuntimeError(f"{type(self).__name__} does not start:\n{self.log.read_text()}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        for process in self.processes:
            # They keep nothing, and some take seconds to end in order.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Libmilter(Program):
    """python3-milter, which is libmilter."""

    def start(self) -> None:
        self.run("/usr/bin/python3", self.write("filter.py", LIBMILTER), f"inet:{self.port}@127.0.0.1")


class OpenDKIM(Program):
    """Signs what this host hands in for a domain, verifies the rest.

    - nameserver: its port on this machine. One that isn't 53 needs a file for libunbound, over which it breaks under load.
    - socket: of this machine, in place of the port.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        nameserver: int,
        domain: str = "",
        key: bytes | None = None,
        canonicalization: str = "simple/simple",
        socket: Path | None = None,
    ):
        super().__init__(directory, port)
        resolver = self.write(
            "unbound.conf",
            "server:\n  do-not-query-localhost: no\n  module-config: iterator\n  local-zone: \"test.\" nodefault\n"
            f'forward-zone:\n  name: "."\n  forward-addr: 127.0.0.1@{nameserver}\n',
        )
        settings = [
            f"Socket local:{socket}" if socket else f"Socket inet:{port}@127.0.0.1", "Syslog no", "Background no",
            "AuthservID opendkim.test", "AlwaysAddARHeader yes", "RequireSafeKeys no", "UserID opendkim", "UMask 007",
            f"TemporaryDirectory {directory}",
        ]
        settings.append("Nameservers 127.0.0.1" if nameserver == 53 else f"ResolverConfiguration {resolver}")
        if key:
            private = directory / "private.pem"
            private.write_bytes(key)
            private.chmod(0o600)
            shutil.chown(private, "opendkim")
            settings += ["Mode sv", f"Domain {domain}", "Selector test", f"KeyFile {private}", f"Canonicalization {canonicalization}",
                         "InternalHosts 127.0.0.1"]
        else:
            settings += ["Mode v"]
        self.settings = self.write("opendkim.conf", "\n".join(settings) + "\n")

    def start(self) -> None:
        self.run("opendkim", "-f", "-x", self.settings)


class ClamAV(Program):
    """clamd with one signature, and clamav-milter, which refuses what has it."""

    def __init__(self, directory: Path, port: int):
        super().__init__(directory, port)
        (directory / "db").mkdir()
        self.write("db/test.ndb", f"Martlet.Test:0:*:{SIGNATURE.hex()}\n")
        # The path of its socket must be short.
        self.sockets = Path(tempfile.mkdtemp(prefix="clam-"))
        self.sockets.chmod(0o777)
        common = f"Foreground yes\nTemporaryDirectory {directory}\n"
        self.daemon = self.write(
            "clamd.conf", common + f"LocalSocket {self.sockets}/clamd\nDatabaseDirectory {directory}/db\nSelfCheck 0\n"
        )
        self.milter = self.write(
            "milter.conf",
            common + f"MilterSocket inet:{port}@127.0.0.1\nClamdSocket unix:{self.sockets}/clamd\n"
            "OnInfected Reject\nRejectMsg infected with %v\nAddHeader Replace\n",
        )

    def start(self) -> None:
        self.run("clamd", "-c", self.daemon)
        end = time.monotonic() + 60
        while not (self.sockets / "clamd").exists() and time.monotonic() < end:
            time.sleep(0.05)
        self.run("clamav-milter", "-c", self.milter)

    def stop(self) -> None:
        super().stop()
        for path in self.sockets.iterdir():
            path.unlink()
        self.sockets.rmdir()


class Rspamd(Program):
    """rspamd's proxy, which scans by itself, without its databases.

    - rules: whether it has its usual rules, which it takes seconds to read; without, it knows what GTUBE is.
    """

    def __init__(self, directory: Path, port: int, nameserver: int, rules: bool = False, workers: int = 1):
        super().__init__(directory, port)
        # The list of all domains that names are registered below takes many seconds to read.
        domains = "/usr/share/rspamd/effective_tld_names.dat" if rules else self.write("domains", "test\n")
        self.settings = self.write(
            "rspamd.conf",
            f"""
{'.include "/etc/rspamd/common.conf"' if rules else "actions { reject = 15; rewrite_subject = 8; add_header = 6; }"}
options {{
  pidfile = "{directory}/pid";
  filters = "{"chartable,dkim,regexp" if rules else ""}";
  dns {{ nameserver = ["127.0.0.1:{nameserver}"]; timeout = 1s; }}
  hs_cache_dir = "{directory}";
  url_tld = "{domains}";
}}
logging {{ type = "console"; level = "error"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}";
  milter = yes;
  timeout = 60s;
  count = {workers};
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
milter_headers {{ use = ["x-spamd-bar"]; skip_local = false; }}
# Lists in the DNS, and what needs Redis, are not there.
rbl {{ enabled = false; }}
surbl {{ enabled = false; }}
fuzzy_check {{ enabled = false; }}
""",
        )

    def start(self) -> None:
        places = [f"--var={name}={self.directory}" for name in ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR")]
        self.run("rspamd", "-c", self.settings, "-f", "-u", "_rspamd", "-g", "_rspamd", *places)


class RspamdScanner(Program):
    """rspamd that says over HTTP what it thinks of DKIM, and nothing else."""

    def __init__(self, directory: Path, port: int, nameserver: int):
        super().__init__(directory, port)
        self.settings = self.write(
            "rspamd.conf",
            f"""
options {{
  pidfile = "{directory}/pid";
  filters = "dkim";
  dns {{ nameserver = ["127.0.0.1:{nameserver}"]; timeout = 5s; }}
  hs_cache_dir = "{directory}";
  url_tld = "{self.write("domains", "test")}";
  local_addrs = [];
}}
actions {{ reject = 15; }}
logging {{ type = "console"; level = "error"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
dkim {{ check_local = true; check_authed = true; }}
""",
        )

    def start(self) -> None:
        places = [f"--var={name}={self.directory}" for name in ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR")]
        self.run("rspamd", "-c", self.settings, "-f", "-u", "_rspamd", "-g", "_rspamd", *places)

    def symbols(self, message: bytes) -> dict:
        """What it finds in a message."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/checkv2", data=message, headers={"IP": "192.0.2.1"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["symbols"]
