"""Every unit under the real systemd, as docs/operations.md says: install, mail, reboot, upgrade, backup."""

import re
import time

import layout
import pytest
from machine import Machine, reason_against
from operations_page import commands

REASON = reason_against()
pytestmark = [pytest.mark.root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

INSTANCE = "/var/lib/martlet"
INSTALL = f"{layout.REPOSITORY}/scripts/install --prefix /usr/local --hostname mail.example.test --domain example.test"


@pytest.fixture(scope="module")
def machine():
    machine = Machine()
    try:
        machine.boot()
        # Nothing of this machine's mail, and no way to the servers of the world.
        machine.shell(f"rm -rf {INSTANCE}")
        machine.shell(INSTALL)
        machine.shell(f"sed -i 's/^\\[resolverd\\]$/&\\nmode = \"local\"/' {INSTANCE}/etc/martlet.toml")
        machine.run("martlet", "user", "add", "alice@example.test", input="secret of alice\n")
        machine.shell(f"systemctl link {INSTANCE}/etc/systemd/* && systemctl enable --now martlet.target")
        yield machine
    finally:
        machine.end()


def services() -> list[str]:
    return [f"martlet-{name}" for name in layout.SERVICE_NAMES]


def wait_until_up(machine) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if machine.run("martlet", "status", check=False).returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(machine.shell("journalctl --no-pager -u 'martlet-*' | tail -40"))


def send(machine, subject: str) -> None:
    text = f"Subject: {subject}\n\nHello.\n"
    machine.run("sendmail", "-f", "root@example.test", "alice@example.test", input=text)


def wait_for(machine, subject: str) -> None:
    mailbox = f"{INSTANCE}/mail/example.test/alice"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if machine.run("grep", "-rqs", f"^Subject: {subject}", f"{mailbox}/new", f"{mailbox}/cur", check=False).returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(machine.shell("martlet queue list; journalctl --no-pager -u 'martlet-*' | tail -40"))


def test_every_unit_runs_and_has_nothing_to_complain_of(machine):
    wait_until_up(machine)
    states = machine.run("systemctl", "is-active", *services()).stdout.split()
    assert states == ["active"] * len(services())
    log = machine.run("journalctl", "--no-pager", "-o", "cat", "-u", "martlet-*").stdout
    for name in layout.SERVICE_NAMES:
        own = machine.run("journalctl", "--no-pager", "-o", "cat", "-u", f"martlet-{name}").stdout
        assert "ready" in own, (name, own)
    faults = [line for line in log.splitlines() if re.search(r"level=(warning|error|critical)|[Ff]ailed|denied", line)]
    assert not faults


def test_check_is_content(machine):
    wait_until_up(machine)
    done = machine.run("martlet", "check", check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("unit", "settings", "words"),
    [
        ("martlet-queue-manager", "ReadWritePaths=\nReadWritePaths=/var/lib/martlet/run", "queue-manager may not write to spool"),
        ("martlet-imapd", "ExecStart=\nExecStart=/no/such/imapd --instance .", "/no/such/imapd: No such file"),
        ("martlet-smtpd", "User=mlt-smtp", "it starts as mlt-smtp"),
    ],
)
def test_check_finds_what_an_administrator_added(machine, unit, settings, words):
    """As `systemctl edit` would write it."""
    wait_until_up(machine)
    directory = f"/etc/systemd/system/{unit}.service.d"
    machine.shell(f"mkdir {directory}")
    machine.run("tee", f"{directory}/override.conf", input=f"[Service]\n{settings}\n")
    try:
        done = machine.run("martlet", "check", check=False)
        assert done.returncode == 1 and words in done.stdout, done.stdout
    finally:
        machine.shell(f"rm -r {directory}")


def test_check_finds_units_that_systemd_does_not_start(machine):
    wait_until_up(machine)
    unit = "/etc/systemd/system/martlet-pop3d.service"
    machine.shell(f"rm {unit}")
    try:
        assert "systemd does not know it" in machine.run("martlet", "check", check=False).stdout
        machine.shell(f"ln -s /dev/null {unit}")
        assert "it is masked" in machine.run("martlet", "check", check=False).stdout
    finally:
        machine.shell(f"ln -sf {INSTANCE}/etc/systemd/martlet-pop3d.service {unit}")
    machine.shell("systemctl disable martlet.target && systemctl link /var/lib/martlet/etc/systemd/martlet.target")
    assert "it is not started at boot" in machine.run("martlet", "check", check=False).stdout
    machine.shell("systemctl enable martlet.target")
    assert "boot" not in machine.run("martlet", "check").stdout


def test_mail_goes_through(machine):
    wait_until_up(machine)
    send(machine, "through systemd")
    wait_for(machine, "through systemd")
    # Its life stands in the journal.
    name = "<traced@program.example>"
    machine.run("sendmail", "alice@example.test", input=f"Subject: traced\nMessage-ID: {name}\n\nx\n")
    wait_for(machine, "traced")
    deadline = time.monotonic() + 30
    while True:
        said = machine.run("martlet", "trace", "--journal", name, check=False).stdout
        if all(word in said for word in ("accepted", "local-deliver", "delivered", "left the queue")):
            break
        assert time.monotonic() < deadline, said
        time.sleep(0.2)
    # root and postmaster reach somebody on a fresh machine.
    machine.run("sendmail", "root", input="Subject: to root\n\nx\n")
    deadline = time.monotonic() + 30
    while machine.run("grep", "-rqs", "to root", f"{INSTANCE}/mail/example.test/postmaster", check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_what_the_units_allow_is_enough_for_dynamic_update(machine):
    """resolverd writes below dns/."""
    wait_until_up(machine)
    pid = machine.run("systemctl", "show", "-p", "MainPID", "--value", "martlet-resolverd").stdout.strip()
    inside = ["nsenter", "--target", pid, "--mount", "touch", f"{INSTANCE}/dns/written"]
    machine.run(*inside)
    machine.run("rm", f"{INSTANCE}/dns/written")


def test_reboot_without_a_word(machine):
    """Power off with mail in the queue, and on again: systemd starts everything, and nothing is lost."""
    wait_until_up(machine)
    machine.run("systemctl", "stop", "martlet-local-deliver")
    send(machine, "before the power went")
    machine.switch_off()
    machine.boot()
    wait_until_up(machine)
    wait_for(machine, "before the power went")


def test_upgrade_under_load(machine):
    """Installs again and restarts one service after the other while mail comes in."""
    wait_until_up(machine)
    machine.shell(INSTALL)
    for number, name in enumerate(layout.SERVICE_NAMES):
        send(machine, f"during the upgrade {number}")
        machine.run("systemctl", "restart", f"martlet-{name}")
    for number in range(len(layout.SERVICE_NAMES)):
        wait_for(machine, f"during the upgrade {number}")
    assert machine.run("martlet", "queue", "list").stdout.count("during the upgrade") == 0
    wait_until_up(machine)


def test_backup_and_restore_by_the_page(machine):
    """The commands of docs/operations.md, with mail in the queue, onto a machine that has nothing of it any more."""
    wait_until_up(machine)
    send(machine, "delivered before the backup")
    wait_for(machine, "delivered before the backup")
    machine.run("systemctl", "stop", "martlet-local-deliver")
    send(machine, "waiting during the backup")
    (backup,) = commands("Backup", "systemd")
    machine.shell(f"mkdir -p /var/backups; {backup}")
    machine.shell(f"systemctl disable --now martlet.target && systemctl stop 'martlet-*' && rm -rf {INSTANCE}")

    unpack, mend, start = commands("Restore", "systemd")
    there = f"cd {layout.REPOSITORY}; "
    unpack = unpack.replace("mail.example.com", "mail.example.test").replace("--domain example.com", "--domain example.test")
    machine.shell(there + unpack)
    # It finds that the daemons are down.
    done = machine.run("bash", "-c", mend, check=False)
    assert done.returncode == 1 and "mended" in done.stdout, done.stdout
    machine.run("bash", "-c", start, check=False)
    wait_until_up(machine)
    assert machine.run("martlet", "check", check=False).returncode == 0
    for subject in ("delivered before the backup", "waiting during the backup"):
        wait_for(machine, subject)
