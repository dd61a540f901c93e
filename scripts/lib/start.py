"""The part of scripts/start after building: makes the instance, starts it, shows that it works."""

import argparse
import sys
from pathlib import Path

import configuration
import demonstration
import layout
import supervision
from instance import Instance

ALICE, BOB = "alice@example.test", "bob@example.test"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/start")
    parser.add_argument("--instance", type=Path, required=True)
    parser.add_argument("--ports-from", type=int)
    return parser.parse_args()


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def make(instance: Instance, ports: dict[str, int], is_fresh: bool) -> None:
    if is_fresh:
        for name, port in ports.items():
            if not configuration.is_free(port):
                sys.exit(f"start: port {port} ({name}) is in use; choose others with --ports-from N")
    instance.make(configuration.configuration(ports))
    make_accounts(instance)


def make_accounts(instance: Instance) -> None:
    """Mailboxes for alice and bob; their passwords are kept in DIR/credentials."""
    file = instance.directory / "credentials"
    if file.exists():
        instance.passwords = dict(line.split(None, 1) for line in file.read_text().splitlines() if line.strip())
    for address in (ALICE, BOB):
        if address not in instance.passwords:
            instance.add_user(address)
    text = "".join(f"{address} {password}\n" for address, password in instance.passwords.items())
    instance.write(file, text, mode=0o600)
    if not (instance.directory / "etc" / "aliases").read_text():
        instance.add_alias(f"postmaster@example.test: {ALICE}")


def start(instance: Instance) -> None:
    if not instance.supervisor.is_running():
        say(f"starting {len(layout.SERVICES)} services under {instance.supervisor.kind}")
        instance.start()
        return
    outdated = instance.outdated()
    say(f"already running; restarting what is outdated: {', '.join(outdated) or 'nothing'}")
    for name in outdated:
        instance.supervisor.restart(name)
    instance.start()


def show(instance: Instance, is_default: bool) -> None:
    ports = instance.ports
    directory = instance.directory
    martlet = f"{instance.programs}/martlet --instance {directory}"
    cacert = f"--cacert {instance.certificate}"
    stop = "scripts/stop" if is_default else f"scripts/stop --instance {directory}"
    print("Mailboxes (also in " + str(directory / "credentials") + "):")
    for address, password in instance.passwords.items():
        print(f"    {address}    {password}")
    print("Ports, on localhost:")
    print("    " + "  ".join(f"{name} {port}" for name, port in ports.items()))
    print("Try next:")
    print(f"    curl {cacert} --ssl-reqd --user {BOB} 'imap://localhost:{ports['imap']}/INBOX;MAILINDEX=*'")
    print(f"    dig @127.0.0.1 -p {ports['dns']} example.test MX")
    print(f"    {martlet} status")
    print(f"    {martlet} queue list")
    print(f"    tail -F {directory}/log/*/current")
    print(f"    {stop}")


def main() -> None:
    options = arguments()
    instance = Instance(options.instance)
    is_fresh = not instance.configuration_file.exists()
    ports = configuration.DEFAULT_PORTS if options.ports_from is None else configuration.ports_from(options.ports_from)
    if not is_fresh and options.ports_from is not None and instance.ports != ports:
        sys.exit(
            f"start: {instance.configuration_file} names other ports than --ports-from {options.ports_from}; "
            "edit it, or give another --instance"
        )
    if not layout.is_root():
        print("start: warning: not root, so all daemons run as the calling user, with that user's rights", file=sys.stderr)
    say(f"{'making' if is_fresh else 'using'} the instance in {instance.directory}")
    make(instance, ports, is_fresh)
    start(instance)
    demonstration.run(instance, ALICE, BOB)
    show(instance, instance.directory == layout.REPOSITORY / "var")


if __name__ == "__main__":
    try:
        main()
    except (supervision.NotReady, RuntimeError, ValueError, OSError) as error:
        sys.exit(f"start: {error}")
