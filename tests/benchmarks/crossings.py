"""`kimi-beam extract` on FnApiRunner with its boundaries counted: what crosses a shuffle, and what goes into state.

The runner's own buffers between stages and its state service are watched; what is fused crosses nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from apache_beam.runners.portability.fn_api_runner import execution, worker_handlers

from kimi_beam.cli import main

_COUNTED = {
    "shuffle": [(execution.ListBuffer, "append", 1), (execution.GroupingBuffer, "append", 1)],
    "state_written": [(worker_handlers.StateServicer, "append_raw", 2)],
}


def watch() -> dict[str, int]:
    """Counts bytes from now on; returns the counters."""
    counts = dict.fromkeys((*_COUNTED, "state_read"), 0)

    def counting(name: str, method: Callable[..., Any], position: int) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            counts[name] += len(args[position])
            return method(*args, **named)

        return counted

    def reading(method: Callable[..., Any]) -> Callable[..., Any]:
        def read(*args: Any, **named: Any) -> Any:
            found = method(*args, **named)
            counts["state_read"] += len(found[0])
            return found

        return read

    for name, methods in _COUNTED.items():
        for owner, method, position in methods:
            setattr(owner, method, counting(name, getattr(owner, method), position))
    worker_handlers.StateServicer.get_raw = reading(worker_handlers.StateServicer.get_raw)
    return counts


if __name__ == "__main__":
    seen = watch()
    code = main()
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.exit(code)
