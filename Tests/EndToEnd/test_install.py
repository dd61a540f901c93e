"""scripts/install, and what it installs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import system_resolver
from instance import PROGRAMS
from layout import COMMANDS, DAEMONS, DIRECTORIES, REPOSITORY, SERVICE_NAMES


def install(*arguments, hostname=("--hostname", "mail.example.test")) -> subprocess.CompletedProcess:
    command = [REPOSITORY / "scripts" / "install", *arguments, *hostname]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    base = tmp_path_factory.mktemp("installed")
    done = install("--prefix", base / "usr", "--instance", base / "instance")
    assert done.returncode == 0, done.stderr
    yield base
    shutil.rmtree(base)


def test_programs(installed):
    for name in DAEMONS:
        assert os.access(installed / "usr/libexec/martlet" / name, os.X_OK)
    for path in ("bin/martlet", "sbin/sendmail", "bin/mailq", "bin/newaliases"):
        assert os.access(installed / "usr" / path, os.X_OK)
    assert (installed / "usr/bin/mailq").resolve() == (installed / "usr/sbin/sendmail").resolve()
    done = subprocess.run([installed / "usr/bin/martlet", "version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout
    assert set(COMMANDS) == {"martlet", "sendmail"}


def test_programs_are_stripped_and_their_symbols_kept(installed):
    for path in ("libexec/martlet/smtpd", "bin/martlet", "sbin/sendmail"):
        program, symbols = installed / "usr" / path, installed / "usr/lib/debug" / f"{path}.debug"
        built = PROGRAMS / program.name
        assert program.stat().st_size < 0.6 * built.stat().st_size
        sections = subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout
        assert ".gnu_debuglink" in sections and ".symtab" not in sections
        names = subprocess.run(["nm", symbols], capture_output=True, text=True, check=True).stdout
        assert "main" in names


def test_root_and_postmaster_reach_somebody(tmp_path):
    names = ("--hostname", "mail.example.test", "--domain", "example.test")
    done = install("--prefix", tmp_path / "usr", "--instance", tmp_path / "one", *names)
    assert done.returncode == 0, done.stderr
    assert "postmaster@example.test:!" in (tmp_path / "one/etc/users").read_text().splitlines()
    assert "root: postmaster" in (tmp_path / "one/etc/aliases").read_text().splitlines()
    options = (*names, "--postmaster", "alice@example.com")
    assert install("--prefix", tmp_path / "usr", "--instance", tmp_path / "two", *options).returncode == 0
    assert (tmp_path / "two/etc/users").read_text() == ""
    assert "postmaster: alice@example.com" in (tmp_path / "two/etc/aliases").read_text().splitlines()
    # What is there stays.
    assert install("--prefix", tmp_path / "usr", "--instance", tmp_path / "two", *names).returncode == 0
    assert "alice@example.com" in (tmp_path / "two/etc/aliases").read_text()
    for bad in ("alice", "alice@", 'a"b@example.com', "a b@example.com"):
        assert install("--prefix", tmp_path / "usr", "--instance", tmp_path / "three", "--postmaster", bad).returncode == 2


@pytest.mark.root
def test_owners_and_modes(installed):
    for directory in DIRECTORIES:
        path = installed / "instance" / directory.path
        assert (path.owner(), path.group()) == (directory.owner, directory.group or directory.owner), path
        assert path.stat().st_mode & 0o777 == directory.mode, path
    for table in ("users", "aliases"):
        path = installed / "instance" / "etc" / table
        assert (path.owner(), path.group(), path.stat().st_mode & 0o777) == ("root", "mlt-auth", 0o640)
    key = installed / "instance/etc/tls/private-key.pem"
    assert (key.owner(), key.group(), key.stat().st_mode & 0o777) == ("root", "mlt-key", 0o640)


def test_the_configuration_is_accepted_and_kept(installed):
    file = installed / "instance/etc/martlet.toml"
    text = file.read_text()
    assert 'hostname = "mail.example.test"' in text and 'domains = ["example.test"]' in text
    file.write_text(text + "\n# mine\n")
    assert install("--prefix", installed / "usr", "--instance", installed / "instance").returncode == 0
    assert file.read_text().endswith("# mine\n")
    command = [installed / "usr/bin/martlet", "--instance", installed / "instance", "check"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert "unknown" not in done.stdout + done.stderr
    assert "martlet.toml:" not in done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_units_are_clean(installed):
    units = sorted((installed / "instance/etc/systemd").iterdir())
    assert len(units) == len(SERVICE_NAMES) + 1
    command = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "martlet" in line]
    assert done.returncode == 0 and not ours, done.stdout + done.stderr


def test_service_trees_are_complete(installed):
    for name in SERVICE_NAMES:
        for file in ("s6/{}/run", "s6/{}/log/run", "s6/{}/finish", "runit/{}/run", "runit/{}/log/run", "runit/{}/check"):
            path = installed / "instance/etc" / file.format(name)
            assert os.access(path, os.X_OK), path
            assert "@" not in path.read_text().replace('"$@"', ""), path
        assert (installed / "instance/etc/s6" / name / "notification-fd").read_text() == "3\n"


def test_destdir(tmp_path):
    done = install("--prefix", "/usr/local", "--destdir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "usr/local/sbin/sendmail").exists()
    unit = (tmp_path / "var/lib/martlet/etc/systemd/martlet-smtpd.service").read_text()
    assert 'ExecStart="/usr/local/libexec/martlet/smtpd" --instance .' in unit
    assert "WorkingDirectory=/var/lib/martlet" in unit
    assert not list(Path(tmp_path).rglob("*.pem"))


# The machine's resolver


RESOLV_CONF, KEPT = "etc/resolv.conf", "etc/resolv.conf.before-martlet"
LISTEN = ["127.0.0.1:53", "[::1]:53"]


@pytest.fixture
def machine(tmp_path):
    """Another machine's files."""
    (tmp_path / "etc").mkdir()
    (tmp_path / RESOLV_CONF).write_text("# by hand\nnameserver 192.0.2.1\nsearch one.example two.example\n")
    return tmp_path


def test_resolv_conf_is_written_and_put_back(machine):
    before = (machine / RESOLV_CONF).read_text()
    done = install("--prefix", "/usr/local", "--destdir", machine, "--resolver")
    assert done.returncode == 0 and "/etc/resolv.conf" in done.stdout, done.stderr
    system_resolver.SystemResolver(machine).take_over(LISTEN, force=False)
    lines = (machine / RESOLV_CONF).read_text().splitlines()
    assert lines[1:] == [
        "nameserver 127.0.0.1", "nameserver ::1", "options edns0 trust-ad", "search one.example two.example",
    ]  # fmt: skip
    assert (machine / RESOLV_CONF).stat().st_mode & 0o777 == 0o644
    # What was there before us, however often it's done.
    assert (machine / KEPT).read_text() == before
    done = install("--no-resolver", "--destdir", machine, hostname=())
    assert done.returncode == 0 and "/etc/resolv.conf" in done.stdout, done.stderr
    assert (machine / RESOLV_CONF).read_text() == before and not (machine / KEPT).exists()
    assert "nothing to put back" in install("--no-resolver", "--destdir", machine, hostname=()).stdout


def test_only_addresses_that_resolverd_listens_at(machine):
    resolver = system_resolver.SystemResolver(machine)
    for listen in ([], ["127.0.0.1:5353", "[::1]:53"], ["192.0.2.1:53"]):
        with pytest.raises(system_resolver.Refusal, match="127.0.0.1:53"):
            resolver.take_over(listen, force=True)
    assert not (machine / KEPT).exists()
    resolver.take_over(["0.0.0.0:53"], force=False)
    assert "::1" not in (machine / RESOLV_CONF).read_text()


@pytest.mark.parametrize("link", ["../run/systemd/resolve/stub-resolv.conf", "/run/NetworkManager/resolv.conf", "../run/elsewhere"])
def test_a_link_of_another_manager(machine, link):
    (machine / RESOLV_CONF).unlink()
    (machine / RESOLV_CONF).symlink_to(link)
    for directory in ("systemd", "NetworkManager", "dhcp"):
        (machine / "etc" / directory).mkdir()
    resolver = system_resolver.SystemResolver(machine)
    with pytest.raises(system_resolver.Refusal, match="is managed by .*take-over"):
        resolver.take_over(LISTEN, force=False)
    assert os.readlink(machine / RESOLV_CONF) == link and not (machine / KEPT).is_symlink()

    resolver.take_over(LISTEN, force=True)
    assert not (machine / RESOLV_CONF).is_symlink() and os.readlink(machine / KEPT) == link
    hints = [machine / path.relative_to("/") for path in system_resolver.HINTS]
    assert "DNS=127.0.0.1 ::1" in hints[0].read_text() and "dns=none" in hints[1].read_text()
    assert "make_resolv_conf()" in hints[2].read_text()

    resolver.restore()
    assert os.readlink(machine / RESOLV_CONF) == link and not any(hint.exists() for hint in hints)


def test_a_file_of_another_manager(machine):
    (machine / RESOLV_CONF).write_text("# Generated by NetworkManager\nnameserver 192.0.2.1\n")
    resolver = system_resolver.SystemResolver(machine)
    with pytest.raises(system_resolver.Refusal, match="managed by NetworkManager"):
        resolver.take_over(LISTEN, force=False)
    assert (machine / RESOLV_CONF).read_text().startswith("# Generated by NetworkManager")
    # A file of that name that it didn't write isn't touched.
    hint = machine / system_resolver.NETWORK_MANAGER.relative_to("/")
    hint.parent.mkdir(parents=True)
    hint.write_text("[main]\ndns=default\n")
    resolver.take_over(LISTEN, force=True)
    resolver.restore()
    assert hint.read_text() == "[main]\ndns=default\n"


def test_a_machine_without_resolv_conf(tmp_path):
    resolver = system_resolver.SystemResolver(tmp_path)
    resolver.take_over(LISTEN, force=False)
    assert "nameserver 127.0.0.1" in (tmp_path / RESOLV_CONF).read_text()
    with pytest.raises(system_resolver.Refusal, match="before-martlet is missing"):
        resolver.restore()


@pytest.mark.parametrize("words", [["--no-resolver", "--resolver"], ["--no-resolver", "--prefix", "/usr"], ["--resolver=else", "--prefix", "/usr"], []])
def test_options_that_make_no_sense(words):
    done = install(*words, hostname=())
    assert done.returncode == 2 and "usage" in done.stderr
