"""What has to be paid before the first document: imports, the pipeline, and no more than that."""

from __future__ import annotations

from collections.abc import Iterator

from ..clients import best, with_service
from ..report import Row
from . import Bench

_FEW = 50
_IMPORTS = "import apache_beam, pyarrow, aiohttp"
_UNIT = "s CPU"


def few_documents(bench: Bench) -> Iterator[Row]:
    """A run of 50 documents, all included, beside the imports that it needs."""
    rounds = 2 * bench.sizes.rounds
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(with_service(bench.clients.extract, _FEW)[0])
        theirs.append(bench.clients.statement(_IMPORTS))
        bench.say(f"start-up: {ours[-1].cpu:.2f} s CPU, the imports {theirs[-1].cpu:.2f} s")
    wall = {"seconds of wall": best(ours).wall}
    yield Row("start", f"all of {_FEW} documents", f"`{_IMPORTS}`", best(ours).cpu, best(theirs).cpu, _UNIT, 1.5, wall)


def help_text(bench: Bench) -> Iterator[Row]:
    """`kimi-beam --help`, which needs no Beam."""
    rounds = 4 * bench.sizes.rounds
    ours = best([bench.clients.help() for _ in range(rounds)])
    theirs = best([bench.clients.statement("import httpx") for _ in range(rounds)])
    bench.say(f"--help: {ours.cpu:.2f} s CPU, import httpx {theirs.cpu:.2f} s")
    yield Row("help", "`kimi-beam --help`", "`import httpx`", ours.cpu, theirs.cpu, _UNIT, 2)
