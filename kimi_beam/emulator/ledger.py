"""The emulator's state across requests: billed documents, prefix caches and injected faults."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace

from kimi_beam.emulator import jsonmode
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import Faults, Injector
from kimi_beam.emulator.leaf_faults import WrongLeaf
from kimi_beam.emulator.prefixes import Prefixes
from kimi_beam.emulator.statistics import Statistics
from kimi_beam.emulator.work import Task


class Ledger:
    """The state of one service. It is used only in the service's event loop.

    Attributes:
        injector: Draws faults.
        prefixes: The prefix caches of the instances.
        statistics: The counters.
        wrong_leaves: The values of answers that a fault has made wrong.
    """

    def __init__(self, behaviour: Behaviour, faults: Faults, seed: int) -> None:
        self._behaviour = behaviour
        self.injector = Injector(faults, seed)
        self.prefixes = Prefixes(behaviour.instances)
        self.statistics = Statistics()
        self.wrong_leaves: list[WrongLeaf] = []

    def accept(self, task: Task, fault: str | None, instance: Hashable) -> Task:
        """Bill a task that is going to run, and look up its prefix. A task that fails costs nothing [assumed].

        Args:
            task: The task.
            fault: The name of its fault, None for none.
            instance: The model instance that answers it.
        """
        if fault == "json_mode":
            refusal = jsonmode.not_met(self._behaviour)
            task = replace(task, refusal=(refusal.code, refusal.message), blocks=())
        if task.refusal is not None:
            return task
        if fault != "failed_item":
            self.statistics.bill((task.correction or task.key,), task.prompt_tokens)
        cached = self.prefixes.cached(instance, task.blocks, task.prompt_tokens)
        if fault != "failed_item":
            self.statistics.cached_tokens += cached
        occurrence = self.injector.occurrence(task.key)
        return replace(task, fault=fault, occurrence=occurrence, cached_tokens=cached, blocks=())

    def note(self, completion_tokens: int, wrong_leaves: Iterable[WrongLeaf]) -> None:
        """Count answers that were written.

        Args:
            completion_tokens: Their tokens.
            wrong_leaves: Their values that a fault has made wrong.
        """
        self.statistics.completion_tokens += completion_tokens
        for wrong in wrong_leaves:
            self.injector.count(wrong.fault)
            self.wrong_leaves.append(wrong)

    def reset(self) -> None:
        """Set the counters to zero. The prefix caches and the memory of the faults stay."""
        self.statistics = Statistics()
        self.injector.injected.clear()
        self.wrong_leaves = []
