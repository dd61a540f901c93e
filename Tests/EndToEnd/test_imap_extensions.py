"""imapd's extensions with clients that nobody here wrote: imaplib, Perl's Mail::IMAPClient, mbsync, offlineimap, getmail."""

import imaplib
import io
import os
import re
import subprocess
import threading
import time
import zlib

import pytest
from conftest import ALICE
from mail import compose, imap, read, token, trust, wait_until

# imaplib asks only for what it knows.
for command in ("COMPRESS", "ESEARCH", "SORT", "THREAD"):
    imaplib.Commands.setdefault(command, ("AUTH", "SELECTED"))

JUDY = "judy@example.test"
KIM = "kim@example.test"


def ok(answer):
    """The data of an answer that must be OK."""
    assert answer[0] == "OK", answer
    return answer[1]


class Inflated(io.RawIOBase):
    """What a socket hears, by zlib's raw DEFLATE (RFC 4978)."""

    def __init__(self, connection):
        self.connection = connection
        self.inflater = zlib.decompressobj(-15)
        self.rest = b""

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self.rest:
            octets = self.connection.recv(65536)
            if not octets:
                return 0
            self.rest = self.inflater.decompress(octets)
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


class CompressedIMAP(imaplib.IMAP4_SSL):
    """imaplib with COMPRESS=DEFLATE."""

    deflater = None

    def compress(self):
        ok(self._simple_command("COMPRESS", "DEFLATE"))
        self.deflater = zlib.compressobj(wbits=-15)
        self.file = io.BufferedReader(Inflated(self.sock))

    def send(self, data):
        if self.deflater:
            data = self.deflater.compress(data) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        super().send(data)


@pytest.fixture
def client(system):
    if JUDY not in system.passwords:
        system.add_user(JUDY)
    client = imap(system, JUDY)
    yield client
    try:
        client.logout()
    except (imaplib.IMAP4.error, OSError):
        pass


def letter(subject: str, day: int, *, reply: str | None = None, sender: str = "someone@example.org") -> bytes:
    message = compose(sender, JUDY, body=f"about {subject}\n")
    del message["Subject"]
    message["Subject"] = subject
    message["Date"] = f"{day:02} Mar 2026 12:00:00 +0000"
    if reply:
        message["In-Reply-To"] = reply
    return message.as_bytes()


@pytest.fixture
def folder(client):
    """A folder with two threads, selected: 3 answers 2, 1 is alone."""
    name = token()
    ok(client.create(name))
    first = letter("Re: zebra", 1, sender="zoe@example.org")
    second = letter("apple", 3, sender="bob@example.org")
    third = letter("Re: apple", 2, reply=read(second)["Message-ID"], sender="amy@example.org")
    for message in (first, second, third):
        ok(client.append(name, "", imaplib.Time2Internaldate(time.time()), message))
    ok(client.select(name))
    return name


def test_capabilities(client):
    """imaplib asks again after the login."""
    announced = set(ok(client.capability())[0].decode().split())
    assert {"IMAP4rev1", "IMAP4rev2", "SORT", "THREAD=REFERENCES", "COMPRESS=DEFLATE", "LIST-EXTENDED", "QUOTA"} <= announced
    assert {"CONDSTORE", "QRESYNC"} <= announced


def test_sort_and_thread(client, folder):
    assert ok(client.sort("(DATE)", "UTF-8", "ALL")) == [b"1 3 2"]
    assert ok(client.sort("(REVERSE SUBJECT DATE)", "UTF-8", "ALL")) == [b"1 3 2"]
    assert ok(client.sort("(FROM)", "UTF-8", "NOT", "FROM", "zoe")) == [b"3 2"]
    assert ok(client.thread("REFERENCES", "UTF-8", "ALL")) == [b"(1)(2 3)"]
    assert ok(client.uid("THREAD", "REFS", "UTF-8", "ALL")) == [b"(1)(2 3)"]


def test_fuzzy_search_and_annotations(client, folder):
    assert ok(client.search(None, "FUZZY", "SUBJECT", '"apple pie"')) == [b"2 3"]
    assert ok(client.search(None, "SUBJECT", '"ap\u0070LE"')) == [b"2 3"]
    ok(client.xatom("SETMETADATA", folder, '(/private/comment "mine")'))
    ok(client.xatom("GETMETADATA", folder, "/private/comment"))
    assert client.response("METADATA")[1] == [f'{folder} (/private/comment "mine")'.encode()]


def test_unauthenticate(system, client):
    """One connection for several users."""
    ok(client.create(token()))
    ok(client.xatom("UNAUTHENTICATE"))
    client.state = "NONAUTH"
    with pytest.raises(imaplib.IMAP4.error):
        client.login(KIM, "wrong")
    if KIM not in system.passwords:
        system.add_user(KIM)
    ok(client.login(KIM, system.passwords[KIM]))
    assert len(ok(client.list())) >= 1
    ok(client.select())


def test_quota(system, client):
    assert ok(client.getquotaroot("INBOX"))[0] == [b"INBOX"]
    limited = "limited@example.test"
    if limited not in system.passwords:
        system.add_user(limited, None, "--quota", "100KiB")
    other = imap(system, limited)
    ok(other.append("INBOX", "", None, letter("x", 1) + b"y" * 5000))
    roots, quotas = ok(other.getquotaroot("INBOX"))
    assert roots == [b'INBOX "User quota"']
    used, limit = map(int, re.search(rb"STORAGE (\d+) (\d+)", quotas[0]).groups())
    assert 5 <= used <= 7 and limit == 100
    assert ok(other.getquota('"User quota"')) == quotas
    status, data = other.append("INBOX", "", None, b"Subject: x\n\n" + b"y" * 110_000)
    assert status == "NO" and b"OVERQUOTA" in data[0]
    other.logout()


def test_list_extended(client):
    parent, child = token(), token()
    for name in (parent, f"{parent}.{child}"):
        ok(client.create(name))
    ok(client.subscribe(f"{parent}.{child}"))
    _, listed = client._simple_command("LIST", "(SUBSCRIBED RECURSIVEMATCH)", '""', f'"{parent}*"')
    found = client._untagged_response("OK", listed, "LIST")[1]
    assert any(parent.encode() in line and b'"CHILDINFO" ("SUBSCRIBED")' in line for line in found), found
    assert any(child.encode() in line and b"\\Subscribed" in line for line in found), found


def test_multiappend_and_catenate(client, folder):
    """Two messages in one command, then a third out of one of them; imaplib has no method for either."""
    one, two = (letter(subject, 5).replace(b"\n", b"\r\n") for subject in ("first", "second"))
    client.send(b"X1 APPEND %s (\\Seen) {%d+}\r\n%s (\\Flagged) {%d+}\r\n%s\r\n" % (
        folder.encode(), len(one), one, len(two), two))  # fmt: skip
    answer = wait_for_tag(client, b"X1")
    assert b"OK [APPENDUID" in answer and b"4:5]" in answer
    url = b"/%s/;UID=5/;SECTION=TEXT" % folder.encode()
    client.send(b"X2 APPEND %s CATENATE (TEXT {14+}\r\nSubject: new\r\n TEXT {2+}\r\n\r\n URL \"%s\")\r\n" % (folder.encode(), url))
    assert b"OK" in wait_for_tag(client, b"X2")
    ok(client.noop())
    data = ok(client.fetch("6", "(BODY.PEEK[])"))
    assert data[0][1] == b"Subject: new\r\n\r\nabout second\r\n"


def wait_for_tag(client, tag: bytes) -> bytes:
    while True:
        line = client.readline()
        assert line, "the connection ended"
        if line.startswith(tag):
            return line


def test_compressed_session(system, client, folder):
    other = CompressedIMAP("localhost", system.ports["imaps"], ssl_context=trust(system), timeout=30)
    other.login(JUDY, system.passwords[JUDY])
    other.compress()
    ok(other.select(folder))
    body = os.urandom(50_000).hex().encode()
    ok(other.append(folder, "", None, b"Subject: large\r\n\r\n" + body + b"\r\n"))
    ok(other.noop())
    data = ok(other.fetch("4", "(BODY.PEEK[TEXT])"))
    assert data[0][1] == body + b"\r\n"
    assert ok(other.search(None, "SUBJECT", "large")) == [b"4"]
    other.logout()


def test_deleted_under_a_session(system, client):
    """The one who deletes hears OK, the other BYE, also in IDLE."""
    name = token()
    ok(client.create(name))
    other = imap(system, JUDY)
    ok(other.select(name))
    other.send(b"i IDLE\r\n")
    assert other.readline().startswith(b"+")
    ok(client.delete(name))
    heard = b""
    while line := other.readline():
        heard = line
    assert heard.startswith(b"* BYE [NONEXISTENT]")
    other.shutdown()


@pytest.fixture(scope="module")
def plain(module_factory):
    """An instance to which clients without TLS may log in on this machine."""
    return module_factory({"imapd": {"allow-plaintext-on-loopback": True}}, users=(ALICE, KIM))


PERL = r"""
use strict; use warnings;
use Mail::IMAPClient;
my ($port, $user, $password) = @ARGV;
my $imap = Mail::IMAPClient->new(
    Server => "127.0.0.1", Port => $port, User => $user, Password => $password, Uid => 1, Peek => 1, Timeout => 30,
) or die "login: $@";
for my $name (qw(SORT THREAD=REFERENCES COMPRESS=DEFLATE IDLE UIDPLUS QUOTA)) {
    $imap->has_capability($name) or die "no $name";
}
$imap->compress or die "compress: " . $imap->LastError;
$imap->create("Perl") or die $imap->LastError;
my @uids;
for my $subject ("Re: b", "a", "b") {
    my $message = "From: x\@y.test\r\nSubject: $subject\r\n\r\nbody of $subject\r\n" . ("line\r\n" x 5000);
    push @uids, $imap->append_string("Perl", $message, "\\Seen") or die $imap->LastError;
}
$imap->select("Perl") or die $imap->LastError;
my $sorted = join " ", $imap->sort("SUBJECT REVERSE ARRIVAL", "UTF-8", "ALL");
my $threads = join "|", map { join ",", @$_ } @{ $imap->thread("REFERENCES", "UTF-8", "ALL") };
my $text = $imap->body_string($uids[1]);
$text =~ /^body of a\r\n/ && length($text) == 11 + 6 * 5000 or die "body of " . length($text);
my @folders = $imap->folders;
$imap->copy("INBOX", $uids[1]) or die $imap->LastError;
$imap->move("INBOX", $uids[0]) or die $imap->LastError;
$imap->delete_message($uids[2]) or die $imap->LastError;
$imap->expunge or die $imap->LastError;
my $left = $imap->message_count("Perl");
$imap->logout;
print "sorted=$sorted threads=$threads folders=@folders left=$left uids=@uids\n";
"""


def test_perl_client(plain):
    words = ["perl", "-e", PERL, str(plain.ports["imap"]), KIM, plain.passwords[KIM]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = dict(re.findall(r"(\w+)=(.*?)(?= \w+=|\n)", done.stdout))
    first, second, third = said["uids"].split()
    assert said["sorted"].split()[0] == second and set(said["sorted"].split()) == {first, second, third}
    assert said["threads"] == f"{second}|{third},{first}"
    assert "Perl" in said["folders"].split() and said["left"] == "1"


def offlineimap_settings(system, address: str, directory) -> str:
    return f"""\
[general]
accounts = here
metadata = {directory}/metadata
ui = basic

[Account here]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {directory}/mail

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {system.ports["imaps"]}
ssl = yes
sslcacertfile = {system.certificate}
remoteuser = {address}
remotepass = {system.passwords[address]}
usecompression = yes
"""


def test_offlineimap(system, client, folder, tmp_path):
    """Two-way, with compression."""
    settings = tmp_path / "offlineimaprc"
    settings.write_text(offlineimap_settings(system, JUDY, tmp_path))
    words = ["offlineimap", "-o", "-c", str(settings)]

    def run():
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)}
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run()
    local = tmp_path / "mail" / folder
    copies = [path for part in ("new", "cur") for path in (local / part).iterdir()]
    assert {read(path.read_bytes())["Subject"] for path in copies} == {"Re: zebra", "apple", "Re: apple"}
    mine = letter("written here", 9)
    (local / "new" / f"{int(time.time())}.1.here").write_bytes(mine)
    run()
    ok(client.noop())
    assert ok(client.search(None, "SUBJECT", '"written here"')) == [b"4"]


def test_getmail(system, client, folder, tmp_path):
    """It keeps what it has by UIDs."""
    mail = tmp_path / "mail"
    (tmp_path / "getmailrc").write_text(
        f"""\
[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = {system.ports["imaps"]}
username = {JUDY}
password = {system.passwords[JUDY]}
mailboxes = ("{folder}",)
ca_certs = {system.certificate}

[destination]
type = MDA_external
path = /usr/bin/tee
arguments = ("-a", "{mail}")
ignore_stderr = true
allow_root_commands = true

[options]
read_all = false
"""
    )
    words = ["getmail", "--getmaildir", str(tmp_path), "--rcfile", "getmailrc"]
    for _ in range(2):
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)}
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall("^Subject: ", mail.read_text(), re.MULTILINE)) == 3


def test_idle_in_a_compressed_session(system, client, folder):
    """What happens is told at once, also through zlib."""
    other = CompressedIMAP("localhost", system.ports["imaps"], ssl_context=trust(system), timeout=30)
    other.login(JUDY, system.passwords[JUDY])
    other.compress()
    ok(other.select(folder))
    other.send(b"i IDLE\r\n")
    assert other.readline().startswith(b"+")
    heard = []

    def listen():
        while not heard or b"EXISTS" not in heard[-1]:
            heard.append(other.readline())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    ok(client.append(folder, "", None, letter("news", 7)))
    wait_until(lambda: heard and heard[-1].startswith(b"* 4 EXISTS"), what="EXISTS in IDLE")
    other.send(b"DONE\r\n")
    wait_for_tag(other, b"i ")
    other.logout()
