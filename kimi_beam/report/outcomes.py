"""How the documents of one `Extract` have fared in this process so far, and whether it is worth while to send more.

Two things can be seen after a few documents, before the others are paid for: that most of them fail, and that the
service cannot meet the schema in some way of asking for it (5024).
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import uuid4

from kimi_beam.errors import ConfigError, UnmetSchemaError
from kimi_beam.report.trials import Trials
from kimi_beam.service.per_process import PerProcess
from kimi_beam.types import Failure

FIRST = 200
"""Documents that have to be settled before a share of them says anything."""

IN_A_ROW = 2
"""Documents that JSON mode could not be met for, and none that it was met for, before others are asked in that way."""

_UNSENT = frozenset({"stopped", "quota_exhausted"})


@dataclass(frozen=True, slots=True)
class StopAfter:
    """When a run gives up sending documents, because too many of those that were sent have failed.

    Attributes:
        number: So many documents that failed; or, with `is_share`, so many of a hundred.
        is_share: Whether `number` is a share of the documents that are settled, of the first 200 or more.

    Raises:
        ConfigError: The number is not positive, or a share above 100.
    """

    number: float
    is_share: bool = False

    def __post_init__(self) -> None:
        if not self.number > 0 or (self.is_share and self.number > 100):
            raise ConfigError("stop_after: a number of documents from 1 on, or a share above 0 and up to 100 %")

    @classmethod
    def of(cls, bound: int | str | StopAfter) -> StopAfter:
        """The bound as a user writes it: 200, or ``"50%"``.

        Raises:
            ConfigError: It is neither.
        """
        if isinstance(bound, StopAfter):
            return bound
        text = str(bound)
        try:
            return cls(float(text.removesuffix("%")), text.endswith("%"))
        except ValueError:
            raise ConfigError(f"stop_after: {text!r} is no number of documents, and no share such as 50%") from None

    @property
    def first(self) -> int:
        """Documents that have to be settled before the bound can be reached."""
        return FIRST if self.is_share else math.ceil(self.number)

    def is_reached(self, failed: int, settled: int) -> bool:
        """Whether enough has failed.

        Args:
            failed: Documents that were sent and are dead letters.
            settled: Documents that were sent and have left, those among them.
        """
        if self.is_share:
            return settled >= FIRST and failed * 100 >= self.number * settled
        return failed >= self.number


@dataclass
class Outcomes:
    """What a process has seen of one `Extract`. Safe to use from several threads.

    Attributes:
        stop_after: When no more is sent; None: never.
        trials: The batches that try a form which has not worked yet.
    """

    stop_after: StopAfter | None = None
    trials: Trials = field(default_factory=Trials)
    _settled: int = 0
    _failed: int = 0
    _met: Counter[int] = field(default_factory=Counter)
    _unmet: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: Failure | None = None

    def settled(self, good: int, failures: Iterable[Failure]) -> None:
        """Counts documents that have left: rows, and those that failed once they had been sent."""
        sent = sum(one.stage not in ("read", "prompt") and one.code not in _UNSENT for one in failures)
        with self._lock:
            self._settled += good + sent
            self._failed += sent
            if self._stopped or self.stop_after is None:
                return
            if self.stop_after.is_reached(self._failed, self._settled):
                told = f"not sent: {self._failed} of the first {self._settled} documents failed (--stop-after)"
                self._stopped = Failure("submit", "stopped", told, retryable=True)

    @property
    def stopped(self) -> Failure | None:
        """What is not sent any more is given up with; None while documents are sent."""
        return self._stopped

    def are_enough(self, in_flight: int) -> bool:
        """Whether no more documents should be sent until it is known how the first ones have fared.

        Args:
            in_flight: Documents that are sent, or about to be, and not settled.
        """
        if self.stop_after is None or self._settled >= self.stop_after.first:
            return False
        return self._settled + in_flight >= self.stop_after.first

    def count_form(self, form: int, *, met: int = 0, unmet: int = 0) -> None:
        """Counts documents by whether JSON mode could be met when they were asked for.

        Args:
            form: Which way of asking (`Prompt.forms`).
            met: Documents that got an answer.
            unmet: Documents that got 5024.
        """
        with self._lock:
            self._met[form] += met
            self._unmet[form] += unmet

    def ended_without_verdict(self, form: int) -> None:
        """A batch has ended, and none of its documents shows whether JSON mode can be met in this form."""
        if self.is_on_trial(form):
            self.trials.ended_without_verdict(form)

    @property
    def has_unmet(self) -> bool:
        """Whether there was any document that JSON mode could not be met for."""
        return any(self._unmet.values())

    def is_on_trial(self, form: int) -> bool:
        """Whether a form has met no document yet and there is reason to doubt it.

        The first form is assumed to work until a document has got 5024 in it; a later one is only used because an
        earlier one failed, so it has to show first that it works.
        """
        return not self._met[form] and (form > 0 or self._unmet[form] > 0)

    def first_form(self, forms: int) -> int:
        """The first way of asking that is not known to fail for every document; `forms` where each of them is."""
        return next((form for form in range(forms) if not self._is_refused(form)), forms)

    def check_forms(self, forms: int) -> None:
        """Ends the run where no way of asking is left.

        Raises:
            UnmetSchemaError: Each of them failed for every document that it was tried with.
        """
        if self.first_form(forms) == forms:
            raise UnmetSchemaError(NO_FORM)

    def _is_refused(self, form: int) -> bool:
        return self._unmet[form] >= IN_A_ROW and not self._met[form]


NO_FORM = (
    "the service cannot meet this schema (5024) in any way of asking for it, with no document so far: nothing more is "
    "sent; simplify the schema (kimi-beam schema show --sent), or name another way by --structured-output"
)

UNMET = Failure("infer", "json_mode_unmet", f"not sent: {NO_FORM}", retryable=True)
"""What a stream gives up documents with that need not be sent for that."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Names the outcomes of one `Extract` on whatever worker.

    Attributes:
        stop_after: When no more is sent; None: never.
        name: No other's.
    """

    stop_after: StopAfter | None = None
    name: str = field(default_factory=lambda: uuid4().hex)

    @property
    def outcomes(self) -> Outcomes:
        """Those of this process."""
        return _outcomes.get(self.name, lambda: Outcomes(self.stop_after))


_outcomes = PerProcess[Outcomes]()
