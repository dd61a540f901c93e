"""What a running daemon may still do: nothing but its job. Under root."""

import json
import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ALICE
from instance import PROGRAMS
from layout import READERS, SERVICES
from mail import queue, submit, wait_for_log, wait_until

pytestmark = pytest.mark.root
BY_NAME = {service.name: service for service in SERVICES}
# Those that read nothing after their start, with what they would be after.
WITHOUT_FILES = ("smtpd", "pop3d", "imapd", "remote-relay", "pipe-deliver")
ROOTED_IN_RUN = ("smtpd", "pop3d", "imapd", "remote-relay")


def status(path: Path) -> dict[str, str]:
    return dict(line.split(":\t", 1) if ":\t" in line else (line, "") for line in path.read_text().splitlines())


@pytest.mark.parametrize("name", BY_NAME)
def test_rights_of_every_thread(system, name):
    pid = system.supervisor.pid(name)
    user = pwd.getpwnam(BY_NAME[name].user)
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    assert threads
    for thread in threads:
        fields = status(thread / "status")
        assert fields["Uid"].split() == [str(user.pw_uid)] * 4
        assert fields["Gid"].split() == [str(user.pw_gid)] * 4
        assert fields["Groups"].strip() in ("", str(user.pw_gid))
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(fields[kind], 16) == 0, kind
        assert fields["NoNewPrivs"].strip() == "1"
        # At least one of our own: the tests may run beneath another.
        assert fields["Seccomp"].strip() == "2"
        assert int(fields["Seccomp_filters"]) > int(status(Path("/proc/self/status"))["Seccomp_filters"])


def test_every_daemon_has_a_user_of_its_own(system):
    users = {service.program: set() for service in SERVICES}
    for service in SERVICES:
        users[service.program].add(status(Path(f"/proc/{system.supervisor.pid(service.name)}/status"))["Uid"].split()[0])
    everyone = [user for group in users.values() for user in group]
    mail = str(pwd.getpwnam("mlt-mail").pw_uid)
    assert str(os.getuid()) not in everyone
    others = [user for user in everyone if user != mail]
    assert len(others) == len(set(others))


@pytest.mark.parametrize("name", ROOTED_IN_RUN)
def test_the_root_is_run(system, name):
    assert os.readlink(f"/proc/{system.supervisor.pid(name)}/root") == str(system.directory / "run")


@pytest.mark.parametrize("name", BY_NAME)
def test_open_files(system, name):
    """No daemon holds a file of another's."""
    directory = system.directory
    allowed = {
        "queue-manager": ("spool",),
        "local-deliver": ("mail",),
        "reportd": ("reports",),
        "keyd": ("etc/tls", "etc/dkim"),
        "remote-relay": ("relay",),
        "pop3d-mailbox": ("mail",),
        "imapd-mailbox": ("mail",),
        "authd": ("etc", "auth"),
        "resolverd": ("etc/zones", "etc", "dns"),
    }.get(name, ())
    for link in Path(f"/proc/{system.supervisor.pid(name)}/fd").iterdir():
        target = os.readlink(link)
        if target.startswith(str(directory)):
            relative = os.path.relpath(target, directory)
            assert relative.split("/")[0] in [path.split("/")[0] for path in allowed], target


@pytest.fixture(scope="module")
def stopped(module_factory):
    """An instance that does not run."""
    return module_factory(start=False)


@pytest.mark.parametrize("name", BY_NAME)
def test_probe(stopped, name):
    """Each daemon's program, asked from inside after it gave up its rights, opens nothing that is not its own."""
    service = BY_NAME[name]
    directory = stopped.directory
    secrets = ["/etc/passwd", "/etc/shadow", "/proc/self/status", "etc/martlet.toml", "etc/users", "etc/tls/private-key.pem"]
    secrets += ["spool", "mail", "reports", str(directory / "etc/users"), str(directory / "mail"), str(directory / "spool"), "/"]
    own = {
        "authd": ("etc/users", "etc/martlet.toml"),
        "queue-manager": ("spool",),
        "local-deliver": ("mail",),
        "reportd": ("reports",),
        "keyd": ("etc/tls/private-key.pem",),
        "pop3d-mailbox": ("mail",),
        "imapd-mailbox": ("mail",),
    }.get(name, ())
    probe = make_probe(stopped, service)
    done = subprocess.run([*probe, *secrets], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    opened = [line.rpartition(": ")[0] for line in done.stdout.splitlines() if line.endswith(": open")]
    assert len(done.stdout.splitlines()) == len(secrets)
    surprising = [path for path in opened if not any(path in (mine, str(directory / mine)) for mine in own)]
    # After chroot("run") the root itself may be seen; it holds sockets only.
    surprising = [path for path in surprising if not (path == "/" and name in ROOTED_IN_RUN)]
    if name == "resolverd":
        surprising = [path for path in surprising if not path.startswith("etc/martlet")]
    assert not surprising, done.stdout
    if name == "keyd":
        assert opened == ["etc/tls/private-key.pem"]
    if name in WITHOUT_FILES:
        assert opened in ([], ["/"])


def make_probe(instance, service) -> list[str]:
    """The daemon's command line for probing, with listeners on ports that the kernel chooses."""
    text = instance.configuration_file.read_text()
    config = instance.directory / "etc" / "probe.toml"
    config.write_text(re.sub(r'((?:127\.0\.0\.1|\[::1\])):\d+"', r'\1:0"', text))
    command = [str(instance.programs / service.program)]
    if service.name.endswith("-mailbox"):
        command.append("--mailbox")
    return [*command, "--instance", str(instance.directory), "--config", "etc/probe.toml", "--probe-rights"]


AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
STREAM, DATAGRAM, RAW, NONBLOCK = 1, 2, 3, 0o4000
AT_FDCWD = -100
ANONYMOUS = 0x22
# What becomes of calls in every daemon; addresses are null, so that what is allowed comes to nothing.
EVERYWHERE = {
    # It ends a process that it's tried in.
    **dict.fromkeys(
        (
            "execve execveat ptrace process_vm_readv process_vm_writev bpf perf_event_open userfaultfd kexec_load init_module "
            "finit_module mount umount2 pivot_root chroot unshare:65536 setns keyctl add_key personality:4194304"
        ).split(),
        "killed",
    ),
    # They fail. A new process and namespaces first: 17 is SIGCHLD, 0x10000000 CLONE_NEWUSER.
    **dict.fromkeys(
        (
            f"fork vfork clone:17 clone:{0x10000000 | 17} clone:{0x10010000} io_uring_setup io_uring_enter setuid setgid setgroups capset seccomp "
            f"landlock_create_ruleset pidfd_open:1 kill:1,15 tgkill:1,1,15 tkill:1,15 rt_sigqueueinfo:1,15 "
            f"socket:{AF_NETLINK},{RAW} socket:{AF_PACKET},{RAW} socket:{AF_ALG},{STREAM} socket:{AF_VSOCK},{STREAM} "
            f"socket:{AF_INET},{RAW},1 socketpair:{AF_INET},{STREAM} mmap:0,4096,7,{ANONYMOUS},-1,0 mprotect:0,4096,4 "
            # TIOCSTI, SIOCGIFCONF; PR_SET_DUMPABLE 1, PR_SET_SECCOMP, PR_SET_MM
            f"ioctl:0,{0x5412} ioctl:0,{0x8912} prctl:4,1 prctl:22,1 prctl:35 prlimit64:0,7,1 memfd_create shmget msgget mq_open "
            f"symlink mknod chown setxattr truncate chdir quotactl sethostname syslog settimeofday clock_settime setsid"
        ).split(),
        "refused",
    ),
    # Those behind what we know, and two whose arguments can't be looked at: the C library takes others.
    **dict.fromkeys(["clone3", "openat2", "451", "467", "511"], "absent"),
    **dict.fromkeys(
        (
            f"socket:{AF_UNIX},{STREAM} socket:{AF_UNIX},{DATAGRAM | NONBLOCK} socketpair:{AF_UNIX},{STREAM} clone:65536 kill:self,0 "
            f"tgkill:self,self,0 mmap:0,4096,3,{ANONYMOUS},-1,0 mmap:0,4096,5,{ANONYMOUS},-1,0 mprotect:0,4096,1 ioctl:0,{0x541B} prctl:4,0 "
            "prlimit64:0,7,0 read write epoll_ctl accept4 connect recvmsg futex_waitv getrandom:0,0 statx madvise"
        ).split(),
        "allowed",
    ),
}
SOCKETS = [f"socket:{family},{kind | NONBLOCK}" for kind in (STREAM, DATAGRAM) for family in (AF_INET, AF_INET6)]
READING = [f"openat:{AT_FDCWD},0,0", "getdents64", "readlinkat"]
# Writing, O_CREAT, O_TRUNC.
WRITING = [f"openat:{AT_FDCWD},0,{flags}" for flags in (1, 2, 0o100, 0o1000)]
WRITING += ["mkdirat", "unlinkat", "renameat2", "linkat", "ftruncate:-1", "fallocate:-1", "fdatasync:-1", "syncfs:-1", "fchmod:-1"]
READS = {"keyd", "authd", "queue-manager", "reportd", "local-deliver", "pop3d-mailbox", "imapd-mailbox", "remote-relay", "resolverd"}
WATCHES = ["inotify_init1", "inotify_add_watch"]
# What only some may, and who.
SOME = {
    **dict.fromkeys(SOCKETS[:2], {"smtpd", "remote-relay", "resolverd"}),
    **dict.fromkeys(SOCKETS[2:], {"resolverd"}),
    "bind": {"remote-relay", "resolverd"},
    **dict.fromkeys(READING, READS),
    **dict.fromkeys(WRITING, READS - {"keyd"}),
    **dict.fromkeys(WATCHES, {"imapd-mailbox"}),
    "kill:1,0": {"local-deliver", "pop3d-mailbox", "imapd-mailbox"},
}


def trial(name: str, *calls: str) -> dict[str, str]:
    """What becomes of calls, each in a process that is limited as the daemon is."""
    command = [str(PROGRAMS / "system-call-trial"), name, *calls]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "pipe-deliver"])
def test_system_calls(name):
    expected = EVERYWHERE | {call: "allowed" if name in daemons else "refused" for call, daemons in SOME.items()}
    found = trial(name, *expected)
    # Without those that this architecture never had.
    assert found == {call: end for call, end in expected.items() if call in found}
    assert {"execve", "clone:17", "bind"} <= set(found)


def test_system_calls_where_programs_run():
    """They have pipe-deliver's filter: what is deadly elsewhere fails, but for beginning a program."""
    deadly = [call for call, end in EVERYWHERE.items() if end == "killed"]
    found = trial("pipe-deliver", *deadly, f"openat:{AT_FDCWD},0,0", SOCKETS[0])
    allowed = {"execve", "execveat", f"openat:{AT_FDCWD},0,0", SOCKETS[0]}
    assert found == {call: "allowed" if call in allowed else "refused" for call in found}
    assert {"execve", "ptrace"} <= set(found)


def test_system_calls_that_are_only_logged(make_instance):
    """Nothing is refused, and the kernel's log is for the administrator."""
    assert set(trial("imapd", "--log", "bind", "unshare:0", "personality:-1").values()) == {"allowed"}
    assert trial("imapd", "--log", "clone3") == {"clone3": "absent"}
    instance = make_instance({"seccomp": {"imapd": "log", "pop3d": "off"}})
    modes = {name: status(Path(f"/proc/{instance.supervisor.pid(name)}/status"))["Seccomp"].strip() for name in BY_NAME}
    assert modes == {name: "0" if name == "pop3d" else "2" for name in BY_NAME}
    wait_for_log(instance, "imapd", "logged by the kernel")
    wait_for_log(instance, "pop3d", "limited by the user's rights only")
    doubts = [finding for finding in json.loads(instance.martlet("check", "--json", check=False).stdout) if finding["grade"] == "doubtful"]
    assert {"imapd", "pop3d"} <= {finding["subject"] for finding in doubts}


def test_files_of_the_instance(system):
    """Owners and modes of what holds secrets."""
    for path, user, mode in (
        ("etc/tls/private-key.pem", "root", 0o640),
        ("etc/users", None, 0o640),
        ("spool", "mlt-queue", 0o700),
        ("mail", "mlt-mail", 0o700),
        ("auth", "mlt-auth", 0o700),
        ("dns", "mlt-dns", 0o700),
        ("reports", "mlt-report", 0o700),
        ("relay", "mlt-relay", 0o700),
    ):
        details = (system.directory / path).stat()
        assert details.st_mode & 0o777 & ~mode == 0, path
        if user:
            assert pwd.getpwuid(details.st_uid).pw_name == user, path
    for path in (system.directory / "mail").rglob("*"):
        assert path.lstat().st_mode & 0o077 == 0, path


@pytest.fixture
def waiting(system, sink):
    """The ID of a message that waits in the queue."""
    sink.replies["waiting"] = "450 4.2.1 later"
    subject = submit(system, ALICE, "waiting@example.net")

    def entry():
        return next((entry for entry in queue(system) if "waiting@" in entry["recipients"][0]["recipient"]), None)

    identifier = wait_until(lambda: (found := entry()) and found["state"] == "deferred" and found["id"])
    assert subject in system.martlet("queue", "show", identifier).stdout
    yield identifier
    # While it's still put off: an attempt that succeeded would take it out of the queue first.
    system.martlet("queue", "remove", identifier)
    del sink.replies["waiting"]


class Person:
    """Runs commands on an instance as a user who is not root, with the groups that are named."""

    def __init__(self, instance, user: str, *groups: str):
        self.instance = instance
        details = pwd.getpwnam(user)
        self.identity = ["setpriv", f"--reuid={details.pw_uid}", f"--regid={details.pw_gid}"]
        self.identity += [f"--groups={','.join(groups)}"] if groups else ["--clear-groups"]

    def run(self, *command: str) -> subprocess.CompletedProcess:
        # In the instance: the directories above it are closed to others in tests.
        return subprocess.run(
            [*self.identity, *command],
            cwd=self.instance.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def queue(self, *arguments: str) -> subprocess.CompletedProcess:
        program = str(self.instance.programs / "martlet")
        return self.run(program, "--instance", ".", "queue", *arguments)


@pytest.mark.parametrize("user", ["nobody", "mlt-relay", "mlt-mail", "mlt-smtp"])
def test_who_may_not_look_at_the_queue(system, waiting, user):
    person = Person(system, user)
    for command in (["list"], ["show", waiting], ["statistics"]):
        done = person.queue(*command)
        assert done.returncode != 0 and not done.stdout, command
        assert "only for the administrator and the group martlet" in done.stderr, done.stderr
    for command in (["flush"], ["hold", waiting], ["requeue", waiting], ["remove", waiting], ["bounce", waiting]):
        done = person.queue(*command)
        assert done.returncode != 0 and "only for the administrator" in done.stderr, command
    assert [entry["state"] for entry in queue(system) if entry["id"] == waiting] == ["deferred"]
    # As long as a name is known, a directory that can't be listed hides nothing: so everything is tried by its name.
    spool = system.directory / "spool"
    paths = [str(path.relative_to(system.directory)) for path in (spool, *spool.rglob("*"))]
    script = 'for path; do (exec 3<"$path") 2>/dev/null && echo "$path"; done; true'
    opened = person.run("sh", "-c", script, "sh", *paths)
    assert any(waiting in path for path in paths)
    assert opened.returncode == 0 and not opened.stdout


def test_the_group_that_may_look_at_the_queue(system, waiting):
    person = Person(system, "nobody", READERS)
    assert waiting in person.queue("list").stdout
    assert "waiting@example.net" in person.queue("show", waiting).stdout
    assert "example.net" in person.queue("statistics").stdout
    for change in ("hold", "release", "requeue", "remove", "bounce"):
        done = person.queue(change, waiting)
        assert done.returncode != 0
        assert "only for the administrator" in done.stderr and "group" not in done.stderr, done.stderr
    assert [entry["state"] for entry in queue(system) if entry["id"] == waiting] == ["deferred"]


SIGN = "SIGN\nkey: {key}\nalgorithm: ed25519\nsize: "


def handshake(role: str) -> str:
    """To sign what a server or a client signs under TLS 1.3; as printf's %b has it."""
    return SIGN + "130\n\n" + " " * 64 + f"TLS 1.3, {role} CertificateVerify\\0000" + "x" * 32


@pytest.mark.parametrize(
    "user, request_, words",
    [
        ("nobody", "WATCH", "not allowed for this user"),
        ("mlt-mail", "CERTIFICATES", "not allowed for this user"),
        # It's told those that it shows to other hosts.
        ("mlt-relay", "CERTIFICATES", "count: 0"),
        ("mlt-relay", handshake("server"), "not allowed for this user"),
        ("mlt-relay", handshake("client"), "not allowed for this user"),
        ("mlt-imap", handshake("client"), "not allowed for this user"),
        ("mlt-imap", handshake("server"), "there is no such key"),
        # A digest could be anything's.
        ("mlt-imap", SIGN + "32\n\n" + "x" * 32, "malformed octets"),
        ("mlt-relay", "DKIM\ndomain: example.test", "status: 2.0.0"),
        ("mlt-imap", "DKIM\ndomain: example.test", "not allowed for this user"),
        ("mlt-imap", "TICKETS\nservice: smtpd", "not allowed for this user"),
        ("mlt-imap", "TICKETS\nservice: imapd", "ticket-key: "),
        ("mlt-imap", "CERTIFICATE\nserver-name: mail.example.test", "BEGIN CERTIFICATE"),
    ],
)
def test_who_may_ask_keyd_what(system, user, request_, words):
    frame = request_.format(key="tls-" + "0" * 32)
    if "size:" not in frame:
        frame += "\n\n"
    done = Person(system, user).run("sh", "-c", 'printf %b "$1" | socat -t 2 - UNIX-CONNECT:run/key.sock', "sh", frame)
    assert words in done.stdout, done.stdout + done.stderr
    assert "PRIVATE KEY" not in done.stdout
