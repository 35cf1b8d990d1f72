"""A hundred thousand queued items take little memory and are kept unaltered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kimi_beam.emulator import Behaviour
from kimi_beam.emulator.work import read

from .peer import FORM_A, K2_6, item

# In a process of its own, whose memory can be measured. Jobs of 500 items, each of about 6 kB with its own copy of
# instructions and schema, as clients send them. No socket: what is measured is what the queue holds.
_PROGRAM = """
import random, sys
import orjson
from kimi_beam.emulator.batch import Writer
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.received import Call
from kimi_beam.emulator.events import Events
from kimi_beam.emulator.faults import Faults
from kimi_beam.emulator.queue_requests import Jobs
from kimi_beam.emulator.ledger import Ledger
from kimi_beam.emulator.queue import Queue

count = int(sys.argv[1])
words = [f"word{n}" for n in range(5000)]
draw = random.Random(1)
fields = {f"field_{n}": {"type": "string", "description": "what it says about this " + words[n]} for n in range(25)}
form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": fields}}}
system = " ".join(draw.choices(words, k=100))

def job(start):
    chats = ([{"role": "system", "content": system},
              {"role": "user", "content": f"{n} " + " ".join(draw.choices(words, k=250))}] for n in range(500))
    items = [{"messages": chat, "response_format": form, "external_reference": f"{start}-{n}"}
             for n, chat in enumerate(chats)]
    return orjson.dumps({"requests": items})

behaviour, queue = Behaviour(), Queue(latency=1e9, retention=1e12)
ledger = Ledger(behaviour, Faults(), 0)
events = Events(behaviour, ledger.injector, 0)
jobs = Jobs(queue=queue, ledger=ledger, events=events, writer=Writer(behaviour, 0, Faults(), None), thread=None,
            behaviour=behaviour, clock=lambda: 0.0)
for start in range(0, count, 500):
    body = job(start)
    reply = jobs.submit(Call("run", body, {}, "a"), "@cf/moonshotai/kimi-k2.6", orjson.loads(body))
    assert reply.status == 200
assert ledger.statistics.items == count
# Not getrusage, whose maximum counts the process that this one was forked from.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(int(peak.split()[1]) // 1024, len(body) // 500)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of its memory from /proc")
def test_queued_items_are_small() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, "10000"], capture_output=True, text=True, check=True)
    megabytes, item_bytes = map(int, done.stdout.split())
    assert item_bytes > 4_000
    # 10,000 of them; the interpreter, its imports and one job being read are within.
    assert megabytes < 200


def test_what_waits_is_what_was_sent() -> None:
    sent = item("Corner Café\nTotal: 9.00", "r", max_completion_tokens=9)
    task = read(sent, K2_6, Behaviour())
    packed = task.packed()
    assert isinstance(packed.body, bytes)
    assert packed.packed() is packed
    assert packed.request() == sent == task.request()
    assert packed.request()["response_format"] == FORM_A
