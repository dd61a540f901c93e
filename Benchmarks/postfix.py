"""A private Postfix: its own directories and port, several users, normal durability."""

import os
import pwd
import subprocess
from pathlib import Path

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Runs below a directory; mail for example.test goes into a Maildir, for example.net to a port."""

    name = "Postfix"

    def __init__(self, directory: Path, port: int, sink: int, settings: dict | None = None, services: str = ""):
        self.directory = directory
        self.port = port
        self.maildir = directory / "mail" / "bob"
        self.settings = directory / "etc"
        for part in ("etc", "queue", "data", "mail"):
            (directory / part).mkdir(parents=True)
        owner = pwd.getpwnam("postfix")
        os.chown(directory / "data", owner.pw_uid, owner.pw_gid)
        os.chown(directory / "mail", owner.pw_uid, owner.pw_gid)
        values = {
            "compatibility_level": "3.6",
            "queue_directory": directory / "queue",
            "data_directory": directory / "data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "meta_directory": "/etc/postfix",
            "maillog_file": directory / "maillog",
            "maillog_file_prefixes": directory,
            "myhostname": "mail.example.test",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "virtual_mailbox_domains": "example.test",
            "virtual_mailbox_base": directory / "mail",
            "virtual_mailbox_maps": "static:bob/",
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
            "virtual_minimum_uid": "1",
            "transport_maps": f"inline:{{example.net=smtp:[127.0.0.1]:{sink}}}",
            "smtp_dns_support_level": "disabled",
            "biff": "no",
        }
        text = "".join(f"{name} = {value}\n" for name, value in (values | (settings or {})).items())
        (self.settings / "main.cf").write_text(text)
        (self.settings / "master.cf").write_text(MASTER.format(port=port) + services)

    def start(self) -> None:
        self.control("start")

    def stop(self) -> None:
        self.control("stop")

    def control(self, verb: str) -> None:
        command = ["postfix", "-c", str(self.settings), verb]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"postfix {verb}: {done.stdout}{done.stderr}")

    def delivered(self) -> int:
        return count(self.maildir / "new")

    def queued(self) -> int:
        queue = self.directory / "queue"
        parts = ("incoming", "active", "deferred", "maildrop")
        return sum(1 for part in parts for path in (queue / part).rglob("*") if path.is_file())


def count(directory: Path) -> int:
    """How many files a directory has."""
    try:
        with os.scandir(directory) as entries:
            return sum(1 for _ in entries)
    except FileNotFoundError:
        return 0
