"""The words by which an answer goes back to the model with what is wrong with it.

They follow the document in the user's message, so that the first request is still the prefix that the service has
cached, and stand in fences, since both may quote the document. They hold the last answer and its problems alone,
whatever came before, and are bounded by a share of the first request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kimi_beam.request.document_bytes import fenced
from kimi_beam.results.repaired_values import value_at
from kimi_beam.schema import jsontext
from kimi_beam.types.earlier_runs import RefusedAnswer

SHARE = 0.15
"""How much of the first request's words they may add. JSON has up to a third more tokens a byte than prose, so that
this stays below a fifth of its tokens."""
_PROBLEM = 240
_LEAST = 60
"""Bytes of a problem, at most; and of the first one, which is shown however little room there is."""
_AROUND = 90
"""Bytes beside the answer and the problems."""
_FENCE = 20
"""Bytes of the fence around the answer."""


def words(refused: RefusedAnswer, first: int) -> str:
    """The words that follow the document.

    Args:
        refused: The answer.
        first: Bytes of all words of the first request.
    """
    most = int(first * SHARE)
    problems = fenced(_said(refused.problems, most * 2 // 3), "problems")
    note = f"\nAnswer {refused.times} is refused:\n{problems}\nAnswer again in full; keep all the rest."
    answer = _shown(refused, most - len(note.encode()) - _FENCE)
    return f"\n{fenced(answer, 'answer')}{note}" if answer else note


def _said(problems: Sequence[tuple[str, str]], most: int) -> str:
    """The problems, a line each: the first one, and as many others as there is room for.

    What concerns several values, as an equation does, is said once, behind all their pointers.
    """
    pointers = dict[str, list[str]]()
    for at, message in problems:
        pointers.setdefault(message, []).append(at or "(the answer)")
    lines: list[str] = []
    for message, places in pointers.items():
        line = jsontext.escape_surrogates(" ".join(f"{', '.join(places)}: {message}".split()))
        most_bytes = _PROBLEM if lines else max(_LEAST, min(_PROBLEM, most - _AROUND))
        line = line.encode()[:most_bytes].decode(errors="ignore")
        if lines and sum(len(one.encode()) + 1 for one in (*lines, line)) > most:
            break
        lines.append(line)
    return "\n".join(lines)


def _shown(refused: RefusedAnswer, room: int) -> str:
    """The last answer: only its refused values where they are less than half of it, else the whole; empty if too long.

    One that was cut off, or is none, is not shown: that would not help.
    """
    answer = refused.failure.raw or ""
    if refused.failure.code not in ("schema_violation", "not_json"):
        return ""
    try:
        value = jsontext.loads(answer)
    except ValueError:
        parts = ""
    else:
        parts = _refused_values(value, [at for at, _ in refused.problems])
    if parts and 2 * len(parts) < len(answer):
        answer = parts
    answer = jsontext.escape_surrogates(answer)
    return answer if len(answer.encode()) <= room else ""


def _refused_values(value: Any, pointers: Sequence[str]) -> str:
    """The refused values by their JSON Pointers, as JSON; empty if the whole value is refused."""
    if not all(pointers):
        return ""
    found: dict[str, Any] = {}
    for at in sorted(pointers):
        if not any(at.startswith(f"{above}/") for above in found):
            found[at] = value_at(value, at)
    return jsontext.dumps(found).decode()
