"""OpenTelemetry: a collector gets what the summary says, and its absence harms no run."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from running_cli import SCHEMA, mistake, run

from kimi_beam.emulator import Emulator
from kimi_beam.report import metrics

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="pip install '.[otel]'")


class Collector:
    """A receiver of OTLP over HTTP on this machine.

    Attributes:
        spans: The spans that came.
        sums: The latest value of each sum, by its name and the code that it is the sum of.
    """

    def __init__(self) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.spans: list[Any] = []
        self.sums: dict[tuple[str, str], float] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
                elif self.path == "/v1/metrics":
                    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                            for point in metric.sum.data_points:
                                code = "".join(one.value.string_value for one in point.attributes)
                                is_whole = point.HasField("as_int")
                                collector.sums[metric.name, code] = point.as_int if is_whole else point.as_double
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture
def command(tmp_path: Path) -> tuple[object, ...]:
    documents = [{"id": str(n), "text": f"ACME\nTOTAL {n}.00" if n > 4 else " "} for n in range(600)]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in documents))
    return "extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--output", tmp_path / "out"


def test_the_sums_that_a_collector_got_equal_the_summary_and_each_batch_has_a_span(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], collector: Collector, command: tuple[object, ...]
) -> None:
    with Emulator(latency=0.3) as running:
        where = ("--base-url", running.base_url, "--poll-interval", "0.05:0.1")
        code, _, err = run(*command, *where, "--otlp", f"{collector.url}/", capsys=capsys)
    assert code == 0, err
    assert "--otlp" not in err
    summary = json.loads((tmp_path / "out" / "summary.json").read_bytes())
    sums = collector.sums
    assert sums["kimi_beam.dead_letters", "empty_document"] == summary["dead_letters"]["empty_document"] == 5
    for name in metrics.ALL:
        if name != metrics.DEAD_LETTERS:
            assert sums[f"kimi_beam.{name}", ""] == summary[name], name
    for name in metrics.DISTRIBUTIONS:
        for part in ("count", "sum"):
            assert sums[f"kimi_beam.{name}.{part}", ""] == summary[name][part]
    for name, tokens in summary["usage"].items():
        assert sums[f"kimi_beam.{name}", ""] == tokens > 0
    assert sums["kimi_beam.would_have_cost_usd", ""] == pytest.approx(summary["would_have_cost_usd"])
    kinds = Counter(span.name for span in collector.spans)
    assert kinds == {"kimi-beam extract": 1, "batch": summary["submits"]}
    (whole,) = (span for span in collector.spans if span.name != "batch")
    batches = [span for span in collector.spans if span.name == "batch"]
    assert {span.parent_span_id for span in batches} == {whole.span_id}
    counts = [value.value.int_value for span in batches for value in span.attributes if value.key.endswith("documents")]
    assert sum(counts) == summary["extractions"] == 595
    for span in batches:
        assert span.end_time_unix_nano - span.start_time_unix_nano >= 0.3e9
        assert whole.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= whole.end_time_unix_nano


def test_a_collector_that_is_not_there_harms_no_run_and_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[object, ...]
) -> None:
    with Emulator() as running:
        where = ("--base-url", running.base_url, "--poll-interval", "0.05:0.1")
        code, _, err = run(*command, *where, "--otlp", "http://127.0.0.1:9", capsys=capsys)
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "summary.json").read_bytes())["extractions"] == 595
    assert len([line for line in err.splitlines() if "--otlp" in line]) == 1, err


@pytest.mark.parametrize(
    "url", ["localhost:4318", "ftp://localhost", "http://", "grpc://localhost:4317", "http://[", "http://a:b"]
)
def test_what_is_no_url_of_http_is_refused_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str], command: tuple[object, ...], url: str
) -> None:
    assert "http://localhost:4318" in mistake(*command, "--emulator", "--otlp", url, capsys=capsys)


def test_credentials_in_the_url_are_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str], command: tuple[object, ...]
) -> None:
    said = mistake(*command, "--emulator", "--otlp", "http://me:hush@localhost:4318", capsys=capsys)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in said
    assert "hush" not in said


def test_without_the_extra_it_is_said_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[object, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    said = mistake(*command, "--emulator", "--otlp", "http://localhost:4318", capsys=capsys)
    assert "kimi-beam[otel]" in said
