"""The service trees of etc/: runit's for real, systemd's units as far as they can be without it; s6's is under all tests."""

import os
import shutil
import socket
import subprocess

import pytest
from conftest import ALICE, BOB
from layout import SERVICE_NAMES, SERVICES
from mail import receive, submit, wait_for, wait_for_log, wait_until
from supervision import Runit


@pytest.mark.skipif(not shutil.which("runsvdir"), reason="runit is not installed")
def test_runit(make_instance):
    instance = make_instance(supervisor=Runit)
    wait_for(instance, BOB, submit(instance, ALICE, BOB))
    for name in SERVICE_NAMES:
        before = instance.supervisor.pid(name)
        assert instance.supervisor.kill(name)
        wait_until(lambda n=name, p=before: instance.supervisor.pid(n) not in (None, p), what=f"{name} is up again")
    instance.supervisor.wait_ready()
    wait_for(instance, BOB, receive(instance, BOB))
    for name in SERVICE_NAMES:
        wait_for_log(instance, name, "msg=ready")
    pids = [instance.supervisor.pid(name) for name in SERVICE_NAMES]
    instance.stop()
    assert not instance.supervisor.is_running()
    assert not [name for name in SERVICE_NAMES if instance.supervisor.pid(name)], pids


def test_s6_logs_and_restarts(system):
    for name in SERVICE_NAMES:
        wait_for_log(system, name, "msg=ready")


def test_stopping_is_graceful(make_instance):
    instance = make_instance(users=())
    instance.stop()
    for name in SERVICE_NAMES:
        wait_for_log(instance, name, "msg=stopped")


def answering_process(path) -> int:
    """The process that answers STATUS on a socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(b"STATUS\n\n")
        answer = b""
        while b"\n\n" not in answer:
            octets = connection.recv(4096)
            assert octets, "closed without an answer"
            answer += octets
    fields = dict(line.split(": ", 1) for line in answer.decode().splitlines()[1:] if line)
    return int(fields["pid"])


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_second_one_by_hand_leaves_the_first_its_sockets(system, service):
    first = system.supervisor.pid(service.name)
    sockets = {path: path.stat().st_ino for path in (system.directory / "run").rglob("*.sock")}
    status = system.directory / "run" / "status" / f"{service.name}.sock"
    assert status in sockets
    command = [str(system.programs / service.program), "--instance", str(system.directory)]
    command += ["--mailbox"] if service.name.endswith("-mailbox") else []
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.returncode == 111
    assert f"run/status/{service.name}.sock: in use by process {first} ({service.program[:15]})" in done.stderr
    assert {path: path.stat().st_ino for path in (system.directory / "run").rglob("*.sock")} == sockets
    assert answering_process(status) == first == system.supervisor.pid(service.name)


def test_mail_goes_on_after_second_ones_by_hand(system):
    wait_for(system, BOB, submit(system, ALICE, BOB))


@pytest.mark.root
def test_notify_socket(make_instance, tmp_path):
    """READY=1 reaches a socket outside the directory that a daemon makes its root."""
    instance = make_instance(start=False, users=())
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(20)
        command = [str(instance.programs / "smtpd"), "--instance", str(instance.directory)]
        environment = {**os.environ, "NOTIFY_SOCKET": address}
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        try:
            assert b"READY=1" in listener.recv(4096)
        finally:
            daemon.terminate()
            daemon.wait(20)
