"""Fixtures: instances of Martlet in temporary directories, on free ports, and a pretended other host."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "lib"))

import configuration  # noqa: E402
import layout  # noqa: E402
from instance import PROGRAMS, Instance  # noqa: E402
from sink import Sink  # noqa: E402

pytest_plugins = ["internet.fixtures"]

ALICE, BOB, CAROL, DAVE = (f"{name}@example.test" for name in ("alice", "bob", "carol", "dave"))
RUNNING: list[Instance] = []


def pytest_sessionstart(session):
    if not (PROGRAMS / "smtpd").exists():
        pytest.exit("no release build: run scripts/build first", returncode=2)
    worker = getattr(session.config, "workerinput", None)
    if worker:
        # Between looking for a free port and binding it, another worker could take it.
        number = int(worker["workerid"].removeprefix("gw"))
        share = len(configuration.FREE_PORTS) // worker["workercount"]
        configuration.FREE_PORTS = configuration.FREE_PORTS[number * share : (number + 1) * share]
    elif layout.is_root():
        # Before workers would make the same ones at the same time.
        layout.make_system_users()


def pytest_collection_modifyitems(items):
    if not layout.is_root():
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root")
    config.addinivalue_line("markers", "slow: takes most of a minute")
    config.addinivalue_line("markers", "alone: measures, or needs the machine's whole speed: nothing runs beside it")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the ends of the logs of all running instances with a failed test."""
    report = (yield).get_result()
    if report.failed:
        for instance in RUNNING:
            for name in layout.SERVICE_NAMES:
                if text := instance.supervisor.log_text(name).strip():
                    lines = "\n".join(text.splitlines()[-15:])
                    report.sections.append((f"{name} in {instance.directory}", lines))


class Factory:
    """Makes instances and ends them."""

    def __init__(self, base: Path):
        self.base = base
        self.made: list[Instance] = []

    def __call__(self, changes: dict | None = None, users=(ALICE, BOB), start: bool = True, **options) -> Instance:
        directory = self.base / f"instance-{len(self.made)}"
        instance = Instance(directory, **options)
        self.made.append(instance)
        RUNNING.append(instance)
        values = configuration.configuration(configuration.free_ports())
        # No test asks the servers of the world.
        values["resolverd"]["mode"] = "local"
        instance.make(configuration.merge(values, changes or {}))
        for address in users:
            instance.add_user(address)
        if start:
            instance.start()
        return instance

    def end(self) -> None:
        for instance in self.made:
            instance.stop()
            RUNNING.remove(instance)


def temporary_directory() -> Path:
    """A directory on a real disk (not tmpfs), with a short name: Unix sockets need that."""
    return Path(tempfile.mkdtemp(prefix="mlt-", dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None))


@pytest.fixture
def make_instance():
    """Makes instances that end with the test."""
    base = temporary_directory()
    factory = Factory(base)
    yield factory
    factory.end()
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def module_factory():
    """Makes instances that end with the module."""
    base = temporary_directory()
    factory = Factory(base)
    yield factory
    factory.end()
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def sink():
    """Another host's mail server, for example.net."""
    with Sink() as server:
        yield server


@pytest.fixture(scope="session")
def system(sink):
    """The instance that most tests share."""
    base = temporary_directory()
    factory = Factory(base)
    changes = {
        "queue-manager": {"retry-minimum": "1s", "retry-maximum": "2s"},
        "remote-relay": {"routes": {"example.net": f"127.0.0.1:{sink.port}"}},
    }
    instance = factory(changes, users=(ALICE, BOB, DAVE), start=False)
    instance.add_user(CAROL, None, "--format", "mbox")
    instance.start()
    yield instance
    factory.end()
    shutil.rmtree(base)
