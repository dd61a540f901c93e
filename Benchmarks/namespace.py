"""A network of its own for a benchmark: port 53 and all others are free, and the system's resolver is ours."""

import os
import subprocess
import sys
from pathlib import Path

HEAD = "$ORIGIN .\n$TTL 3600\n@ SOA ns.net. root.net. 1 3600 600 86400 60\n@ NS ns.net.\nns.net. A 127.0.0.1\n"


def enter_namespace() -> None:
    """Goes on in a network and a mount namespace of its own."""
    if os.environ.get("MARTLET_BENCH_NAMESPACE"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ["MARTLET_BENCH_NAMESPACE"] = "yes"
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    os.execvp(command[0], command)


class Names:
    """nsd on port 53 of this network namespace, which the system's resolver is led to: the given records of the root, and nothing else."""

    def __init__(self, directory: Path, records: str):
        directory.mkdir()
        (directory / "root").write_text(HEAD + records)
        (directory / "nsd.conf").write_text(
            f'server:\n  ip-address: 127.0.0.1\n  port: 53\n  username: ""\n  chroot: ""\n  zonesdir: "{directory}"\n'
            f'  database: ""\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  pidfile: ""\n  xfrdfile: "{directory}/xfrd"\n  zonelistfile: "{directory}/zones"\n'
            'remote-control:\n  control-enable: no\nzone:\n  name: "."\n  zonefile: root\n'
        )
        resolver = directory / "resolv.conf"
        resolver.write_text("nameserver 127.0.0.1\n")
        subprocess.run(["mount", "--bind", str(resolver), "/etc/resolv.conf"], check=True)
        self.process = subprocess.Popen(
            ["nsd", "-d", "-c", str(directory / "nsd.conf")], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
