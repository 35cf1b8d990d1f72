"""Flink streaming on a cluster of this machine. It takes minutes to start and warm up: only when it is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..clients import ENV, marginal, with_service
from ..cpu_groups import NoGroupsError, cpu_groups
from ..processes import CommandError, Usage, session_cpu
from ..report import Row
from ..service import Running
from . import Bench

_ROOT = Path(__file__).parents[3]
_STREAMING = "--streaming"


def streaming(bench: Bench) -> Iterator[Row]:
    """What each further document costs: the launcher, the JVMs and the workers."""
    floor = marginal(bench.costs({"the floor": bench.clients.floor})["the floor"])
    found: dict[int, list[tuple[Usage, dict[str, float]]]] = {bench.sizes.small: [], bench.sizes.large: []}
    with _cluster(2) as cluster:
        for _ in range(bench.sizes.rounds + 1):
            for count, runs in found.items():
                before = session_cpu(cluster.sessions)
                used, _ = with_service(lambda count, asked: _extract(bench, count, asked, cluster), count)
                after = session_cpu(cluster.sessions)
                runs.append((used, {name: after[name] - before[name] for name in after}))
                bench.say(f"Flink, {count:,} documents: {used.cpu:.2f} s CPU, {used.wall:.1f} s")
    # The first round warms the JVMs up.
    least = {count: min((run for run in runs[1:]), key=lambda run: run[0].cpu) for count, runs in found.items()}
    cost = marginal({count: used for count, (used, _) in least.items()})
    small, large = sorted(least)
    parts = {
        f"ms of {name}": (least[large][1][name] - least[small][1][name]) / (large - small) * 1e3
        for name in least[small][1]
    }
    measure = "each further document, extract on Flink, streaming"
    yield Row("cost_flink", measure, "the floor", cost, floor, "ms CPU a document", None, parts)


_CPUS = 0.4
"""Cores of a TaskManager in `scale_out`: two of them, the service and the rest of Flink fit into two."""


def scale_out(bench: Bench) -> Iterator[Row]:
    """Time of two TaskManagers beside that of one, each with its workers on a part of a core."""
    small, large = bench.sizes.large, 10 * bench.sizes.large
    seconds = {}
    try:
        for task_managers in (1, 2):
            with _cluster(task_managers, cpus=_CPUS) as cluster:
                # The first run warms the JVMs up, which takes as long as the rest of it.
                _timed(bench, small, cluster)
                runs = [{count: _timed(bench, count, cluster) for count in (small, large)} for _ in range(2)]
            seconds[task_managers] = min(run[large] for run in runs) - min(run[small] for run in runs)
    except NoGroupsError as e:
        bench.left_out.append(f"scale-out: {e}")
        return
    if min(seconds.values()) <= 0:
        raise CommandError("more documents took less time: the machine was busy with something else")
    measure = f"{large - small:,} further documents, 2 TaskManagers of {_CPUS} cores each"
    yield Row("scale_out", measure, "1 TaskManager", seconds[2], seconds[1], "s wall", 1 / 1.6)


def _timed(bench: Bench, count: int, cluster: Any) -> float:
    used, _ = with_service(lambda count, asked: _extract(bench, count, asked, cluster), count)
    bench.say(f"{len(cluster.sessions)} processes of Flink, {count:,} documents: {used.wall:.1f} s")
    return used.wall


def _extract(bench: Bench, count: int, asked: Running, cluster: Any) -> Usage:
    options = (*cluster.options, _STREAMING)
    return bench.clients.extract(count, asked, *options, counted=cluster.sessions)


@contextmanager
def _cluster(task_managers: int, cpus: float | None = None) -> Iterator[Any]:
    from tests.runners.flink_cluster import FlinkCluster

    os.environ.update(ENV)  # where the workers look for the token
    jars, job_server = Path(os.environ["KIMI_BEAM_FLINK"]), Path(os.environ["KIMI_BEAM_FLINK_JOB_SERVER"])
    names = [f"task-manager-{number}" for number in range(task_managers)]
    with (
        tempfile.TemporaryDirectory() as directory,
        nullcontext({}) if cpus is None else cpu_groups(names, cpus) as groups,  # type: ignore[attr-defined]
    ):
        where = Path(directory) / "cluster"
        with FlinkCluster(jars, job_server, where, [_ROOT], task_managers=task_managers, groups=groups) as cluster:
            yield cluster
