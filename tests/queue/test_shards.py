"""How many keys the work is spread over: enough that no worker is idle, and no more than make good batches."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from kimi_beam.transforms.runner_traits import default_shards


@pytest.mark.parametrize(
    ("options", "holds_jobs", "shards"),
    [
        ((), True, 1),
        (("--direct_num_workers=3",), True, 3),
        (("--runner=DataflowRunner", "--num_workers=2", "--max_num_workers=3"), True, 12),
        # Flink's batch mode runs one key at a time on each slot: more would wait for each other.
        (("--parallelism=4",), True, 4),
        # Its streaming mode hashes keys: of four keys on four subtasks one of them mostly has none.
        (("--parallelism=4", "--streaming"), True, 16),
        (("--parallelism=1", "--streaming"), True, 1),
        # A stream has few documents at a time, and a synchronous request stays with no key.
        (("--parallelism=4", "--streaming"), False, 4),
    ],
)
def test_there_is_a_key_for_each_worker_and_more_where_keys_are_hashed(
    options: tuple[str, ...], holds_jobs: bool, shards: int
) -> None:
    assert default_shards(PipelineOptions(list(options)), holds_jobs=holds_jobs) == shards
