"""The emulator's state across requests: billed documents, prefix caches and injected faults."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from kimi_beam.emulator import jsonmode
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import Faults, Injector
from kimi_beam.emulator.prefixes import Prefixes
from kimi_beam.emulator.statistics import Statistics
from kimi_beam.emulator.work import Task


class Ledger:
    """The state of one service. It is used only in the service's event loop.

    Attributes:
        injector: Draws faults.
        prefixes: The prefix caches of the instances.
        statistics: The counters.
    """

    def __init__(self, behaviour: Behaviour, faults: Faults, seed: int) -> None:
        self._behaviour = behaviour
        self.injector = Injector(faults, seed)
        self.prefixes = Prefixes(behaviour.instances)
        self.statistics = Statistics()

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
        return replace(task, fault=fault, cached_tokens=cached, blocks=())

    def reset(self) -> None:
        """Set the counters to zero. The prefix caches and the memory of the faults stay."""
        self.statistics = Statistics()
        self.injector.injected.clear()
