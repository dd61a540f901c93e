"""Runs the services of an instance under s6 or runit."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from layout import SERVICE_NAMES, install_services


class NotReady(Exception):
    """A service did not come up, or did not go down, in time."""


class Supervisor:
    """What s6 and runit have in common: a directory of services and one process that runs them all."""

    kind = ""

    def __init__(self, instance: Path, programs: Path):
        self.instance = instance
        self.programs = programs
        self.directory = instance / "service"
        self.pid_file = instance / "supervisor.pid"

    def install(self) -> list[str]:
        """Copies the service directories into the instance; returns the names of those that changed."""
        return install_services(self.kind, self.directory, self.instance, self.programs)

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Starts the supervisor in a session of its own, with nothing of ours but a log file."""
        with open(self.instance / "log" / "supervisor", "ab") as log:
            process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        self.pid_file.write_text(f"{process.pid}\n")

    def supervisor_pid(self) -> int | None:
        """The process id of the supervisor, if it runs."""
        try:
            pid = int(self.pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.directory) in arguments and not is_zombie(pid) else None

    def is_running(self) -> bool:
        return self.supervisor_pid() is not None

    def pid(self, name: str) -> int | None:
        """The process id of a service, if it runs."""
        raise NotImplementedError

    def kill(self, name: str, number: int = signal.SIGKILL) -> bool:
        """Sends a signal to a service; false if it was not running."""
        pid = self.pid(name)
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def log_text(self, name: str) -> str:
        """What a service has logged (as far as its log was not rotated)."""
        try:
            return (self.instance / "log" / name / "current").read_text(errors="replace")
        except OSError:
            return ""

    def wait_gone(self, pids: list[int], seconds: float) -> None:
        """Waits until processes have ended; those that are left then are killed."""
        end = time.monotonic() + seconds
        while True:
            reap(pids)
            pids = [pid for pid in pids if is_alive(pid)]
            if not pids:
                return
            if time.monotonic() > end:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                end = time.monotonic() + 5
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends all services, their loggers and the supervisor."""
        supervisor = self.supervisor_pid()
        if supervisor is None:
            return
        pids = [pid for name in SERVICE_NAMES if (pid := self.pid(name))]
        family = descendants(supervisor)
        self.end(supervisor)
        self.wait_gone([supervisor], 40)
        self.wait_gone([*family, *pids], 40)
        self.pid_file.unlink(missing_ok=True)

    def end(self, supervisor: int) -> None:
        raise NotImplementedError


class S6(Supervisor):
    """Services under s6-svscan."""

    kind = "s6"

    def command(self) -> list[str]:
        return ["s6-svscan", str(self.directory)]

    def service(self, name: str) -> str:
        return str(self.directory / name)

    def pid(self, name: str) -> int | None:
        answer = subprocess.run(["s6-svstat", "-o", "pid", self.service(name)], capture_output=True, text=True)
        if answer.returncode != 0 or not answer.stdout.strip().lstrip("-").isdigit():
            return None
        pid = int(answer.stdout)
        return pid if pid > 0 else None

    def wait_supervised(self, seconds: float) -> None:
        """Waits until s6 has taken charge of every service."""
        end = time.monotonic() + seconds
        for name in SERVICE_NAMES:
            while subprocess.run(["s6-svok", self.service(name)]).returncode != 0:
                if time.monotonic() > end:
                    raise NotReady(f"s6 does not run {name}")
                time.sleep(0.02)

    def wait_ready(self, names=SERVICE_NAMES, seconds: float = 30) -> None:
        """Waits until services say that they serve."""
        self.wait_supervised(seconds)
        end = time.monotonic() + seconds
        for name in names:
            # Right after its start a supervisor may have no status to read yet; then s6-svwait fails at once.
            while not self.is_ready(name, max(0.01, min(end - time.monotonic(), 5))):
                if time.monotonic() > end:
                    raise NotReady(f"{name} is not ready after {seconds:.0f} s:\n{self.log_text(name)[-2000:]}")
                time.sleep(0.02)

    def is_ready(self, name: str, seconds: float) -> bool:
        """Whether a service says within so many seconds that it serves."""
        wait = ["s6-svwait", "-U", "-t", str(int(seconds * 1000)), self.service(name)]
        return subprocess.run(wait, capture_output=True).returncode == 0

    def down(self, name: str) -> None:
        """Ends a service and keeps it down."""
        self.control(name, "-d", "-wd")

    def up(self, name: str) -> None:
        """Starts a service and waits until it is ready."""
        self.control(name, "-u")
        self.wait_ready([name])

    def restart(self, name: str) -> None:
        self.control(name, "-r", "-wr")
        self.wait_ready([name])

    def control(self, name: str, *options: str) -> None:
        done = subprocess.run(["s6-svc", "-T", "30000", *options, self.service(name)], capture_output=True, text=True)
        if done.returncode != 0:
            raise NotReady(f"s6-svc {' '.join(options)} {name}: {done.stderr}")

    def end(self, supervisor: int) -> None:
        subprocess.run(["s6-svscanctl", "-t", str(self.directory)], check=True)


class Runit(Supervisor):
    """Services under runsvdir."""

    kind = "runit"

    def command(self) -> list[str]:
        return ["runsvdir", str(self.directory)]

    def pid(self, name: str) -> int | None:
        try:
            pid = int((self.directory / name / "supervise" / "pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if is_alive(pid) else None

    def wait_ready(self, names=SERVICE_NAMES, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        for name in names:
            while self.sv("check", name).returncode != 0 or self.pid(name) is None:
                if time.monotonic() > end:
                    raise NotReady(f"{name} is not ready after {seconds:.0f} s:\n{self.log_text(name)[-2000:]}")
                time.sleep(0.05)

    def down(self, name: str) -> None:
        if self.sv("-w", "30", "down", name).returncode != 0:
            raise NotReady(f"sv down {name}")

    def up(self, name: str) -> None:
        self.sv("up", name)
        self.wait_ready([name])

    def restart(self, name: str) -> None:
        self.sv("-w", "30", "restart", name)
        self.wait_ready([name])

    def sv(self, *arguments: str) -> subprocess.CompletedProcess:
        command = ["sv", *arguments[:-1], str(self.directory / arguments[-1])]
        if arguments[0] == "check":
            command[1:1] = ["-w", "1"]
        return subprocess.run(command, capture_output=True)

    def end(self, supervisor: int) -> None:
        os.kill(supervisor, signal.SIGHUP)


def available() -> type[Supervisor]:
    """The supervisor that this machine has, s6 first."""
    for supervisor, program in ((S6, "s6-svscan"), (Runit, "runsvdir")):
        if shutil.which(program):
            return supervisor
    raise NotReady("neither s6 nor runit is installed; scripts/setup installs s6")


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def is_zombie(pid: int) -> bool:
    try:
        return stat_fields(pid)[0] == "Z"
    except (OSError, IndexError):
        return False


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and not is_zombie(pid)


def reap(pids: list[int]) -> None:
    """Takes note of children of ours that ended."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def descendants(ancestor: int) -> list[int]:
    """The processes below a process."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(stat_fields(int(entry))[1])
            except (OSError, IndexError):
                continue
    family = {ancestor}
    while found := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= found
    return sorted(family - {ancestor})
