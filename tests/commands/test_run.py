"""`Run`: the job of a command as the launching process sees it."""

from __future__ import annotations

from types import SimpleNamespace

from apache_beam.metrics.monitoring_infos import int64_user_counter
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.portable_runner import PortableMetrics

from kimi_beam.report import metrics
from kimi_beam.run import _counted


def test_a_counter_that_the_runner_has_committed_as_zero_and_attempted_never_is_zero() -> None:
    """As Prism told it once in ten runs: a job whose rows had all been written ended in a TypeError."""
    counted = {metrics.SUBMITS: 3, metrics.RESUBMITS: 0}
    committed = [int64_user_counter(metrics.NAMESPACE, name, value, "t") for name, value in counted.items()]
    results = beam_job_api_pb2.MetricResults(committed=committed)
    told = PortableMetrics(beam_job_api_pb2.GetJobMetricsResponse(metrics=results))
    found = _counted(SimpleNamespace(metrics=lambda: told))
    assert found[metrics.SUBMITS] == 3
    assert found[metrics.RESUBMITS] == 0
