"""What processes have taken of the processors."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "lib"))

from supervision import descendants, stat_fields  # noqa: E402

TICK = 1 / os.sysconf("SC_CLK_TCK")


def processor_time(ancestor: int) -> dict[str, float]:
    """Seconds in user and system of a process, of those that descend from it, by their programs' names, and of all that have ended ("")."""
    times = {"": 0.0}
    for pid in [ancestor, *descendants(ancestor)]:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            fields = stat_fields(pid)
        except OSError:
            continue
        times[name] = times.get(name, 0.0) + (int(fields[11]) + int(fields[12])) * TICK
        times[""] += (int(fields[13]) + int(fields[14])) * TICK
    return times


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What was taken between two looks, by name. What a process that ended since had taken before counts for its name in `before`."""
    return {name: after.get(name, 0.0) - before.get(name, 0.0) for name in sorted(before.keys() | after.keys())}
