"""What the runners of Beam differ in, as far as `Extract` is built by it.

Options are read by the class that declares them: `PipelineOptions.get_all_options` makes a parser of all of Beam's.
"""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)

_IN_PROCESS = ("FnApiRunner", "DirectRunner", "SwitchingDirectRunner")


def is_one_process(pipeline: beam.Pipeline) -> bool:
    """Whether all workers are threads of this process, so that it may use all of the job's requests a minute."""
    mode = pipeline.options.view_as(DirectOptions).direct_running_mode
    return type(pipeline.runner).__name__ in (*_IN_PROCESS, "BundleBasedDirectRunner") and mode != "multi_processing"


def keeps_state(pipeline: beam.Pipeline) -> bool:
    """Whether the runner's keyed state and timers can be relied on.

    Those of two in-process runners of Beam 2.77 cannot:

    * `BundleBasedDirectRunner` lets the watermark pass timers, so that a grouping drops their output.
    * `FnApiRunner` with several workers gives the bundles of one key to different workers, each with a cache of its
      own: submits would be repeated and paid for twice.
    """
    runner = type(pipeline.runner).__name__
    workers = int(pipeline.options.view_as(DirectOptions).direct_num_workers or 0)
    return runner != "BundleBasedDirectRunner" and not (runner in _IN_PROCESS and workers != 1)


def default_shards(options: PipelineOptions, *, holds_jobs: bool) -> int:
    """The default number of shards: one for each worker, as more would only make batches smaller.

    Two get four for each worker, which spread better. Dataflow gets four for each of the most workers that it may have.
    Flink's streaming mode assigns keys to subtasks by a hash, and with one key for each a third of the subtasks get
    none (of two keys both went to one). Flink's batch mode works on one key at a time on each slot, so that more keys
    than slots would wait for each other: it gets one for each.

    Args:
        options: The options of the pipeline.
        holds_jobs: Whether shards keep jobs: bounded input by the queue.
    """
    standard = options.view_as(StandardOptions)
    if "dataflow" in str(standard.runner or "").lower():
        workers = options.view_as(WorkerOptions)
        return 4 * max(int(workers.num_workers or 1), int(workers.max_num_workers or 1))
    parallelism = int(options.view_as(FlinkRunnerOptions).parallelism or 1)
    spread = 4 if holds_jobs and standard.streaming and parallelism > 1 else 1
    return max(1, int(options.view_as(DirectOptions).direct_num_workers or 1), spread * parallelism)
