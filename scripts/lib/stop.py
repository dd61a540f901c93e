"""Ends the services of one instance."""

import argparse
from pathlib import Path

import supervision


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/stop")
    parser.add_argument("--instance", type=Path, required=True)
    directory = parser.parse_args().instance.resolve()
    is_s6 = (directory / "service" / ".s6-svscan").exists()
    supervisor = (supervision.S6 if is_s6 else supervision.Runit)(directory, directory)
    if not supervisor.is_running():
        print(f"no instance is running in {directory}")
        return
    supervisor.stop()
    print(f"stopped the instance in {directory}")


if __name__ == "__main__":
    main()
