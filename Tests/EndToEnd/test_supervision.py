"""The service trees of etc/: runit's for real, systemd's units as far as they can be without it; s6's is under all tests."""

import os
import shutil
import socket
import subprocess

import pytest
from conftest import ALICE, BOB
from layout import SERVICE_NAMES
from mail import receive, submit, wait_for, wait_until
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
        assert "msg=ready" in instance.supervisor.log_text(name)
    pids = [instance.supervisor.pid(name) for name in SERVICE_NAMES]
    instance.stop()
    assert not instance.supervisor.is_running()
    assert not [name for name in SERVICE_NAMES if instance.supervisor.pid(name)], pids


def test_s6_logs_and_restarts(system):
    for name in SERVICE_NAMES:
        assert "msg=ready" in system.supervisor.log_text(name)


def test_stopping_is_graceful(make_instance):
    instance = make_instance(users=())
    instance.stop()
    for name in SERVICE_NAMES:
        assert "msg=stopped" in instance.supervisor.log_text(name)


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
