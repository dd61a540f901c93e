"""Modification sequences (CONDSTORE, QRESYNC): neomutt with its header cache, and imaplib across a killed mailbox process."""

import os
import pty
import re
import subprocess

import pytest
from mail import compose, imap, token

NINA = "nina@example.test"


def ok(answer):
    """The data of an answer that must be OK."""
    assert answer[0] == "OK", answer
    return answer[1]


@pytest.fixture
def folder(system):
    """A folder of its own with six messages."""
    if NINA not in system.passwords:
        system.add_user(NINA)
    client = imap(system, NINA)
    name = f"changes{token()}"
    ok(client.create(name))
    for number in range(6):
        message = compose("someone@example.org", NINA, body=f"number {number}\n")
        ok(client.append(name, "", None, message.as_bytes()))
    client.logout()
    return name


def resynchronize(system, name: str, validity: int, since: int):
    """What a client hears that comes back: UIDs that are gone, and flags by UID; and the sequence by then."""
    client = imap(system, NINA)
    ok(client.enable("QRESYNC"))
    client.state = "AUTH"
    ok(client._simple_command("SELECT", name, f"(QRESYNC ({validity} {since}))"))
    client.state = "SELECTED"
    gone = [line.decode() for line in client.untagged_responses.get("VANISHED", [])]
    flags = {}
    for line in client.untagged_responses.get("FETCH", []):
        found = re.search(rb"UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)", line)
        flags[int(found[1])] = found[2].replace(b"\\Recent", b"").strip().decode()
    highest = int(client.response("HIGHESTMODSEQ")[1][-1])
    client.logout()
    return gone, flags, highest


def state(system, name: str) -> tuple[int, int]:
    client = imap(system, NINA)
    ok(client.select(name))
    validity, highest = (int(client.response(code)[1][-1]) for code in ("UIDVALIDITY", "HIGHESTMODSEQ"))
    client.logout()
    return validity, highest


def test_kill_and_restart(system, folder):
    """What a client knows stays good when the mailbox process is killed, and when the file of sequences is deleted."""
    validity, before = state(system, folder)
    client = imap(system, NINA)
    ok(client.select(folder))
    ok(client.store("2", "+FLAGS", "(\\Flagged)"))
    ok(client.store("5", "+FLAGS", "(\\Deleted)"))
    assert system.supervisor.kill("imapd-mailbox")
    system.supervisor.wait_ready(["imapd-mailbox"])
    gone, flags, highest = resynchronize(system, folder, validity, before)
    assert (gone, flags) == ([], {2: "\\Flagged", 5: "\\Deleted"}) and highest > before
    client = imap(system, NINA)
    ok(client.select(folder))
    ok(client.expunge())
    client.logout()
    # As if Dovecot had done it, while nobody looks.
    assert system.supervisor.kill("imapd-mailbox")
    directory = next(system.directory.glob(f"mail/**/.{folder}"))
    file = sorted((directory / "cur").iterdir())[0]
    file.rename(file.with_name(file.name + "S"))
    system.supervisor.wait_ready(["imapd-mailbox"])
    gone, flags, last = resynchronize(system, folder, validity, highest)
    assert gone == ["(EARLIER) 5"] and len(flags) == 1 and set(flags.values()) <= {"\\Seen", "\\Flagged \\Seen"}
    assert last > highest
    gone, flags, now = resynchronize(system, folder, validity, last)
    assert (gone, flags, now) == ([], {}, last)
    assert system.supervisor.kill("imapd-mailbox")
    (directory / "martlet-changes").unlink()
    system.supervisor.wait_ready(["imapd-mailbox"])
    gone, flags, anew = resynchronize(system, folder, validity, last)
    assert gone == ["(EARLIER) 5"] and sorted(flags) == [1, 2, 3, 4, 6] and anew > last


def test_identifiers(system, folder):
    """What a message is called stays when it's moved, and what a folder is called when it's renamed."""
    client = imap(system, NINA)
    other = f"other{token()}"
    made = re.search(rb"\[MAILBOXID \((F[0-9a-f]+)\)\]", ok(client.create(other))[0])[1]
    assert ok(client.status(other, "(MAILBOXID)"))[0].endswith(b"(MAILBOXID (" + made + b"))")
    ok(client.select(folder))
    names = [re.search(rb"EMAILID \((M[0-9a-f]+)\)", line)[1] for line in ok(client.fetch("1:*", "(EMAILID)"))]
    assert len(set(names)) == 6
    ok(client.copy("2", other))
    ok(client.uid("MOVE", "3", other))
    ok(client.rename(other, f"renamed{other}"))
    ok(client.select(f"renamed{other}"))
    assert client.response("MAILBOXID")[1] == [b"(" + made + b")"]
    assert [re.search(rb"EMAILID \((M[0-9a-f]+)\)", line)[1] for line in ok(client.fetch("1:*", "(EMAILID)"))] == names[1:3]
    assert ok(client.search(None, "EMAILID", names[2].decode())) == [b"2"]
    assert re.search(rb'SAVEDATE "[^"]+"', ok(client.fetch("1", "(SAVEDATE)"))[0])
    client.logout()


def neomutt(system, directory, name: str) -> str:
    """Opens the folder, and quits; what neomutt and the server said to each other."""
    settings = {
        "folder": f"imaps://localhost:{system.ports['imaps']}/",
        "spoolfile": f"+{name}",
        "imap_user": NINA,
        "imap_pass": system.passwords[NINA],
        "ssl_force_tls": "yes",
        "certificate_file": str(system.directory / "etc/tls/certificate.pem"),
        "ssl_ca_certificates_file": "",
        "ssl_usesystemcerts": "no",
        "ssl_verify_host": "no",
        "imap_condstore": "yes",
        "imap_qresync": "yes",
        "header_cache": str(directory / "cache"),
        "quit": "yes",
    }
    (directory / "cache").mkdir(exist_ok=True)
    lines = [f'set {key} = "{value}"' for key, value in settings.items()]
    (directory / "neomuttrc").write_text("\n".join([*lines, 'push "<quit>"']) + "\n")
    log = directory / "log"
    mine, theirs = pty.openpty()
    command = ["neomutt", "-n", "-F", directory / "neomuttrc", "-d", "5", "-l", log]
    environment = {**os.environ, "TERM": "vt100", "HOME": str(directory), "LANG": "C.UTF-8"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True) as process:
        os.close(theirs)
        screen = b""
        try:
            while octets := os.read(mine, 65536):
                screen += octets
                # The certificate is asked about once.
                if b"ccept" in octets and b"eject" in octets:
                    os.write(mine, b"o")
        except OSError:
            pass  # the terminal is closed when neomutt ends
        assert process.wait(timeout=60) == 0, screen
    os.close(mine)
    # It keeps logs of earlier runs under other numbers.
    [newest] = directory.glob("log*")
    text = newest.read_text(errors="replace")
    newest.unlink()
    return text


@pytest.mark.timeout(120)
def test_neomutt(system, folder, tmp_path):
    """neomutt remembers the mailbox, and asks only for what has changed."""
    first = neomutt(system, tmp_path, folder)
    assert "QRESYNC" in first and first.count("BODY.PEEK[HEADER.FIELDS") > 0
    client = imap(system, NINA)
    ok(client.select(folder))
    ok(client.store("1", "+FLAGS", "(\\Flagged)"))
    ok(client.store("3:4", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    client.logout()
    second = neomutt(system, tmp_path, folder)
    assert re.search(r"UID FETCH 1:6 \(FLAGS\) \(CHANGEDSINCE \d+ VANISHED\)", second)
    assert "* VANISHED (EARLIER) 3:4" in second
    assert re.search(r"FETCH \(UID 1 FLAGS \(\\Flagged[^)]*\) MODSEQ \(\d+\)\)", second)
