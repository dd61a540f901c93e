"""scripts/install, and what it installs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from layout import COMMANDS, DAEMONS, DIRECTORIES, REPOSITORY, SERVICE_NAMES


def install(*arguments) -> subprocess.CompletedProcess:
    command = [REPOSITORY / "scripts" / "install", *arguments, "--hostname", "mail.example.test"]
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
    for path in ("bin/martlet", "sbin/sendmail", "bin/mailq"):
        assert os.access(installed / "usr" / path, os.X_OK)
    assert (installed / "usr/bin/mailq").resolve() == (installed / "usr/sbin/sendmail").resolve()
    done = subprocess.run([installed / "usr/bin/martlet", "version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout
    assert set(COMMANDS) == {"martlet", "sendmail"}


@pytest.mark.root
def test_owners_and_modes(installed):
    for directory in DIRECTORIES:
        path = installed / "instance" / directory.path
        assert path.owner() == path.group() == directory.owner, path
        assert path.stat().st_mode & 0o777 == directory.mode, path
    for table in ("users", "aliases"):
        path = installed / "instance" / "etc" / table
        assert (path.owner(), path.group(), path.stat().st_mode & 0o777) == ("root", "mlt-auth", 0o640)
    assert (installed / "instance/etc/tls/private-key.pem").stat().st_mode & 0o777 == 0o600


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
