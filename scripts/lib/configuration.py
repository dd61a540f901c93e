"""Writes what an instance reads: etc/martlet.toml, the zone file, the certificate."""

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Where the configuration names a listener: (section, key), in the order of scripts/start --ports-from.
LISTENERS = {
    "smtp": ("smtpd", "smtp"),
    "submission": ("smtpd", "submission"),
    "submissions": ("smtpd", "submissions"),
    "pop3": ("pop3d", "pop3"),
    "pop3s": ("pop3d", "pop3s"),
    "imap": ("imapd", "imap"),
    "imaps": ("imapd", "imaps"),
    "dns": ("resolverd", "listen"),
}
# Where free ports are looked for: below the range from which the kernel takes ports of outgoing connections.
FREE_PORTS = range(10_000, 32_000)
DEFAULT_PORTS = dict(zip(LISTENERS, (2525, 2587, 2465, 2110, 2995, 2143, 2993, 2053)))


def ports_from(first: int) -> dict[str, int]:
    """The eight ports from `first` on."""
    return {name: first + index for index, name in enumerate(LISTENERS)}


def loopback_addresses() -> list[str]:
    """The loopback addresses that this machine has."""
    addresses = ["127.0.0.1"]
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        addresses.append("::1")
    except OSError:
        pass
    return addresses


def ports_of_this_process() -> Iterator[int]:
    """The free ports that this process may name, in a random order: pytest-xdist's workers have a share each."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = list(FREE_PORTS)[int(worker) :: count]
    while True:
        random.shuffle(ports)
        yield from ports


UNNAMED_PORTS = ports_of_this_process()


def is_free(port: int) -> bool:
    """Whether a port can be bound on all loopback addresses, for TCP and UDP."""
    for address in loopback_addresses():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    return False
    return True


def free_port() -> int:
    """A port that nobody has bound.

    No port is named twice, here or by another process of the same run of tests: it may be bound only seconds later."""
    while True:
        port = next(UNNAMED_PORTS)
        if is_free(port):
            return port


def free_ports() -> dict[str, int]:
    """A free port for every listener."""
    return {name: free_port() for name in LISTENERS}


def configuration(ports: dict[str, int], hostname: str = "mail.example.test", domain: str = "example.test") -> dict:
    """The configuration of an instance that serves `domain` on the loopback addresses."""
    values: dict = {
        "hostname": hostname,
        "domains": [domain],
        "tls": {"certificate": "etc/tls/certificate.pem", "private-key": "etc/tls/private-key.pem"},
    }
    for name, (section, key) in LISTENERS.items():
        addresses = [f"[{a}]:{ports[name]}" if ":" in a else f"{a}:{ports[name]}" for a in loopback_addresses()]
        values.setdefault(section, {})[key] = addresses
    values["resolverd"]["zones"] = {domain: f"etc/zones/{domain}"}
    return values


def merge(values: dict, changes: dict) -> dict:
    """`values` with `changes` laid over it, section by section; None takes a key away."""
    result = dict(values)
    for key, change in changes.items():
        if change is None:
            result.pop(key, None)
        elif isinstance(change, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], change)
        else:
            result[key] = change
    return result


def toml(values: dict) -> str:
    """Configuration values as TOML text."""
    lines: list[str] = []
    write_table(values, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def write_table(table: dict, path: tuple[str, ...], lines: list[str]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and (plain or not table):
        lines.extend(["", "[" + ".".join(toml_key(part) for part in path) + "]"])
    lines.extend(f"{toml_key(key)} = {toml_value(value)}" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, dict):
            write_table(value, (*path, key), lines)


def toml_key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else toml_value(key)


def toml_value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"""\n{escaped}"""' if "\n" in escaped else f'"{escaped}"'


def zone(domain: str) -> str:
    """A zone file for a domain whose mail host is this machine."""
    return f"""\
$ORIGIN {domain}.
$TTL 3600
@       SOA     ns hostmaster 1 7200 900 1209600 300
@       NS      ns
@       MX      10 mail
@       TXT     "v=spf1 mx -all"
ns      A       127.0.0.1
ns      AAAA    ::1
mail    A       127.0.0.1
mail    AAAA    ::1
www     CNAME   mail
"""


def make_certificate(directory: Path, hostname: str) -> None:
    """Makes a self-signed certificate and its key (EC P-256), valid for ten years."""
    names = f"DNS:{hostname},DNS:localhost,IP:127.0.0.1,IP:::1"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(directory / "private-key.pem"), "-out", str(directory / "certificate.pem")]
    command += ["-days", "3650", "-subj", f"/CN={hostname}", "-addext", f"subjectAltName={names}"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
