"""What the threads of a process share, and what a fork leaves of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kimi_beam.service.per_process import PerProcess


def test_a_value_is_made_once_however_many_threads_ask() -> None:
    registry, made = PerProcess[object](), []

    def make() -> object:
        time.sleep(0.01)  # long enough for the others to ask
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: registry.get("key", make), range(8)))
    assert len(made) == 1
    assert all(value is made[0] for value in found)


def test_each_key_has_its_own_value_until_it_is_forgotten() -> None:
    registry = PerProcess[list[int]]()
    one, other = registry.get(1, list), registry.get(2, list)
    assert one is not other
    registry.forget(1)
    assert registry.get(1, list) is not one
    registry.forget_value(other)
    assert registry.get(2, list) is not other
    assert len(registry.values()) == 2
    registry.forget_all()
    assert registry.values() == []


def test_what_could_not_be_made_is_made_the_next_time() -> None:
    registry = PerProcess[str]()

    def refused() -> str:
        raise OSError("not now")

    with pytest.raises(OSError, match="not now"):
        registry.get("key", refused)
    assert registry.get("key", lambda: "now") == "now"


def test_the_registries_of_a_process_do_not_know_each_other() -> None:
    one, other = PerProcess[str](), PerProcess[str]()
    assert (one.get("key", lambda: "one"), other.get("key", lambda: "other")) == ("one", "other")


FORKED = """
import os, signal, sys, threading
from kimi_beam.service.per_process import PerProcess

signal.alarm(60)
registry, held = PerProcess[int](), threading.Event()
assert registry.get("key", lambda: 1) == 1

def hold():
    with registry.lock:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # of the child: it may wait for a lock that nobody releases
    os._exit(0 if registry.values() == [] and registry.get("key", lambda: 2) == 2 else 1)
sys.stdout.write(str(os.waitpid(child, 0)[1]))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_its_own_even_while_a_thread_of_its_parent_held_the_lock() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0", "")


def test_a_lock_that_is_held_lets_several_calls_happen_together() -> None:
    registry, order = PerProcess[str](), []

    def forget() -> None:
        registry.forget("key")
        order.append("forgotten")

    with registry.lock:
        thread = threading.Thread(target=forget)
        thread.start()
        thread.join(0.05)
        assert registry.get("key", lambda: "made") == "made"
        order.append("made")
    thread.join()
    assert order == ["made", "forgotten"]
