"""A machine with the real systemd as process 1, in namespaces of its own on a copy-on-write copy of this one's files."""

import os
import signal
import subprocess
import time
from pathlib import Path

# Makes a root of an overlay, with the file systems that systemd wants, and starts it there.
BOOT = r"""
set -e
cd "$1"
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" root
cd root
# What other packages of this machine start stays out, and with it how long that takes: the first boot is of a bare system.
if [ ! -e var/lib/booted-before ]; then
    rm -f etc/systemd/system/*.wants/*
    touch var/lib/booted-before
fi
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for name in null zero full random urandom tty; do
    touch "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
touch dev/console
ip link set lo up
mkdir -p oldroot
pivot_root . oldroot
umount -l /oldroot
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --log-target=console --show-status=no </dev/null >/run/boot.log 2>&1
"""

# Whether what BOOT does first is allowed here.
PROBE = """
mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root &&
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root &&
mount -t proc proc /mnt/root/proc && mount -t cgroup2 cgroup2 /mnt/root/sys
"""

# Everything in it but the network is new with each boot.
NAMESPACES = ("--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc")


def reason_against() -> str | None:
    """Why this machine can't make one; None where it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    probe = ["unshare", *NAMESPACES, "--net", "sh", "-c", PROBE]
    done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stderr.strip() or "namespaces are not allowed here" if done.returncode else None


class Machine:
    """Boots, runs commands, reboots. What it writes is gone with it."""

    def __init__(self):
        # The files' changes are in memory, in a mount namespace that outlives a boot.
        script = "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root && echo ready && sleep infinity"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.holder.stdout.readline() == "ready\n"
        self.outer: subprocess.Popen | None = None
        self.process = 0

    def boot(self) -> None:
        within = ["nsenter", "--target", str(self.holder.pid), "--mount", "--net"]
        self.outer = subprocess.Popen(
            [*within, "unshare", *NAMESPACES, "--kill-child", "bash", "-c", BOOT, "boot", "/mnt"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.outer.poll() is None, "systemd has ended"
            children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
            self.process = int(children[0]) if children else 0
            if self.process and self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
                "running",
                "degraded",
            ):
                return
            time.sleep(0.1)
        raise AssertionError(self.run("cat", "/run/boot.log", check=False).stdout)

    def command(self, *words: str) -> list[str]:
        enter = ["nsenter", "--target", str(self.process), "--mount", "--pid", "--net", "--uts", "--ipc", "--wd=/"]
        return [*enter, "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *words]

    def run(self, *words: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess:
        stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120, **stdin)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def shell(self, script: str) -> str:
        return self.run("bash", "-e", "-c", script).stdout

    def switch_off(self) -> None:
        """Ends every process at once, as without power."""
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            self.outer.wait(timeout=30)
            self.process = 0

    def end(self) -> None:
        self.switch_off()
        os.killpg(self.holder.pid, signal.SIGKILL)
        self.holder.wait(timeout=30)
        self.holder.stdout.close()
