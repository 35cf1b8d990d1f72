"""What follows from each kind of refusal: one table that the queue, synchronous requests and the documentation share.

`kimi_beam.wire.service_errors` says which kind (`Remedy`) an error of the service is. This table says what is done
about each kind. `kimi_beam.queue.state_machine` does it for a batch, `kimi_beam.synchronous.after_reply` for one
document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from kimi_beam.service.retry_limits import MAX_REFUSALS, OUTAGE
from kimi_beam.types.failure import Code, Failure, Stage
from kimi_beam.wire.service_errors import ERRORS, Remedy


class Repeat(Enum):
    """How often the same request is made again."""

    NEVER = "no"
    ONCE = "once"
    A_FEW_TIMES = f"until it was refused {MAX_REFUSALS} times and for {OUTAGE / 60:g} minutes"
    UNTIL_DEADLINE = "until the deadline"
    IN_NEXT_FORM = "in the next form of JSON mode, as long as there is one"


class Halving(Enum):
    """Whether a refused batch of several documents is cut in two and sent again. A refused submit costs nothing."""

    NONE = "stays whole"
    UNTIL_IT_FITS = "is cut in two until it fits"
    UNTIL_FOUND = "is cut in two until the refused document stands alone"


class Reach(Enum):
    """What the refusal changes beside the request that was refused."""

    ITSELF = "nothing"
    DELAYED = "other requests wait as long as the service says"
    UNSENT = "whatever is not sent yet is given up, until 00:00 UTC"
    EVERYTHING = "the run ends, a stream tries again each minute; jobs in flight are kept"


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from a refusal of one kind.

    Attributes:
        repeat: How often the same request is made again.
        code: The code of the dead letters once the request is no longer repeated; None if no document is to blame.
        halving: Whether a batch of several documents is cut in two first.
        reach: What the refusal changes beside this request.
        stage: The stage that the dead letters name.
        is_attempt: Whether the request counts among a document's attempts.
        may_be_paid: Whether the request may have been accepted all the same, and paid for.
        is_retryable: Whether the same document may succeed in a later run.
    """

    repeat: Repeat
    code: Code | None
    halving: Halving = Halving.NONE
    reach: Reach = Reach.ITSELF
    stage: Stage = "submit"
    is_attempt: bool = True
    may_be_paid: bool = False
    is_retryable: bool = True

    def failure(self, message: str) -> Failure:
        """The failure of a document whose request was refused and is not repeated any more."""
        assert self.code is not None, "no document is given up for trouble with the account"
        return Failure(self.stage, self.code, message, retryable=self.is_retryable)


RULES: Mapping[Remedy, Rule] = MappingProxyType(
    {
        Remedy.RETRY: Rule(Repeat.A_FEW_TIMES, "refused"),
        Remedy.WAIT: Rule(Repeat.UNTIL_DEADLINE, "refused", reach=Reach.DELAYED, is_attempt=False),
        Remedy.TIMEOUT: Rule(Repeat.ONCE, "unknown_submit", may_be_paid=True),
        Remedy.OTHER_FORM: Rule(Repeat.IN_NEXT_FORM, "json_mode_unmet", stage="infer"),
        Remedy.TOMORROW: Rule(Repeat.NEVER, "quota_exhausted", reach=Reach.UNSENT, is_attempt=False),
        Remedy.SPLIT: Rule(Repeat.NEVER, "too_large", Halving.UNTIL_IT_FITS, is_retryable=False),
        Remedy.NEVER: Rule(Repeat.NEVER, "refused", Halving.UNTIL_FOUND, is_retryable=False),
        Remedy.ACCOUNT: Rule(Repeat.NEVER, None, reach=Reach.EVERYTHING, is_attempt=False),
    }
)

_HEADINGS = (
    "What helps",
    "Cloudflare's codes",
    "Is it asked again?",
    "A batch",
    "What else happens",
    "An attempt?",
    "Perhaps paid for?",
    "Dead letter in the end",
)


def remedies_table() -> str:
    """`RULES` as a table in Markdown, for the documentation: a line for each `Remedy`."""
    lines = [_HEADINGS, ("---",) * len(_HEADINGS)]
    for remedy, rule in RULES.items():
        codes = ", ".join(str(code) for code, (helps, _) in ERRORS.items() if helps is remedy)
        end = "none" if rule.code is None else f"`{rule.code}`, {'' if rule.is_retryable else 'not '}retryable"
        yes = {True: "yes", False: "no"}
        lines.append(
            (
                remedy.value,
                codes,
                rule.repeat.value,
                rule.halving.value,
                rule.reach.value,
                yes[rule.is_attempt],
                yes[rule.may_be_paid],
                end,
            )
        )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
