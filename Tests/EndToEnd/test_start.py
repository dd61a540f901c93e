"""scripts/start and scripts/stop, as a person runs them."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import configuration
import pytest
from configuration import LISTENERS, is_free
from conftest import temporary_directory
from instance import PROGRAMS, Instance
from layout import COMMANDS, DAEMONS, REPOSITORY, SERVICE_NAMES
from mail import wait_for_log

pytestmark = pytest.mark.alone
NOBODY = 65534


def run(*command, **options) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110, **options)


def eight_ports() -> int:
    """The first of eight free ports in a row."""
    return next(first for first in configuration.FREE_PORTS[::8] if all(is_free(first + index) for index in range(8)))


@pytest.fixture
def directory():
    """A directory that only its owner can enter."""
    path = temporary_directory()
    yield path
    run(REPOSITORY / "scripts" / "stop", "--instance", path / "one")
    run(REPOSITORY / "scripts" / "stop", "--instance", path / "two")
    shutil.rmtree(path)


def start(directory: Path, first: int) -> str:
    done = run(REPOSITORY / "scripts" / "start", "--instance", directory, "--ports-from", first)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_start_twice_beside_another_and_stop(directory):
    assert directory.stat().st_mode & 0o077 == 0
    first = eight_ports()
    output = start(directory / "one", first)
    for protocol in ("POP3", "IMAP"):
        assert f"read back by {protocol}" in output
    assert "Hello Bob," in output
    for index, name in enumerate(LISTENERS):
        assert f"{name} {first + index}" in output

    credentials = directory / "one" / "credentials"
    assert credentials.stat().st_mode & 0o777 == 0o600
    lines = [line.split(" ") for line in credentials.read_text().splitlines()]
    assert [line[0] for line in lines] == ["alice@example.test", "bob@example.test"]
    assert all(password in output for _, password in lines)

    one = Instance(directory / "one")
    before = {name: one.supervisor.pid(name) for name in SERVICE_NAMES}
    again = start(directory / "one", first)
    assert {name: one.supervisor.pid(name) for name in SERVICE_NAMES} == before
    assert all(password in again for _, password in lines)

    second = eight_ports()
    start(directory / "two", second)
    assert run(REPOSITORY / "scripts" / "stop", "--instance", directory / "two").returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", second), timeout=5)
    socket.create_connection(("127.0.0.1", first), timeout=5).close()
    assert {name: one.supervisor.pid(name) for name in SERVICE_NAMES} == before

    assert run(REPOSITORY / "scripts" / "stop", "--instance", directory / "one").returncode == 0
    assert not one.supervisor.is_running()
    assert not [pid for pid in before.values() if Path(f"/proc/{pid}").exists()]


def test_other_ports_than_the_instance_has(directory):
    first = eight_ports()
    start(directory / "one", first)
    done = run(REPOSITORY / "scripts" / "start", "--instance", directory / "one", "--ports-from", first + 8)
    assert done.returncode != 0 and "--ports-from" in done.stderr


def test_wrong_options():
    for words in (["--nonsense"], ["--ports-from", "many"], ["--instance"]):
        assert run(REPOSITORY / "scripts" / "start", *words).returncode == 64


@pytest.mark.root
def test_without_root():
    """The same under a calling user who is not root, from a tree of that user's."""
    base = temporary_directory()
    tree = base / "tree"
    try:
        for part in ("scripts", "etc", "docs"):
            shutil.copytree(REPOSITORY / part, tree / part)
        programs = tree / ".build" / "release"
        programs.mkdir(parents=True)
        for name in (*DAEMONS, *COMMANDS):
            shutil.copy2(PROGRAMS / name, programs / name)
        for path in (base, *base.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/python3"]
        script = tree / "scripts" / "lib"
        done = run(*command, script / "start.py", "--instance", base / "var", "--ports-from", eight_ports(), cwd=base)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning: not root" in done.stderr
        assert "read back by IMAP" in done.stdout
        instance = Instance(base / "var")
        for name in SERVICE_NAMES:
            pid = instance.supervisor.pid(name)
            assert os.stat(f"/proc/{pid}").st_uid in (NOBODY, 0)
            wait_for_log(instance, name, "not started as root")
        done = run(*command, script / "stop.py", "--instance", base / "var")
        assert done.returncode == 0, done.stderr
    finally:
        run("/usr/bin/python3", REPOSITORY / "scripts" / "lib" / "stop.py", "--instance", base / "var")
        shutil.rmtree(base)
