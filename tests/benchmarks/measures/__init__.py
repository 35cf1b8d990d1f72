"""What is measured: each module holds some measures, each a function of a `Bench` that gives rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ..clients import Client, Clients, interleaved
from ..processes import Usage
from ..report import Row


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    small: int = 2_000
    large: int = 20_000
    rounds: int = 3
    rival: tuple[int, int] = (100, 1_000)
    synchronous: tuple[int, int] = (640, 3_200)
    growth: tuple[int, ...] = (2_000, 20_000, 200_000)
    pdfs: tuple[int, int] = (100, 1_000)
    long_texts: int = 1_000
    scans: int = 100

    def with_all_files(self) -> Sizes:
        """The same, with as many files as shall be borne: their measures take an hour."""
        return replace(self, pdfs=(100, 10_000), long_texts=5_000, scans=1_000)


QUICK = Sizes(500, 3_000, 1, (20, 120), (128, 640), (500, 2_000, 6_000), (20, 100), 50, 10)


@dataclass
class Bench:
    """One run of the benchmark.

    Attributes:
        clients: The programs.
        sizes: How much is measured.
        say: Tells a person how far it is.
        left_out: What could not be measured here, and why.
        failed: Measures that ended before their time.
    """

    clients: Clients
    sizes: Sizes
    say: Callable[[str], None]
    left_out: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _known: dict[str, dict[int, Usage]] = field(default_factory=dict)

    def costs(self, clients: dict[str, Client]) -> dict[str, dict[int, Usage]]:
        """The best usage of each client at the small and the large size; what is known is not measured again."""
        new = {name: client for name, client in clients.items() if name not in self._known}
        sizes = (self.sizes.small, self.sizes.large)
        self._known.update(interleaved(new, sizes, self.sizes.rounds, self.say) if new else {})
        return {name: self._known[name] for name in clients}


Measure = Callable[[Bench], Iterator[Row]]
