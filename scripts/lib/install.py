"""Puts the built programs, their configuration and their service trees where they belong."""

import argparse
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import configuration
import layout
from instance import PROGRAMS
from system_resolver import Refusal, SystemResolver

LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
DOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")

# Where shells look for completions, below share/.
COMPLETIONS = {
    "bash": "bash-completion/completions/martlet",
    "zsh": "zsh/site-functions/_martlet",
    "fish": "fish/vendor_completions.d/martlet.fish",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/install")
    parser.add_argument("--prefix", type=Path, help="where programs go, such as /usr/local")
    parser.add_argument("--instance", type=Path, default=Path("/var/lib/martlet"), help="configuration, spool and mail")
    parser.add_argument("--destdir", type=Path, help="put everything below this directory, for packaging")
    parser.add_argument("--hostname", default=socket.getfqdn(), help="this mail server's name")
    parser.add_argument("--domain", help="the domain whose mail is here (else the hostname's)")
    parser.add_argument("--postmaster", help="who reads mail for postmaster and root (else a mailbox of their own)")
    parser.add_argument(
        "--resolver",
        nargs="?",
        const="ask",
        choices=("ask", "take-over"),
        help="make resolverd the resolver of this machine; take-over: also where something else manages resolv.conf",
    )
    parser.add_argument("--no-resolver", action="store_true", help="put resolv.conf back as it was, and install nothing")
    options = parser.parse_args()
    if options.no_resolver:
        if options.resolver or options.prefix:
            parser.error("--no-resolver installs nothing: it goes with --destdir only")
        return options
    if not options.prefix:
        parser.error("--prefix is needed")
    for path in (options.prefix, options.instance):
        if not path.is_absolute():
            parser.error(f"{path} is not an absolute path")
    options.domain = options.domain or options.hostname.partition(".")[2] or options.hostname
    for name in (options.hostname, options.domain):
        if not DOMAIN.fullmatch(name):
            parser.error(f"{name} is not a domain name")
    if options.postmaster and not re.fullmatch(r"[^\s@,:\"|/]+@" + DOMAIN.pattern, options.postmaster):
        parser.error(f"{options.postmaster} is not an address")
    return options


class Installation:
    """Where things go, as the installed system sees it and as it is written now."""

    def __init__(self, options: argparse.Namespace):
        self.prefix = options.prefix
        self.instance = options.instance
        self.destination = options.destdir
        self.hostname = options.hostname
        self.domain = options.domain
        self.postmaster = options.postmaster
        self.programs = self.prefix / "libexec" / "martlet"
        self.documents = self.prefix / "share" / "doc" / "martlet"

    def staged(self, path: Path) -> Path:
        """Where a path of the installed system lies while it is written."""
        return self.destination / path.relative_to("/") if self.destination else path

    def put(self, source: Path, target: Path, mode: int) -> None:
        """Copies a file so that a running program keeps the one that it has."""
        target = self.staged(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".new")
        shutil.copyfile(source, fresh)
        fresh.chmod(mode)
        fresh.rename(target)

    def put_program(self, source: Path, target: Path) -> None:
        """Installs a program without its symbols, which take half of it; debuggers find them below lib/debug."""
        symbols = self.prefix / "lib" / "debug" / target.relative_to(self.prefix).with_name(target.name + ".debug")
        with tempfile.TemporaryDirectory() as directory:
            apart = Path(directory) / symbols.name
            stripped = Path(directory) / target.name
            subprocess.run(["objcopy", "--only-keep-debug", source, apart], check=True)
            subprocess.run(["objcopy", "--strip-all", f"--add-gnu-debuglink={apart}", source, stripped], check=True)
            self.put(apart, symbols, 0o644)
            self.put(stripped, target, 0o755)

    def put_completion(self, shell: str, target: Path) -> None:
        """Installs what a shell completes martlet's commands by."""
        command = [PROGRAMS / "martlet", "--generate-completion-script", shell]
        with tempfile.NamedTemporaryFile("w") as script:
            script.write(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            script.flush()
            self.put(Path(script.name), target, 0o644)

    def link(self, target: str, path: Path) -> None:
        path = self.staged(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def install_programs(self) -> None:
        for name in layout.DAEMONS:
            self.put_program(PROGRAMS / name, self.programs / name)
        self.put_program(PROGRAMS / "martlet", self.prefix / "bin" / "martlet")
        self.put_program(PROGRAMS / "sendmail", self.prefix / "sbin" / "sendmail")
        for name in ("mailq", "newaliases"):
            self.link("../sbin/sendmail", self.prefix / "bin" / name)
        for shell, path in COMPLETIONS.items():
            self.put_completion(shell, self.prefix / "share" / path)
        for page in sorted((layout.REPOSITORY / "docs").glob("*.md")):
            self.put(page, self.documents / page.name, 0o644)
        for hook in sorted((layout.REPOSITORY / "etc" / "acme").iterdir()):
            self.put(hook, self.documents / "acme" / hook.name, 0o755)

    def install_instance(self) -> None:
        root = self.staged(self.instance)
        root.mkdir(parents=True, exist_ok=True)
        layout.make_directories(root)
        self.write_once(root / "etc" / "martlet.toml", self.configuration())
        tables = self.tables()
        for table in ("users", "aliases"):
            path = root / "etc" / table
            if not path.exists():
                path.write_text(tables[table])
            layout.own(path, "root", 0o640, "mlt-auth")
        certificate = root / "etc" / "tls" / "certificate.pem"
        if not certificate.exists() and not self.destination:
            configuration.make_certificate(certificate.parent, self.hostname)
            print(f"made a self-signed certificate in {certificate.parent}; replace it with a real one")
        layout.own_keys(root)

    def tables(self) -> dict[str, str]:
        """The first users and aliases: mail for postmaster and root must reach somebody."""
        postmaster = f"postmaster@{self.domain}"
        aliases = "root: postmaster\nmailer-daemon: postmaster\nabuse: postmaster\n"
        if self.postmaster and self.postmaster.lower() != postmaster.lower():
            here = self.postmaster.lower().endswith(f"@{self.domain.lower()}")
            users = f"# To be opened with: martlet user password {self.postmaster}\n{self.postmaster}:!\n" if here else ""
            return {"users": users, "aliases": f"postmaster: {self.postmaster}\n" + aliases}
        users = f"# Reads mail for postmaster and root, after: martlet user password {postmaster}\n{postmaster}:!\n"
        return {"users": users, "aliases": aliases}

    def configuration(self) -> str:
        text = (layout.REPOSITORY / "etc" / "martlet.toml").read_text()
        return text.replace("@HOSTNAME@", self.hostname).replace("@DOMAIN@", self.domain)

    def write_once(self, path: Path, text: str) -> None:
        if not path.exists():
            path.write_text(text)
            path.chmod(0o644)

    def install_services(self) -> None:
        etc = self.staged(self.instance) / "etc"
        for kind in ("s6", "runit"):
            layout.install_services(kind, etc / kind, self.instance, self.programs)
        units = etc / "systemd"
        units.mkdir(exist_ok=True)
        for unit in sorted((layout.REPOSITORY / "etc" / "systemd").iterdir()):
            text = layout.fill_in(unit.read_text(), self.instance, self.programs, self.documents)
            (units / unit.name).write_text(text)
            (units / unit.name).chmod(0o644)


    def listening(self) -> list[str]:
        """Where resolverd listens, by the configuration that is there."""
        text = (self.staged(self.instance) / "etc" / "martlet.toml").read_text()
        return tomllib.loads(text).get("resolverd", {}).get("listen", [])


def restore_resolver(options: argparse.Namespace) -> None:
    changed = SystemResolver(options.destdir).restore()
    print(f"put back as it was: {', '.join(changed)}" if changed else "nothing to put back")


def main() -> None:
    options = arguments()
    if options.no_resolver:
        return restore_resolver(options)
    installation = Installation(options)
    if options.destdir:
        if layout.is_root() and not all(exists(name) for name in layout.USERS):
            sys.exit("install: the system users are missing here, so owners can't be set; run it as another user")
    elif layout.is_root():
        made = layout.make_system_users()
        print(f"system users: {', '.join(made) + ' made' if made else 'all there'}")
    else:
        print("install: warning: not root, so everything belongs to the calling user", file=sys.stderr)
    installation.install_programs()
    installation.install_instance()
    installation.install_services()
    print(f"programs: {installation.prefix}/bin, {installation.prefix}/sbin, {installation.programs}")
    print(f"instance: {installation.instance} (etc/martlet.toml is the configuration)")
    print(f"services: {installation.instance}/etc/systemd, etc/s6 or etc/runit")
    print(f"how to start them: {installation.documents}/operations.md")
    if options.resolver:
        resolver = SystemResolver(options.destdir)
        written = resolver.take_over(installation.listening(), force=options.resolver == "take-over")
        print(f"this machine's programs ask resolverd now: {', '.join(written)} written")


def exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, Refusal) as error:
        sys.exit(f"install: {error}")
