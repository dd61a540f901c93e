"""Resolvers that are tested on the pretended internet: Martlet's, and unbound for comparison."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import configuration
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import layout
from instance import PROGRAMS

from .namespace import Namespace
from .processes import end

PATIENCE = 20
UNBOUND = "127.0.0.2"
MARTLET = "127.0.0.1"


class Resolver:
    """A resolver at port 53 of a loopback address in the namespace."""

    name = ""

    def __init__(self, namespace: Namespace, directory: Path, address: str):
        self.namespace, self.directory, self.address = namespace, directory, address
        self.log_file = directory / "log"
        # What it finds in its environment beside what is there.
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen | None = None

    def launch(self) -> subprocess.Popen:
        raise NotImplementedError

    def start(self) -> None:
        with self.namespace.inside():
            self.process = self.launch()
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
                self.ask("localhost", "A", timeout=1)
                return
            if time.monotonic() > end or self.process.poll() is not None:
                raise TimeoutError(f"{self.name} does not answer\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        end(self.process)

    def kill(self) -> None:
        """Ends it in the middle of whatever it does."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Starts it anew, with nothing in its cache."""
        self.stop()
        self.start()

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def ask(self, name, kind="A", *, tcp=False, timeout=PATIENCE, cd=False, do=True, ad=True, edns=True):
        """The answer to a question."""
        query = dns.message.make_query(name, kind)
        if edns:
            query.use_edns(0, dns.flags.DO if do else 0, 1232)
        query.flags |= (dns.flags.CD if cd else 0) | (dns.flags.AD if ad else 0)
        with self.namespace.inside():
            if tcp:
                return dns.query.tcp(query, self.address, timeout)
            answer, _ = dns.query.udp_with_fallback(query, self.address, timeout)
            return answer

    def rcode(self, name, kind="A", **options) -> str:
        return dns.rcode.to_text(self.ask(name, kind, **options).rcode())

    def run(self, *command: str, seconds: int = 30, input: str = "") -> str:
        """What a program prints that runs in the namespace."""
        return self.done(*command, seconds=seconds, input=input).stdout

    def done(self, *command: str, seconds: int = 30, input: str = "") -> subprocess.CompletedProcess:
        """A program that ran in the namespace, what it said of errors among what it printed."""
        with self.namespace.inside():
            return subprocess.run(
                command, input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds
            )

    def resident(self) -> int:
        """Its resident memory in octets."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError


class Unbound(Resolver):
    name = "unbound"

    def __init__(self, namespace, directory, hints: Path, anchors: Path, address=UNBOUND, forward="", lines=(), threads=1):
        super().__init__(namespace, directory, address)
        directory.mkdir(parents=True)
        text = ["server:", f"  interface: {address}", "  port: 53", "  access-control: 127.0.0.0/8 allow"]
        text += ['  username: ""', '  chroot: ""', f'  directory: "{directory}"', f'  pidfile: "{directory}/pid"']
        text += ["  use-syslog: no", "  log-time-ascii: yes", "  verbosity: 1", "  val-log-level: 2"]
        text += [f"  num-threads: {threads}", "  do-not-query-localhost: no", "  so-rcvbuf: 0", "  ede: yes"]
        text += ["  qname-minimisation: yes", "  aggressive-nsec: no", f'  root-hints: "{hints}"', "  edns-buffer-size: 1232"]
        text += [f'  trust-anchor-file: "{anchors}"', '  module-config: "validator iterator"']
        text += [f"  {line}" for line in lines] + ["remote-control:", "  control-enable: no"]
        if forward:
            text += ["forward-zone:", '  name: "."', f"  forward-addr: {forward}"]
        (directory / "conf").write_text("\n".join(text) + "\n")

    def launch(self) -> subprocess.Popen:
        with open(self.log_file, "ab") as log:
            command = ["unbound", "-d", "-c", str(self.directory / "conf")]
            environment = os.environ | self.environment
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


class Martlet(Resolver):
    """resolverd alone, in an instance of its own."""

    name = "martlet"

    def __init__(self, namespace, directory, hints: Path, anchors: Path, address=MARTLET, changes=None, programs=PROGRAMS):
        super().__init__(namespace, directory, address)
        self.programs = programs
        if layout.is_root():
            layout.make_system_users()
        layout.make_directories(directory)
        self.log_file = directory / "resolverd.log"
        shutil.copy(hints, directory / "etc" / "root.hints")
        shutil.copy(anchors, directory / "etc" / "root.anchors")
        ports = dict.fromkeys(configuration.LISTENERS, 0)
        values = configuration.configuration(ports)
        values["resolverd"] = {
            "listen": [f"{address}:53"],
            "mode": "recursive",
            "root-hints": "etc/root.hints",
            "trust-anchors": "etc/root.anchors",
            "threads": 1,
        }
        values = {"hostname": values["hostname"], "domains": values["domains"], "resolverd": values["resolverd"]}
        values = configuration.merge(values, {"resolverd": changes or {}})
        (directory / "etc" / "martlet.toml").write_text(configuration.toml(values))

    def launch(self) -> subprocess.Popen:
        reader, writer = os.pipe()
        try:
            with open(self.log_file, "ab") as log:
                command = [str(self.programs / "resolverd"), "--instance", str(self.directory), "--ready-fd", str(writer)]
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writer,),
                    cwd=self.directory,
                    env=os.environ | self.environment,
                )
            os.close(writer)
            writer = -1
            # Its end of the pipe is written to when it serves, and closed when it ends.
            os.read(reader, 1)
            return process
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)

    def socket(self) -> socket.socket:
        """A connection to run/dns.sock."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(str(self.directory / "run" / "dns.sock"))
        return connection
