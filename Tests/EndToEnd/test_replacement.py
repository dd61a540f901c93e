"""One daemon is taken out and a stranger's program takes its place."""

import subprocess
import sys
from pathlib import Path

from conftest import ALICE, BOB
from mail import find, receive, submit, wait_for, wait_for_empty_queue, wait_until

LINE = "0123456789abcdef\n"


def test_a_stand_in_for_local_deliver(make_instance, tmp_path):
    instance = make_instance({"queue-manager": {"retry-minimum": "1s", "retry-maximum": "1s"}})
    wait_for(instance, BOB, receive(instance, BOB))
    instance.supervisor.down("local-deliver")
    early = receive(instance, BOB)
    program = Path(__file__).with_name("stand_in.py")
    command = [sys.executable, str(program), str(instance.directory), str(tmp_path)]
    stand_in = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert stand_in.stdout.readline() == "ready\n"
        late = submit(instance, ALICE, BOB, ALICE)
        # Too large for a request: it's read in pieces.
        receive(instance, BOB, body=LINE * 20_000)

        def arrived():
            texts = {path.name.partition(".")[2]: path.read_text() for path in tmp_path.iterdir()}
            everything = "".join(path.read_text() for path in tmp_path.iterdir())
            is_there = everything.count(late) >= 2 and early in everything and ALICE in texts
            return everything if is_there and everything.count(LINE) == 20_000 else None

        assert f"Delivered-To: {BOB}" in wait_until(arrived, what="the stand-in's messages")
        wait_for_empty_queue(instance)
        assert not find(instance, BOB, early) and not find(instance, BOB, late)
    finally:
        stand_in.kill()
        stand_in.wait()
    instance.supervisor.up("local-deliver")
    wait_for(instance, BOB, receive(instance, BOB))
