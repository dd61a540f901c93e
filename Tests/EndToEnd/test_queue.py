"""What an administrator sees of the queue and does to it, with filters; pauses; completions."""

import json
import os
import subprocess

import pytest
from conftest import ALICE, BOB
from mail import queue, submit, token, wait_for, wait_until


PARTS = ("one", "large", "two")


def martlet(system, *arguments):
    return json.loads(system.martlet("queue", *arguments, "--json").stdout)


def mine(system, name):
    return [message for message in queue(system) if name in json.dumps(message)]


@pytest.fixture
def waiting(system, sink):
    """Three messages that wait because the other host says so: two of Alice's, of which one is large, and one of Bob's."""
    name = token()
    for part in PARTS:
        sink.replies[f"{name}.{part}"] = f"450 4.2.2 {name} is full"
    submit(system, ALICE, f"{name}.one@example.net")
    submit(system, ALICE, f"{name}.large@example.net", body="x" * 70 + "\n" + ("y" * 70 + "\n") * 900)
    submit(system, BOB, f"{name}.two@example.net")
    wait_until(lambda: len([m for m in mine(system, name) if m["recipients"][0].get("reason")]) == 3)
    yield name
    for part in PARTS:
        sink.replies.pop(f"{name}.{part}", None)
    system.martlet("queue", "remove", "--reason", name, check=False)


def test_filters(system, waiting):
    def found(*options):
        # Columns of the recipient, one line for each.
        lines = system.martlet("queue", "list", "--columns", "id,recipient,reason", "--reason", waiting, *options).stdout
        return sorted(line.split("\t")[1].split(".")[1].split("@")[0] for line in lines.splitlines())

    assert found() == ["large", "one", "two"]
    assert found("--larger", "50KiB") == ["large"]
    assert found("--smaller", "50KiB", "--sender", ALICE) == ["one"]
    assert found("--account", BOB) == ["two"]
    assert found("--recipient", "@example.net", "--newer", "1h", "--state", "deferred") == ["large", "one", "two"]
    assert found("--domain", "local") == [] and found("--older", "1d") == []
    failed = system.martlet("queue", "list", "--older", "soon", check=False)
    assert failed.returncode != 0 and "--older" in failed.stderr


def test_verbs_say_how_many(system, sink, waiting):
    refused = system.martlet("queue", "hold", check=False)
    assert refused.returncode != 0 and "--all" in refused.stderr
    assert martlet(system, "hold", "--reason", waiting, "--sender", ALICE)["count"] == 2
    assert martlet(system, "release", "--state", "held", "--reason", waiting, "--larger", "50KiB")["count"] == 1
    assert [message["state"] for message in mine(system, waiting)].count("held") == 1
    assert martlet(system, "reroute", "--recipient", f"{waiting}.two@example.net")["count"] == 1
    summary = martlet(system, "summary", "--reason", waiting)
    assert summary["messages"] == 3 and {"held"} <= {group["reason"] for group in summary["groups"]}
    assert "example.net" in system.martlet("queue", "watch", "--times", "1").stdout
    assert martlet(system, "remove", "--recipient", f"{waiting}.one@example.net")["count"] == 1
    del sink.replies[f"{waiting}.two"]
    assert martlet(system, "flush", "--recipient", f"{waiting}.two@example.net")["count"] == 1
    wait_until(lambda: len(mine(system, waiting)) == 1)


def test_history_and_expiry(system, waiting):
    entry = next(message for message in mine(system, waiting) if ".one@" in json.dumps(message))
    shown = system.martlet("queue", "show", entry["id"]).stdout
    assert "deferred 4.2.2 1 " in shown and f"{waiting} is full" in shown
    history = martlet(system, "show", entry["id"])["history"]
    assert history[0]["recipient"] == f"{waiting}.one@example.net"
    assert martlet(system, "expire", entry["id"])["count"] == 1
    report = wait_for(system, ALICE, f"{waiting}.one@example.net").as_string()
    assert "4.4.7" in report and f"{waiting} is full" in report


def test_pauses_outlive_a_kill(system, sink):
    name = token()
    system.martlet("queue", "pause", "--sender", BOB, "--for", "1h", "--reason", f"stolen {name}")
    try:
        submit(system, BOB, f"{name}@example.net")
        wait_until(lambda: mine(system, name))
        system.supervisor.kill("queue-manager")
        system.supervisor.wait_ready(["queue-manager"])
        wait_until(lambda: [message for message in mine(system, name) if message.get("paused")])
        assert f"stolen {name}" in system.martlet("queue", "pauses").stdout
        assert f"stolen {name}" in system.martlet("queue", "summary").stdout
        assert not [message for message in sink.messages if f"{name}@example.net" in message.recipients]
        other = token()
        submit(system, ALICE, f"{other}@example.net")
        wait_until(lambda: [message for message in sink.messages if f"{other}@example.net" in message.recipients])
    finally:
        assert martlet(system, "resume", "--sender", BOB)["count"] == 1
    wait_until(lambda: [message for message in sink.messages if f"{name}@example.net" in message.recipients])
    assert martlet(system, "pauses") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(system, shell):
    script = system.martlet("--generate-completion-script", shell).stdout
    for word in ("queue", "reroute", "pause", "older"):
        assert word in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def traced(system, *arguments, check: bool = True, **environment):
    """What `martlet trace` says, and the lines."""
    command = [str(system.programs / "martlet"), "--instance", str(system.directory), "trace", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert not check or done.returncode == 0, done.stderr
    return json.loads(done.stdout or "[]")


def test_trace_follows_a_message_to_its_report(system, sink, tmp_path):
    name = token()
    sink.replies[name] = "550 5.1.1 no such user"
    try:
        subject = submit(system, ALICE, f"{name}@example.net")
        wait_for(system, ALICE, f"{name}@example.net")
    finally:
        del sink.replies[name]

    def whole():
        lines = traced(system, f"<{subject}@client.example.test>", check=False)
        texts = [line["text"] for line in lines]
        # The message and its report.
        return lines if sum("left the queue" in text for text in texts) == 2 else None

    lines = wait_until(whole)
    assert {"smtpd", "queue-manager", "remote-relay"} <= {line["daemon"] for line in lines}
    assert lines == sorted(lines, key=lambda line: line["time"])
    texts = [line["text"] for line in lines]
    identifier = next(text for text in texts if "message accepted" in text).split(" id=")[1].split()[0]
    report = next(text for text in texts if "reported" in text).split("report=")[1].split()[0]
    assert any(f"{report} delivered" in text for text in texts)
    # By its ID, and by the addresses of either end.
    assert traced(system, identifier) == lines
    assert {line["text"] for line in lines} <= {line["text"] for line in traced(system, f"{name}@example.net")}
    assert {line["text"] for line in lines} <= {line["text"] for line in traced(system, ALICE, "--since", "1h")}
    assert "delivered" in system.martlet("trace", identifier).stdout
    assert system.martlet("trace", "0" * 24, check=False).returncode != 0
    # The same from the journal of systemd: one that says what the logs say.
    entries = [
        {"__REALTIME_TIMESTAMP": str(1_796_030_000_000_000 + number), "_SYSTEMD_UNIT": f"martlet-{line['daemon']}.service"}
        | {"MESSAGE": line["text"] if number % 2 else list(line["text"].encode())}
        for number, line in enumerate(lines)
    ]
    journal = tmp_path / "journalctl"
    journal.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(json.dumps(entry) for entry in entries) + "\nEND\n")
    journal.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = traced(system, identifier, "--journal", PATH=path)
    assert [(line["daemon"], line["text"]) for line in found] == [(line["daemon"], line["text"]) for line in lines]
    assert found[1]["time"] == "2026-11-30T09:13:20.000001Z"


def test_fsck_of_a_spool_that_is_in_use_and_of_one_that_is_not(make_instance):
    instance = make_instance()
    busy = instance.martlet("queue", "fsck", check=False)
    assert busy.returncode != 0 and "in use" in busy.stderr
    instance.supervisor.down("queue-manager")
    wait_until(lambda: instance.supervisor.pid("queue-manager") is None)
    assert json.loads(instance.martlet("queue", "fsck", "--json").stdout)["findings"] == []
    stray = instance.directory / "spool" / "state" / "00"
    stray.mkdir(parents=True, exist_ok=True)
    (stray / ("0" * 24)).write_text("x\n")
    owner = (instance.directory / "spool").stat()
    for path in (stray, stray / ("0" * 24)):
        os.chown(path, owner.st_uid, owner.st_gid)
    found = instance.martlet("queue", "fsck", check=False)
    assert found.returncode != 0 and f"spool/state/00/{'0' * 24}" in found.stdout
    assert "(mended)" in instance.martlet("queue", "fsck", "--repair").stdout
    instance.supervisor.up("queue-manager")
    instance.supervisor.wait_ready(["queue-manager"])
    assert queue(instance) == []
