"""What it costs to watch a run: the panel, beside a run that shows nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ..clients import best, with_service
from ..report import Row
from . import Bench

_COUNT = 10_000
_FRAMES = 1_000
_BEFORE = "import kimi_beam.report.pace, kimi_beam.commands.progress_words, kimi_beam.report.progress_figures"
_FRAME = """
import os
from kimi_beam.commands.live_panel import LivePanel
from kimi_beam.report.pace import Pace
from kimi_beam.report.progress import Distribution, Snapshot
from kimi_beam.report.progress_figures import dollars_of, figures
size = os.terminal_size((120, 40))
panel, pace = LivePanel("kimi-beam extract", lambda: size, lambda _: None), Pace()
dollars = dollars_of("m", None, emulated=False)
for frame in range({frames}):
    now, took = float(frame), {{"queue_seconds": Distribution(frame + 1, 60.0 * frame + 60, 60, 60)}}
    jobs = tuple((now - number, 250) for number in range(40))
    counters = {{"documents": 10**6, "extractions": 250 * frame}}
    progress = Snapshot(counters, took, in_flight=40, documents_in_flight=10_000, jobs=jobs)
    panel.show(figures(progress, pace.observe(now, progress), elapsed=now, now=now, dollars=dollars))
"""


def panel(bench: Bench) -> Iterator[Row]:
    """A frame a second and what it imports, for as long as 10,000 documents take. A run's own CPU varies by more."""
    bare, few, many, runs = [], [], [], []
    for _ in range(bench.sizes.rounds):
        runs.append(
            with_service(lambda count, asked: bench.clients.extract(count, asked, "--progress=none"), _COUNT)[0]
        )
        bare.append(bench.clients.statement(_BEFORE))
        few.append(bench.clients.statement(_BEFORE + _FRAME.format(frames=1)))
        many.append(bench.clients.statement(_BEFORE + _FRAME.format(frames=_FRAMES + 1)))
    run, start = best(runs), max(0.0, best(few).cpu - best(bare).cpu)
    frame = max(0.0, best(many).cpu - best(few).cpu) / _FRAMES
    bench.say(f"panel: {start * 1e3:.1f} ms to begin, {frame * 1e3:.2f} ms a frame; the run {run.cpu:.2f} s CPU")
    detail = {"ms a frame": frame * 1e3, "ms to begin": start * 1e3, "seconds of wall": run.wall}
    measure = f"the panel of {_COUNT:,} documents"
    yield Row("panel", measure, "all of the run", start + frame * run.wall, run.cpu, "s CPU", 0.01, detail)
