"""What each further document costs the client in CPU: beside the floor, and beside what users would pick instead."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .. import rivals
from ..clients import Client, interleaved, marginal, prism
from ..report import Row
from . import Bench

UNIT = "ms CPU a document"
_EXTRACT, _PRISM, _OWN = "extract on FnApiRunner", "extract on Prism", "a PCollection[Document] of one's own"
_FLOOR = "the floor"


def beside_the_floor(bench: Bench) -> Iterator[Row]:
    """The default, Prism, and a pipeline of one's own."""
    clients: dict[str, Client] = {
        _FLOOR: bench.clients.floor,
        _EXTRACT: bench.clients.extract,
        _OWN: bench.clients.user_pipeline,
    }
    binary = prism()
    if binary is None:
        bench.left_out.append("Prism: `make bench` brings it (KIMI_BEAM_PRISM)")
    else:
        options = ("--runner=PrismRunner", f"--prism_location={binary}")
        clients[_PRISM] = lambda count, asked: bench.clients.extract(count, asked, *options)
    cost = {name: marginal(by) for name, by in bench.costs(clients).items()}
    for name, key, target in ((_EXTRACT, "fnapi", 1.7), (_PRISM, "prism", 2.5), (_OWN, "own_documents", 3.5)):
        if name in cost:
            yield Row(f"cost_{key}", f"each further document, {name}", _FLOOR, cost[name], cost[_FLOOR], UNIT, target)


def beside_rivals(bench: Bench) -> Iterator[Row]:
    """The best of the rivals, at sizes that they can bear."""
    ours = marginal(bench.costs({_EXTRACT: bench.clients.extract})[_EXTRACT])
    clients: dict[str, Client] = {name: partial(bench.clients.rival, name) for name in rivals.NAMES}
    for name in clients:
        bench.say(f"{rivals.NAMES[name]} {rivals.versions(name)}")  # which installs it
    found = interleaved(clients, bench.sizes.rival, bench.sizes.rounds, bench.say)
    cost = {rivals.NAMES[name]: marginal(by) for name, by in found.items()}
    best = min(cost, key=lambda name: cost[name])
    measure = f"each further document, {_EXTRACT}"
    yield Row("cost_rivals", measure, f"the best rival: {best}", ours, cost[best], UNIT, 1 / 50, cost)
