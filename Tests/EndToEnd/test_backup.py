"""Backup and restore, by the commands that docs/operations.md gives."""

import os
import shutil
import subprocess
from pathlib import Path

import layout
import mail
import pytest
from conftest import ALICE, BOB, CAROL
from operations_page import commands

pytestmark = pytest.mark.root

class Shell:
    """Runs the page's commands with a test's places for those that the page names."""

    def __init__(self, base: Path, instance: Path, services: Path):
        self.prefix = base / "usr"
        self.places = {
            "/var/lib/martlet": instance,
            "/var/backups": base,
            "/run/service": services,
            "/usr/local": self.prefix,
            "scripts/install": f"{layout.REPOSITORY}/scripts/install --instance {instance}",
        }
        path = f"{self.prefix}/bin:{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "MARTLET_INSTANCE": str(instance)}

    def run(self, block: str) -> subprocess.CompletedProcess:
        for name, place in self.places.items():
            block = block.replace(name, str(place))
        command = ["sh", "-e", "-c", block]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment, timeout=100
        )


def test_what_was_backed_up_is_there_again(make_instance, sink, tmp_path):
    changes = {"remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}}}
    instance = make_instance(changes, start=False)
    instance.add_user(CAROL, None, "--format", "mbox")
    instance.add_alias(f"postmaster: {ALICE}")
    instance.start()
    delivered = mail.receive(instance, ALICE)
    mail.wait_for(instance, ALICE, delivered)
    in_mbox = mail.receive(instance, CAROL)
    mail.wait_for_empty_queue(instance)
    # Small ones live in the queue's journal, large ones have files from the beginning.
    instance.supervisor.down("remote-relay")
    waiting = [mail.submit(instance, BOB, "x@example.net", body=body) for body in ("small\n", "large line\n" * 200_000)]
    mail.wait_until(lambda: len(mail.queue(instance)) == 2, what="two messages in the queue")

    (backup,) = commands("Backup", "s6")
    services = instance.directory / "service"
    done = Shell(tmp_path, instance.directory, services).run(backup)
    assert done.returncode == 0, done.stderr
    instance.stop()
    shutil.rmtree(instance.directory)

    scan = tmp_path / "service"
    scan.mkdir()
    shell = Shell(tmp_path, instance.directory, scan)
    unpack, mend, start = commands("Restore", "s6")
    done = shell.run(unpack)
    assert done.returncode == 0, done.stdout + done.stderr
    done = shell.run(mend)
    assert done.returncode == 1 and "mended" in done.stdout and "spool" in done.stdout, done.stdout + done.stderr
    for tree, owner in (("spool", "mlt-queue"), ("mail", "mlt-mail"), ("dns", "mlt-dns")):
        for path in (instance.directory / tree).rglob("*"):
            assert path.owner() == path.group() == owner, path

    # What supervises the machine's services runs already.
    instance.supervisor.directory = scan
    instance.supervisor.start()
    mail.wait_until(lambda: (scan / ".s6-svscan" / "control").exists(), what="s6-svscan")
    done = shell.run(start)
    assert done.returncode == 0, done.stdout + done.stderr
    instance.supervisor.wait_ready()
    assert "WRONG" not in done.stdout

    for token in waiting:
        sink.wait_for(token)
    mail.wait_for_empty_queue(instance)
    for address, token in ((ALICE, delivered), (CAROL, in_mbox)):
        client = mail.imap(instance, address)
        client.select("INBOX")
        assert client.search(None, "SUBJECT", token)[1][0].split() == [b"1"]
        client.logout()
    mail.wait_for(instance, ALICE, mail.receive(instance, ALICE))
    for name in layout.SERVICE_NAMES:
        assert "level=error" not in instance.supervisor.log_text(name), name
