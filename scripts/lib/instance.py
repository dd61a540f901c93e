"""An instance of Martlet: a directory with a configuration, mailboxes and running services."""

import os
import secrets
import subprocess
import time
import tomllib
from pathlib import Path

import configuration
import layout
import supervision

PROGRAMS = layout.REPOSITORY / ".build" / "release"


class Instance:
    """Makes, starts and stops an instance below a directory, with the programs of a build."""

    def __init__(self, directory: Path, programs: Path = PROGRAMS, supervisor=None):
        self.directory = Path(directory).resolve()
        self.programs = Path(programs).absolute()
        kind = supervisor or supervision.available()
        self.supervisor = kind(self.directory, self.programs)
        self.passwords: dict[str, str] = {}

    # What it is made of

    @property
    def configuration_file(self) -> Path:
        return self.directory / "etc" / "martlet.toml"

    @property
    def certificate(self) -> Path:
        return self.directory / "etc" / "tls" / "certificate.pem"

    def read_configuration(self) -> dict:
        return tomllib.loads(self.configuration_file.read_text())

    @property
    def ports(self) -> dict[str, int]:
        """The ports that the configuration names, by protocol."""
        values = self.read_configuration()
        ports = {}
        for name, (section, key) in configuration.LISTENERS.items():
            listeners = values.get(section, {}).get(key, [])
            if listeners:
                ports[name] = int(listeners[0].rpartition(":")[2])
        return ports

    def make(self, values: dict) -> None:
        """Makes what is not there: system users, directories, configuration, certificate, zone, tables, services."""
        if layout.is_root():
            layout.make_system_users()
        self.directory.mkdir(parents=True, exist_ok=True)
        layout.make_directories(self.directory)
        if not self.configuration_file.exists():
            self.write(self.configuration_file, configuration.toml(values))
        values = self.read_configuration()
        if not self.certificate.exists():
            configuration.make_certificate(self.certificate.parent, values["hostname"])
            layout.own_keys(self.directory)
        for domain in values["domains"]:
            zone = self.directory / "etc" / "zones" / domain
            if not zone.exists():
                self.write(zone, configuration.zone(domain))
        for table in ("users", "aliases"):
            path = self.directory / "etc" / table
            path.touch()
            layout.own(path, "root", 0o640, "mlt-auth")
        self.supervisor.install()

    def write(self, path: Path, text: str, mode: int = 0o644) -> None:
        """Writes a file as a whole."""
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        # Never readable for more people than in the end, not for a moment.
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.chmod(mode)
        fresh.rename(path)

    def configure(self, changes: dict) -> None:
        """Changes the configuration; services read it when they start."""
        values = configuration.merge(self.read_configuration(), changes)
        self.write(self.configuration_file, configuration.toml(values))

    # Commands

    def martlet(self, *arguments: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess:
        """Runs `martlet` on this instance."""
        return self.command("martlet", "--instance", str(self.directory), *arguments, input=input, check=check)

    def command(
        self, program: str, *arguments: str, input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess:
        """Runs one of Martlet's programs; with `check`, a failure is an exception with what it said."""
        stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run([str(self.programs / program), *arguments], capture_output=True, text=True, **stdin)
        if check and done.returncode != 0:
            words = " ".join([program, *arguments])
            raise RuntimeError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def add_user(self, address: str, password: str | None = None, *options: str) -> str:
        """Makes a mailbox; returns its password."""
        password = password or secrets.token_hex(12)
        self.martlet("user", "add", address, *options, input=password + "\n")
        self.passwords[address] = password
        return password

    def add_alias(self, line: str) -> None:
        """Appends a line to etc/aliases."""
        path = self.directory / "etc" / "aliases"
        fresh = path.with_name("aliases.new")
        fresh.write_text(path.read_text() + line + "\n")
        layout.own(fresh, "root", 0o640, "mlt-auth")
        fresh.rename(path)

    # Running

    def start(self) -> None:
        """Starts the services, if they don't run, and waits until all are ready."""
        if not self.supervisor.is_running():
            self.supervisor.start()
        self.supervisor.wait_ready()

    def stop(self) -> None:
        self.supervisor.stop()

    def outdated(self) -> list[str]:
        """The running services whose program or configuration is newer than they are."""
        names = []
        boot = boot_time()
        for service in layout.SERVICES:
            pid = self.supervisor.pid(service.name)
            if pid is None:
                continue
            started = boot + int(supervision.stat_fields(pid)[19]) / os.sysconf("SC_CLK_TCK")
            read = (self.programs / service.program, self.configuration_file, self.certificate)
            if any(path.stat().st_mtime > started for path in read):
                names.append(service.name)
        return names


def boot_time() -> float:
    """When the machine was started, in seconds since 1970."""
    return time.time() - float(Path("/proc/uptime").read_text().split()[0])
