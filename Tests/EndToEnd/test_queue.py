"""What an administrator sees of the queue and does to it, with filters; pauses; completions."""

import json
import os
import subprocess

import pytest
from conftest import ALICE, BOB
from mail import imap, pop3, queue, submit, token, wait_for, wait_until
from test_commands import sendmail


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


BASH = """
source "$1"
line=$2
read -ra COMP_WORDS <<<"$line"
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9 COMP_KEY=9
cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
$(complete -p martlet | sed -E 's/.*-F ([^ ]+).*/\\1/') martlet "$cur" "$prev"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(system, waiting, tmp_path, shell):
    script = tmp_path / "script"
    script.write_text(system.martlet("--generate-completion-script", shell).stdout)
    assert subprocess.run([shell, "-n", script], check=False).returncode == 0
    if shell == "zsh":
        # It completes in a terminal alone.
        return
    environment = {
        "PATH": f"{system.programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "MARTLET_INSTANCE": str(system.directory),
    }

    def offered(line):
        command = {
            "bash": ["bash", "--norc", "-c", BASH, "bash", script, line],
            "fish": ["fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line],
        }[shell]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return {line.split("\t")[0].strip() for line in done.stdout.splitlines()}

    assert {"reroute", "release", "remove"} <= offered("martlet queue re")
    if shell == "fish":
        # The rest asks fish where the cursor is, which it tells in a terminal alone.
        return
    assert {message["id"] for message in mine(system, waiting)} <= offered("martlet queue show ")
    assert BOB in offered("martlet queue list --sender ")
    assert "example.net" in offered("martlet queue flush --destination ")
    assert "paused" in offered("martlet queue list --state ")
    assert {"id", "recipient"} <= offered("martlet queue list --columns ")


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


def test_trace_goes_to_the_reader_that_removed_it(system):
    name, other = token(), token()
    # One is moved and expunged by IMAP with another, one deleted by POP3, one handed in by a local program.
    subjects = [submit(system, ALICE, BOB, body=f"{word}\n") for word in (name, other)]
    for word in (name, other):
        wait_for(system, BOB, word)
    with imap(system, BOB) as client:
        client.select("INBOX")
        client.create(f"T{name}")
        # In one command with the other.
        numbers = b",".join(client.search(None, "BODY", word)[1][0] for word in (name, other))
        assert client.uid("MOVE", b",".join(client.uid("SEARCH", None, numbers.decode())[1][0].split()), f"T{name}")[0] == "OK"
        client.select(f"T{name}")
        client.store("1:*", "+FLAGS", "\\Deleted")
        assert client.expunge()[0] == "OK"
        client.select("INBOX")
        client.delete(f"T{name}")

    def texts(what, words):
        found = [(line["daemon"], line["text"]) for line in traced(system, what, check=False)]
        return found if any(words in text for _, text in found) else None

    found = wait_until(lambda: texts(f"<{subjects[0]}@client.example.test>", "messages expunged"))
    identifier = next(text for _, text in found if "message accepted" in text).split(" id=")[1].split()[0]
    assert ["smtpd", "queue-manager", "local-deliver", "imapd-mailbox"] == sorted(
        {daemon for daemon, _ in found}, key=["smtpd", "queue-manager", "local-deliver", "imapd-mailbox"].index
    )
    moved = next(text for _, text in found if "messages moved" in text)
    assert f"address={BOB}" in moved and "folder=INBOX" in moved and f"to=T{name}" in moved
    delivered = next(text for daemon, text in found if daemon == "local-deliver")
    file = delivered.split(" file=")[1].split()[0]
    assert identifier in file and file in moved
    # What was removed with it is no part of its life.
    assert not any(subjects[1] in text for _, text in found)
    assert wait_until(lambda: texts(identifier, "messages expunged")) == found

    subject = token()
    letter = f"From: {ALICE}\nTo: {BOB}\nSubject: {subject}\nMessage-ID: <{subject}@program.example>\n\nHello\n"
    sendmail(system, BOB, input=letter)
    wait_for(system, BOB, subject)
    reader = pop3(system, BOB)
    for number in range(1, len(reader.list()[1]) + 1):
        if subject.encode() in b"".join(reader.top(number, 0)[1]):
            reader.dele(number)
    reader.quit()
    found = wait_until(lambda: texts(f"<{subject}@program.example>", "messages deleted"))
    assert any("accepted" in text and "uid=" in text for _, text in found)
    assert any("left the queue" in text for _, text in found)


def test_trace_of_what_the_administrator_ends(system, waiting):
    """In the words of the daemons."""
    ids = {part: next(m["id"] for m in mine(system, waiting) if f"{waiting}.{part}@" in json.dumps(m)) for part in PARTS}
    ends = {"one": ("expire", "expired"), "large": ("bounce", "returned"), "two": ("remove", "removed")}
    for part, (verb, word) in ends.items():
        assert martlet(system, verb, ids[part])["count"] == 1

        def whole():
            texts = [line["text"] for line in traced(system, ids[part], check=False)]
            is_told = any(f'"{ids[part]} reported"' in text for text in texts)
            return texts if any("left the queue" in text for text in texts) and is_told == (part != "two") else None

        texts = wait_until(whole, what=f"the trace of what was {word}")
        assert any(f"{ids[part]} {word} by the administrator" in text for text in texts)
        assert any("deferred" in text and f"{waiting} is full" in text for text in texts)


# What logs say of messages with every kind of ending: for each its lines, and by what it's found.
LIVES = {
    "relayed": [
        ("smtpd", 'level=info msg="message accepted" id={id} message-id=<{name}@client.example> sender=<{name}@example.test>'),
        ("queue-manager", 'level=info msg="{id} accepted" sender=<{name}@example.test>'),
        ("remote-relay", "level=info msg=delivery id={id} recipient=<r{name}@example.net> result=relayed"),
        ("queue-manager", 'level=info msg="{id} left the queue"'),
    ],
    "reported": [
        ("queue-manager", 'level=info msg="{id} accepted" message-id=<{name}@program.example> uid=1000'),
        ("queue-manager", 'level=info msg="{id} failed" recipient=<r{name}@example.net>'),
        ("queue-manager", 'level=info msg="{id} reported" message-id=<{other}@mail.example.test> report={other} sender=<{name}@example.test>'),
        ("queue-manager", 'level=info msg="{other} delivered" recipient=<{name}@example.test>'),
        ("local-deliver", "level=info msg=delivery file=1795451600.Q{other}.k1. id={other} recipient=<{name}@example.test>"),
    ],
    "removed": [
        ("queue-manager", 'level=info msg="{id} accepted" sender=<{name}@example.test>'),
        ("queue-manager", 'level=notice msg="{id} removed by the administrator"'),
    ],
    "refused": [("smtpd", 'level=notice msg="message refused" message-id=<{name}@client.example> sender=<{name}@example.test>')],
    "expunged": [
        ("smtpd", 'level=info msg="message accepted" id={id} message-id=<{name}@client.example>'),
        ("local-deliver", "level=info msg=delivery file=1795451600.Q{id}.k1. id={id} recipient=<{name}@example.test>"),
        ("imapd-mailbox", 'level=info msg="messages moved" address=bob@example.test files="1795451600.Q{id}.k1.host 1795451600.Q{stranger}.k1.host" to=Trash'),
        ("imapd-mailbox", 'level=info msg="messages expunged" address=bob@example.test files=1795451600.Q{id}.k1.host'),
    ],
    "deleted": [
        ("local-deliver", "level=info msg=delivery file=1795451600.Q{id}.k1. id={id} recipient=<{name}@example.test>"),
        ("pop3d-mailbox", 'level=info msg="messages deleted" address=bob@example.test files=1795451600.Q{id}.k1.host'),
    ],
    "forwarded": [
        ("queue-manager", 'level=info msg="{id} accepted" sender=<{name}@example.test>'),
        ("queue-manager", 'level=info msg="{other} accepted" origin={id}.1.k sender=<{name}@example.test>'),
        ("remote-relay", "level=info msg=delivery id={other} recipient=<r{name}@example.net> result=relayed"),
    ],
}


@pytest.mark.parametrize("form", ["s6", "journal"])
def test_trace_of_every_ending(system, tmp_path, form):
    entries, lives = [], {}
    for number, (ending, lines) in enumerate(LIVES.items()):
        words = {"id": f"0sgf89pb8kxgx38phk{number:06}", "other": f"0sgf89pb8kxgx38phm{number:06}", "name": f"n{ending}"}
        words["stranger"] = "0sgf89pb8kxgx38phn000000"
        lives[ending] = words, [(daemon, text.format(**words)) for daemon, text in lines]
        entries += lives[ending][1]
    entries.append(("local-deliver", "level=info msg=delivery id=0sgf89pb8kxgx38phn000000 recipient=<x@example.test>"))
    arguments, environment = ["--instance", str(tmp_path)], {}
    if form == "s6":
        for number, (daemon, text) in enumerate(entries):
            (tmp_path / "log" / daemon).mkdir(parents=True, exist_ok=True)
            with open(tmp_path / "log" / daemon / "current", "a") as log:
                log.write(f"2026-11-30 09:16:39.{number:09}  {text}\n")
    else:
        journal = tmp_path / "journalctl"
        written = [
            json.dumps({"__REALTIME_TIMESTAMP": str(1_796_030_000_000_000 + number), "_SYSTEMD_UNIT": f"martlet-{daemon}.service", "MESSAGE": text})
            for number, (daemon, text) in enumerate(entries)
        ]
        journal.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(written) + "\nEND\n")
        journal.chmod(0o755)
        arguments, environment = [*arguments, "--journal"], {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for ending, (words, lines) in lives.items():
        whats = [words["id"]] if ending != "refused" else []
        whats += [name for name in (f"<{words['name']}@client.example>", f"<{words['name']}@program.example>") if any(name in text for _, text in lines)]
        whats += [f"{words['name']}@example.test"] if any(f"<{words['name']}@example.test>" in text for _, text in lines) else []
        if ending == "reported":
            whats.append(f"<{words['other']}@mail.example.test>")
        for what in whats:
            done = subprocess.run(
                [str(system.programs / "martlet"), "trace", *arguments, "--json", what],
                capture_output=True, text=True, env={**os.environ, **environment},
            )
            found = [(line["daemon"], line["text"]) for line in json.loads(done.stdout or "[]")]
            assert found == lines, (ending, what, done.stderr)


@pytest.fixture(scope="module")
def instance(module_factory):
    """One whose queue-manager goes down and comes up."""
    # Nobody listens there.
    return module_factory(
        {"remote-relay": {"routes": {"example.net": "127.0.0.1:1"}}, "queue-manager": {"disabled-accounts": "wait"}}
    )


def test_mail_of_a_disabled_account_waits(instance):
    name = token()
    submit(instance, BOB, f"{name}@example.net")
    message = wait_until(lambda: [m for m in mine(instance, name) if m["state"] == "deferred"])[0]
    instance.martlet("user", "disable", BOB)

    def waits():
        instance.martlet("queue", "flush", message["id"])
        return [m for m in mine(instance, name) if m.get("paused") == "paused: the account is disabled"]

    waiting = wait_until(waits)[0]
    assert [m["id"] for m in martlet(instance, "list", "--state", "paused")] == [message["id"]]
    instance.martlet("user", "enable", BOB)
    # It goes on by itself.
    wait_until(lambda: [m for m in mine(instance, name) if m["attempts"] > waiting["attempts"]])
    instance.martlet("queue", "remove", message["id"])


def test_fsck_of_a_spool_that_is_in_use_and_of_one_that_is_not(instance):
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


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_verbs_on_a_full_disk(instance):
    spool = instance.directory / "spool"
    owner = spool.stat()
    instance.supervisor.down("queue-manager")
    wait_until(lambda: instance.supervisor.pid("queue-manager") is None)
    options = f"size=24m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", spool]).returncode != 0:
        instance.supervisor.up("queue-manager")
        instance.supervisor.wait_ready(["queue-manager"])
        pytest.skip("nothing can be mounted here")
    try:
        instance.supervisor.up("queue-manager")
        instance.supervisor.wait_ready(["queue-manager"])
        name = token()
        submit(instance, ALICE, f"{name}@example.net")
        identifier = wait_until(lambda: [m["id"] for m in mine(instance, name) if m["state"] == "deferred"])[0]
        wait_until(lambda: list(spool.glob(f"queue/*/{identifier}")))
        with open(spool / "ballast", "wb") as ballast, pytest.raises(OSError):
            while True:
                ballast.write(bytes(1 << 20))
                ballast.flush()
        refused = instance.martlet("queue", "pause", "--sender", ALICE, check=False)
        assert refused.returncode != 0 and "no space" in refused.stderr
        # What makes room can always be done.
        instance.martlet("queue", "remove", identifier)
        assert mine(instance, name) == []
        instance.supervisor.down("queue-manager")
        wait_until(lambda: instance.supervisor.pid("queue-manager") is None)
    finally:
        subprocess.run(["umount", "-l", spool], check=True)
    instance.supervisor.up("queue-manager")
    instance.supervisor.wait_ready(["queue-manager"])
    assert queue(instance) == []
