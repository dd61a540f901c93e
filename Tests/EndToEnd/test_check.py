"""`martlet check` finds what the suite breaks, says how to mend it, and finds nothing on a healthy instance."""

import contextlib
import json
import os
import shutil
import socket
import subprocess

import configuration
import layout
import pytest
from conftest import ALICE
from mail import queue, wait_for_log, wait_until
from test_commands import sendmail

pytestmark = pytest.mark.root


def findings(instance, *options: str) -> tuple[int, list[dict]]:
    done = instance.martlet("check", "--json", *options, check=False)
    return done.returncode, json.loads(done.stdout)


def wrong(instance) -> list[dict]:
    return [finding for finding in findings(instance)[1] if finding["grade"] == "wrong"]


@pytest.fixture(scope="module")
def instance(module_factory, sink):
    instance = module_factory({"remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}}})
    instance.add_alias(f"postmaster: {ALICE}")
    (instance.directory / "mail/example.test").mkdir(exist_ok=True)
    for path in (instance.directory / "mail", instance.directory / "mail/example.test"):
        layout.own(path, "mlt-mail", 0o700)
    return instance


def test_nothing_is_wrong_with_a_healthy_instance(instance):
    code, found = findings(instance)
    assert code == 0, found
    assert {finding["grade"] for finding in found} <= {"fine", "doubtful"}


def test_nothing_is_wrong_with_units_as_they_are_installed(instance):
    with units(instance):
        assert wrong(instance) == []


@contextlib.contextmanager
def replaced(path, text: str | bytes | None = None, mode: int | None = None, user: str | None = None):
    """A file or directory with other content, mode or owner; without anything, it's gone."""
    status = path.stat()
    kept = path.with_name(path.name + ".kept")
    if text is None and mode is None and user is None:
        path.rename(kept)
    elif text is not None:
        shutil.copy2(path, kept)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    if mode is not None:
        path.chmod(mode)
    if user is not None:
        shutil.chown(path, user)
    try:
        yield
    finally:
        if kept.exists():
            kept.replace(path)
        os.chown(path, status.st_uid, status.st_gid)
        path.chmod(status.st_mode & 0o7777)


@contextlib.contextmanager
def configured(instance, changes: dict):
    kept = instance.configuration_file.read_text()
    instance.configure(changes)
    try:
        yield
    finally:
        instance.write(instance.configuration_file, kept)


@contextlib.contextmanager
def added(path, text: str, mode: int = 0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    try:
        yield
    finally:
        path.unlink()


def table(instance, name: str, line: str):
    path = instance.directory / "etc" / name
    return replaced(path, path.read_text() + line + "\n")


def run_script(instance, name: str):
    return instance.supervisor.directory / name / "run"


@contextlib.contextmanager
def units(instance, name: str | None = None, old: str = "", new: str = ""):
    """The units of systemd as scripts/install makes them; in one of them something is other."""
    directory = instance.directory / "etc/systemd"
    directory.mkdir()
    for unit in (layout.REPOSITORY / "etc/systemd").iterdir():
        text = layout.fill_in(unit.read_text(), instance.directory, instance.supervisor.programs)
        if unit.name == name:
            assert old in text
            text = text.replace(old, new)
        (directory / unit.name).write_text(text)
    try:
        yield
    finally:
        shutil.rmtree(directory)


BREAKAGES = {
    "run script missing": (lambda i: replaced(run_script(i, "smtpd")), "service/smtpd/run"),
    "run script not executable": (lambda i: replaced(run_script(i, "imapd"), mode=0o644), "not executable"),
    "run script for everybody": (lambda i: replaced(run_script(i, "authd"), mode=0o777), "others may change"),
    "run script of another": (lambda i: replaced(run_script(i, "authd"), user="nobody"), "may change what root runs"),
    "run script of another instance": (
        lambda i: replaced(run_script(i, "pop3d"), '#!/bin/sh\ncd "/" || exit 111\nexec true\n'),
        "/ is not this instance",
    ),
    "program missing": (
        lambda i: replaced(run_script(i, "pop3d"), '#!/bin/sh\nexec "/no/such/pop3d" --instance .\n'),
        "/no/such/pop3d: No such file",
    ),
    "unit's program missing": (
        lambda i: units(i, "martlet-smtpd.service", "/smtpd", "/smtp"),
        "smtp: No such file",
    ),
    "unit of another instance": (
        lambda i: units(i, "martlet-authd.service", f"WorkingDirectory={i.directory}", "WorkingDirectory=/"),
        "/ is not this instance",
    ),
    "unit that keeps the spool read-only": (
        lambda i: units(i, "martlet-queue-manager.service", f" {i.directory}/spool", ""),
        "queue-manager may not write to spool",
    ),
    "unit that keeps the mailboxes read-only": (
        lambda i: units(i, "martlet-local-deliver.service", f" {i.directory}/mail", f" {i.directory}/post"),
        "local-deliver may not write to mail",
    ),
    "unit with a user": (
        lambda i: units(i, "martlet-smtpd.service", "Type=notify", "Type=notify\nUser=mlt-smtp"),
        "it starts as mlt-smtp",
    ),
    "unit that isn't waited for": (
        lambda i: units(i, "martlet-smtpd.service", "Type=notify", "Type=simple"),
        "not of Type=notify",
    ),
    "users unreadable": (lambda i: replaced(i.directory / "etc/users", mode=0o600), "may not read"),
    "users missing": (lambda i: replaced(i.directory / "etc/users"), "there is no"),
    "users broken": (lambda i: table(i, "users", "nonsense"), "users:"),
    "users for everybody": (lambda i: replaced(i.directory / "etc/users", mode=0o644), "lets others in"),
    "hash nobody can verify": (lambda i: table(i, "users", "eve@example.test:$9$what"), "password hash"),
    "two accounts, one mailbox": (lambda i: table(i, "users", "eve@example.test:!:example.test/bob"), "users:"),
    "aliases unreadable": (lambda i: replaced(i.directory / "etc/aliases", mode=0o600), "may not read"),
    "aliases missing": (lambda i: replaced(i.directory / "etc/aliases"), "there is no"),
    "several names in an alias": (lambda i: table(i, "aliases", "a, b: bob"), "aliases:"),
    "program in an alias": (lambda i: table(i, "aliases", 'a: "|/bin/cat"'), "aliases:"),
    "unknown user in an alias": (lambda i: table(i, "aliases", "a: nobody.here"), "does not exist"),
    "etc closed to authd": (lambda i: replaced(i.directory / "etc", mode=0o700), "may not look into"),
    "etc open to all": (lambda i: replaced(i.directory / "etc", mode=0o777), "lets others in"),
    "run open to all": (lambda i: replaced(i.directory / "run", mode=0o777), "lets others in"),
    "spool open to all": (lambda i: replaced(i.directory / "spool", mode=0o755), "lets others in"),
    "spool of root": (lambda i: replaced(i.directory / "spool", user="root"), "not to mlt-queue"),
    "queue of root": (lambda i: replaced(i.directory / "spool/queue", user="root"), "spool/queue"),
    "hold of root": (lambda i: replaced(i.directory / "spool/hold", user="root"), "spool/hold"),
    "state of another": (lambda i: replaced(i.directory / "spool/state", user="nobody"), "spool/state"),
    "mail of root": (lambda i: replaced(i.directory / "mail", user="root"), "not to mlt-mail"),
    "mailbox of root": (lambda i: replaced(i.directory / "mail/example.test", user="root"), "mail/example.test"),
    "mail open to all": (lambda i: replaced(i.directory / "mail", mode=0o755), "lets others in"),
    "dns of root": (lambda i: replaced(i.directory / "dns", user="root"), "not to mlt-dns"),
    "certificate missing": (lambda i: replaced(i.certificate), "No such file or directory"),
    "certificate empty": (lambda i: replaced(i.certificate, ""), "there is no certificate in it"),
    "key missing": (lambda i: replaced(i.certificate.with_name("private-key.pem")), "No such file or directory"),
    "key for everybody": (lambda i: replaced(i.certificate.with_name("private-key.pem"), mode=0o644), "lets others in"),
    "key of another certificate": (
        lambda i: replaced(i.certificate.with_name("private-key.pem"), another_key()),
        "does not belong to the certificate",
    ),
    "another key for everybody": (
        lambda i: added(i.directory / "dns/keys/example.key", another_key().decode()),
        "private key that everybody may read",
    ),
    "everybody may relay": (
        lambda i: configured(i, {"smtpd": {"relay-from": ["0.0.0.0/0"]}}),
        "lets everybody relay",
    ),
    "everybody may relay by IPv6": (
        lambda i: configured(i, {"smtpd": {"relay-from": ["::/0"]}}),
        "lets everybody relay",
    ),
    "route to nobody": (
        lambda i: configured(i, {"remote-relay": {"routes": {"example.org": f"127.0.0.1:{configuration.free_port()}"}}}),
        "example.org goes to",
    ),
    "route to a host that does not exist": (
        lambda i: configured(i, {"remote-relay": {"routes": {"example.org": "no-such-host.invalid:25"}}}),
        "it has no address",
    ),
    "no room in the queue": (
        lambda i: configured(i, {"queue-manager": {"reserve": "100000GiB"}}),
        "less than the reserve",
    ),
    "daemon that is root": (
        lambda i: configured(i, {"system-users": {"smtpd": "root"}}),
        "root may do everything",
    ),
    "two daemons with one user": (
        lambda i: configured(i, {"system-users": {"imapd": "mlt-pop3"}}),
        "is the user of pop3d already",
    ),
    "user that does not exist": (
        lambda i: configured(i, {"system-users": {"imapd": "no-such-user"}}),
        'no user "no-such-user"',
    ),
    "key twice": (lambda i: table_of(i, 'hostname = "a.example.test"'), "hostname"),
    "key that nothing reads": (lambda i: configured(i, {"smtpd": {"nonsense": 1}}), "smtpd.nonsense"),
    "value of another kind": (lambda i: configured(i, {"smtpd": {"maximum-recipients": "many"}}), "maximum-recipients"),
    "no TOML": (lambda i: table_of(i, "= ="), "martlet.toml"),
}


def table_of(instance, line: str):
    path = instance.configuration_file
    return replaced(path, line + "\n" + path.read_text())


def another_key() -> bytes:
    arguments = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    return subprocess.run(arguments, check=True, capture_output=True).stdout


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_found(instance, name):
    breakage, words = BREAKAGES[name]
    with breakage(instance):
        code, found = findings(instance)
        faults = [finding for finding in found if finding["grade"] == "wrong"]
        assert code != 0
        (matching, *_) = [f for f in faults if words in f"{f['subject']} {f['text']}"] or [None]
        assert matching, faults
        assert matching["mend"]
        # For people, too.
        assert words in instance.martlet("check", check=False).stdout.replace("WRONG ", "")
    assert wrong(instance) == []


@pytest.mark.parametrize("name", layout.SERVICE_NAMES)
def test_daemon_that_is_down_is_found(instance, name):
    instance.supervisor.down(name)
    try:
        faults = wrong(instance)
        assert any(fault["subject"] == name and "down" in fault["text"] and fault["mend"] for fault in faults), faults
    finally:
        instance.supervisor.up(name)


def test_port_of_another_program_is_found(instance):
    instance.supervisor.down("pop3d")
    with socket.create_server(("127.0.0.1", instance.ports["pop3"])):
        faults = wrong(instance)
    instance.supervisor.up("pop3d")
    assert any("another program has" in fault["text"] for fault in faults), faults


def test_certificate_that_is_not_served_is_found(instance):
    """keyd may not look where it is, and so the servers show the one before."""
    directory = instance.certificate.parent
    layout.own(directory, "root", 0o700)
    kept = {path: path.read_bytes() for path in directory.iterdir()}
    for path in kept:
        path.unlink()
    configuration.make_certificate(directory, "mail.example.test")
    try:
        faults = wrong(instance)
        served = [fault["text"] for fault in faults if "shows another certificate" in fault["text"]]
        assert {text.split()[0] for text in served} == {"smtpd", "pop3d", "imapd"}
        assert [fault for fault in faults if "so it sees no renewal" in fault["text"]]
    finally:
        for path, octets in kept.items():
            path.write_bytes(octets)
        layout.make_directories(instance.directory)
        layout.own_keys(instance.directory)
    assert wrong(instance) == []


def test_mend_sets_owners_all_the_way_down(instance):
    """As after a restore by root: everything of the spool and the mailboxes belongs to root."""
    for name in ("spool", "mail", "dns"):
        for path, directories, files in os.walk(instance.directory / name):
            for entry in (".", *directories, *files):
                os.lchown(os.path.join(path, entry), 0, 0)
    (instance.directory / "spool").chmod(0o755)
    victim = instance.directory / "victim"
    victim.write_text("")
    victim.chmod(0o600)
    (instance.directory / "spool/hold/link").symlink_to(victim)
    assert wrong(instance)
    code, found = findings(instance, "--mend")
    assert code == 0, found
    assert any(finding["grade"] == "mended" for finding in found)
    assert wrong(instance) == []
    assert (instance.directory / "spool").stat().st_mode & 0o777 == 0o700
    for path in (instance.directory / "spool").rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_uid == (instance.directory / "spool").stat().st_uid, path
    assert victim.stat().st_uid == 0
    (instance.directory / "spool/hold/link").unlink()
    victim.unlink()


def test_queue_that_belongs_to_root_is_told_and_lists_its_mail(make_instance):
    """Mail is accepted, for the journal has it; that its file can't be made is in the log and in check, and it's listed."""
    instance = make_instance()
    for path in (instance.directory / "spool/queue", *(instance.directory / "spool/queue").iterdir()):
        os.chown(path, 0, 0)
    instance.supervisor.down("remote-relay")
    assert sendmail(instance, "-f", ALICE, "someone@example.net", input="Subject: x\n\nx\n").returncode == 0
    (entry,) = queue(instance)
    wait_for_log(instance, "queue-manager", f"{entry['id']} cannot be filed now")
    assert [fault for fault in wrong(instance) if fault["subject"].startswith("spool/queue")]
    code, found = findings(instance, "--mend")
    assert any(finding["grade"] == "mended" and finding["subject"] == "spool" for finding in found), found
    wait_until(lambda: list((instance.directory / "spool/queue").rglob(entry["id"])), what="the queue file")
