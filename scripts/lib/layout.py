"""What an instance of Martlet consists of: services, system users, directories with their owners and modes."""

import grp
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Service:
    """One supervised process: its name, the program it runs and the system user that it becomes."""

    name: str
    program: str
    user: str


SERVICES = (
    Service("keyd", "keyd", "mlt-key"),
    Service("authd", "authd", "mlt-auth"),
    Service("resolverd", "resolverd", "mlt-dns"),
    Service("queue-manager", "queue-manager", "mlt-queue"),
    Service("local-deliver", "local-deliver", "mlt-mail"),
    Service("pipe-deliver", "pipe-deliver", "mlt-pipe"),
    Service("remote-relay", "remote-relay", "mlt-relay"),
    Service("reportd", "reportd", "mlt-report"),
    Service("smtpd", "smtpd", "mlt-smtp"),
    Service("pop3d-mailbox", "pop3d", "mlt-mail"),
    Service("pop3d", "pop3d", "mlt-pop3"),
    Service("imapd-mailbox", "imapd", "mlt-mail"),
    Service("imapd", "imapd", "mlt-imap"),
)
SERVICE_NAMES = tuple(service.name for service in SERVICES)
DAEMONS = tuple(dict.fromkeys(service.program for service in SERVICES))
COMMANDS = ("martlet", "sendmail")

LOG_USER = "mlt-log"
# Who reads private keys, beside root.
KEY_USER = "mlt-key"
# The group whose members may look at the queue.
READERS = "martlet"
USERS = tuple(dict.fromkeys(service.user for service in SERVICES)) + (LOG_USER,)


@dataclass(frozen=True)
class Directory:
    """A directory of an instance; under root it belongs to `owner` and the group of that name, or another `group`."""

    path: str
    owner: str
    mode: int
    group: str | None = None


DIRECTORIES = (
    Directory(".", "root", 0o755),
    Directory("etc", "root", 0o755),
    Directory("etc/tls", "root", 0o750, KEY_USER),
    Directory("etc/dkim", "root", 0o750, KEY_USER),
    Directory("etc/zones", "root", 0o755),
    Directory("auth", "mlt-auth", 0o700),
    Directory("dns", "mlt-dns", 0o700),
    Directory("dns/keys", "mlt-dns", 0o700),
    Directory("relay", "mlt-relay", 0o700),
    Directory("reports", "mlt-report", 0o700),
    Directory("run", "root", 0o755),
    Directory("run/status", "root", 0o755),
    Directory("spool", "mlt-queue", 0o700),
    Directory("spool/incoming", "mlt-queue", 0o700),
    Directory("spool/queue", "mlt-queue", 0o700),
    Directory("spool/state", "mlt-queue", 0o700),
    Directory("spool/hold", "mlt-queue", 0o700),
    Directory("spool/corrupt", "mlt-queue", 0o700),
    Directory("mail", "mlt-mail", 0o700),
    Directory("log", "root", 0o755),
) + tuple(Directory(f"log/{name}", LOG_USER, 0o750) for name in SERVICE_NAMES)


def is_root() -> bool:
    return os.geteuid() == 0


def make_system_users() -> list[str]:
    """Makes the system users and groups that are missing; returns their names. Needs root."""
    made = []
    for name in (*USERS, READERS):
        try:
            grp.getgrnam(name)
        except KeyError:
            subprocess.run(["groupadd", "--system", name], check=True)
    for name in USERS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            command = ["useradd", "--system", "--gid", name, "--no-create-home", "--home-dir", "/nonexistent"]
            subprocess.run(command + ["--shell", "/usr/sbin/nologin", "--comment", "Martlet", name], check=True)
            made.append(name)
    return made


def own(path: Path, owner: str, mode: int, group: str | None = None) -> None:
    """Gives a file or directory its mode and, under root, its owner."""
    if is_root():
        os.chown(path, pwd.getpwnam(owner).pw_uid, grp.getgrnam(group or owner).gr_gid)
    os.chmod(path, mode)


def own_keys(root: Path) -> None:
    """Gives the private key of an instance, where it lies in its usual place, to those who read it: root and keyd."""
    key = root / "etc" / "tls" / "private-key.pem"
    if key.is_file() and not key.is_symlink():
        own(key, "root", 0o640, KEY_USER)


def make_directories(root: Path) -> None:
    """Makes the directories of an instance, or gives those that exist their owners and modes again."""
    for directory in DIRECTORIES:
        path = root / directory.path
        path.mkdir(parents=True, exist_ok=True)
        own(path, directory.owner, directory.mode, directory.group)


def install_services(kind: str, target: Path, instance: Path, programs: Path) -> list[str]:
    """Copies `etc/KIND` (s6 or runit) to `target` with its paths filled in; returns the services that changed."""
    changed = []
    for name in SERVICE_NAMES:
        source = REPOSITORY / "etc" / kind / name
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            copy = target / name / file.relative_to(source)
            text = fill_in(file.read_text(), instance, programs)
            if copy.exists() and copy.read_text() == text:
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            fresh = copy.with_name(copy.name + ".new")
            fresh.write_text(text)
            fresh.chmod(file.stat().st_mode & 0o777)
            fresh.rename(copy)
            if name not in changed:
                changed.append(name)
    return changed


def fill_in(text: str, instance: Path, programs: Path, documents: Path = REPOSITORY / "docs") -> str:
    """Puts real paths where a template under `etc/` has @INSTANCE@, @LIBEXEC@ and @DOCS@."""
    for path in (instance, programs, documents):
        if not set(str(path)).isdisjoint('"\\$`\n%'):
            raise ValueError(f"{path}: a path with quotes, $, %, backslash or line end can't be used here")
    text = text.replace("@INSTANCE@", str(instance)).replace("@LIBEXEC@", str(programs))
    return text.replace("@DOCS@", str(documents))
