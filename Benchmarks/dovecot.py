"""A private Dovecot: its own directories and ports, one account, the same certificate and password hash as Martlet's."""

import os
import pwd
import signal
import subprocess
import time
from pathlib import Path

CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{mail}/%d/%n{options}
mail_max_userip_connections = 0
default_client_limit = 10000
service anvil {{
  client_limit = 10103
}}
service auth {{
  client_limit = 10100
}}
service imap-login {{
  process_limit = 4096
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
service imap {{
  process_limit = 4096
}}
passdb {{
  driver = passwd-file
  args = scheme=ARGON2ID {directory}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={mail}/%d/%n
}}
"""


class Dovecot:
    """Serves the Maildirs below a directory, `DOMAIN/NAME`, as their owner."""

    name = "Dovecot"

    def __init__(
        self,
        directory: Path,
        imaps: int,
        pop3s: int,
        certificate: Path,
        users: str,
        mail: Path | None = None,
        owner: str = "mail",
        options: str = "",
    ):
        self.directory = directory
        self.ports = {"imaps": imaps, "pop3s": pop3s}
        self.mail = mail or directory / "mail"
        self.process: subprocess.Popen | None = None
        for path in (directory / "run", directory / "state", self.mail):
            path.mkdir(parents=True, exist_ok=True)
        self.owner = pwd.getpwnam(owner)
        os.chown(self.mail, self.owner.pw_uid, self.owner.pw_gid)
        (directory / "users").write_text(users)
        (directory / "dovecot.conf").write_text(
            CONFIGURATION.format(
                directory=directory,
                mail=self.mail,
                options=options,
                certificate=certificate,
                key=certificate.with_name("private-key.pem"),
                imaps=imaps,
                pop3s=pop3s,
                user=self.owner.pw_uid,
                group=self.owner.pw_gid,
            )
        )

    def start(self) -> None:
        command = ["dovecot", "-F", "-c", str(self.directory / "dovecot.conf")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (self.directory / "run" / "master.pid").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dovecot does not start:\n{(self.directory / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)
            self.process = None

    def processes(self) -> list[int]:
        """The process and its children."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            found += [int(word) for word in children.read_text().split()]
        return found
