"""The outcomes of one `Extract` in this process so far, which decide whether sending more documents is worthwhile.

Two things show after a few documents, before the others are paid for: that most documents fail, and that the service
cannot meet the schema (5024) in some form, which is a way of asking for JSON.
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
from kimi_beam.types.failure import Failure

FIRST = 200
"""How many documents have to be settled before their share of failures is compared with a bound."""

UNMET_BEFORE_REFUSED = 2
"""After so many documents for which a form could not be met, and none for which it was, no more are asked in that
form."""

_UNSENT = frozenset({"stopped", "quota_exhausted", "budget"})
"""Codes of documents that were not sent, so that they say nothing about how sent ones fare."""


@dataclass(frozen=True, slots=True)
class StopAfter:
    """How many documents have to fail before a run sends no more.

    Attributes:
        number: The number of failed documents, or, with `is_share`, their percentage.
        is_share: Whether `number` is a percentage of the settled documents. It is checked once 200 are settled.

    Raises:
        ConfigError: The number is not positive, or a share above 100.

    Example:
        >>> kb.StopAfter.of("50%")
        StopAfter(number=50.0, is_share=True)
    """

    number: float
    is_share: bool = False

    def __post_init__(self) -> None:
        if not self.number > 0 or (self.is_share and self.number > 100):
            raise ConfigError("stop_after: a number of documents from 1 on, or a share above 0 and up to 100 %")

    @classmethod
    def of(cls, bound: int | str | StopAfter) -> StopAfter:
        """Reads the bound as a user writes it: 200, or ``"50%"``.

        Raises:
            ConfigError: It is neither a number nor a percentage.
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
        """How many documents have to be settled before the bound can be reached."""
        return FIRST if self.is_share else math.ceil(self.number)

    def is_reached(self, failed: int, settled: int) -> bool:
        """Whether so many documents have failed that no more are sent.

        Args:
            failed: Documents that were sent and became dead letters.
            settled: Documents that were sent and became rows or dead letters.
        """
        if self.is_share:
            return settled >= FIRST and failed * 100 >= self.number * settled
        return failed >= self.number


@dataclass
class Outcomes:
    """The outcomes of one `Extract` in one process. Safe to use from several threads.

    Attributes:
        stop_after: How many documents have to fail before no more are sent. None: sending never stops.
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

    def count_settled(self, rows: int, failures: Iterable[Failure]) -> None:
        """Counts documents that are settled.

        Args:
            rows: How many became rows.
            failures: The failures of those that became dead letters. Documents that were never sent are not counted.
        """
        sent = sum(one.stage not in ("read", "prompt") and one.code not in _UNSENT for one in failures)
        with self._lock:
            self._settled += rows + sent
            self._failed += sent
            if self._stopped or self.stop_after is None:
                return
            if self.stop_after.is_reached(self._failed, self._settled):
                message = f"not sent: {self._failed} of the first {self._settled} documents failed (--stop-after)"
                self._stopped = Failure("submit", "stopped", message, retryable=True)

    @property
    def stopped(self) -> Failure | None:
        """The failure of documents that are no longer sent; None while sending goes on."""
        return self._stopped

    def waits_for_first(self, in_flight: int) -> bool:
        """Whether no more documents are sent until it is known whether the first ones fail.

        Args:
            in_flight: Documents that are sent, or about to be, and not settled.
        """
        if self.stop_after is None or self._settled >= self.stop_after.first:
            return False
        return self._settled + in_flight >= self.stop_after.first

    def count_form(self, form: int, *, met: int = 0, unmet: int = 0) -> None:
        """Counts documents by whether JSON mode could be met when they were asked for.

        Args:
            form: The form's index in `Prompt.forms`.
            met: How many documents got an answer.
            unmet: How many documents got 5024.
        """
        with self._lock:
            self._met[form] += met
            self._unmet[form] += unmet

    def ended_without_verdict(self, form: int) -> None:
        """Records that a batch has ended and none of its documents shows whether JSON mode can be met in this form."""
        if self.is_on_trial(form):
            self.trials.ended_without_verdict(form)

    @property
    def has_unmet(self) -> bool:
        """Whether JSON mode could not be met for some document, in any form."""
        return any(self._unmet.values())

    def is_on_trial(self, form: int) -> bool:
        """Whether a form has not worked for any document yet, and there is a reason to doubt that it will.

        The first form is assumed to work until a document gets 5024 in it. A later form is used only because an earlier
        one failed, so it has to show first that it works.
        """
        return not self._met[form] and (form > 0 or self._unmet[form] > 0)

    def first_form(self, forms: int) -> int:
        """The index of the first form that is not known to fail for every document.

        Args:
            forms: How many forms there are (`Prompt.forms`). It is returned if every form is known to fail.
        """
        return next((form for form in range(forms) if not self._is_refused(form)), forms)

    def check_forms(self, forms: int) -> None:
        """Ends the run if every form is known to fail.

        Raises:
            UnmetSchemaError: Each form failed for every document that it was tried with.
        """
        if self.first_form(forms) == forms:
            raise UnmetSchemaError(NO_FORM)

    def _is_refused(self, form: int) -> bool:
        return self._unmet[form] >= UNMET_BEFORE_REFUSED and not self._met[form]


NO_FORM = (
    "the service cannot meet this schema (5024) in any way of asking for it, with no document so far: nothing more is "
    "sent; simplify the schema (kimi-beam schema show --sent), or name another way by --structured-output"
)

NO_FORM_FAILURE = Failure("infer", "json_mode_unmet", f"not sent: {NO_FORM}", retryable=True)
"""The failure of a stream's documents that are not sent because every form is known to fail."""


@dataclass(frozen=True, slots=True)
class OutcomesHandle:
    """Finds the `Outcomes` of one `Extract` on each worker: it travels with the pipeline, they do not.

    Attributes:
        stop_after: How many documents have to fail before no more are sent. None: sending never stops.
        name: Identifies the `Extract`; different for each.
    """

    stop_after: StopAfter | None = None
    name: str = field(default_factory=lambda: uuid4().hex)

    @property
    def outcomes(self) -> Outcomes:
        """The outcomes in this process."""
        return _outcomes.get(self.name, lambda: Outcomes(self.stop_after))


_outcomes = PerProcess[Outcomes]()
