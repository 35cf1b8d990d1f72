"""The names of the metrics: one set of them for Beam, ``summary.json`` and the docs."""

from __future__ import annotations

import re

from conftest import ROOT

from kimi_beam.report import metrics
from kimi_beam.report.summary import Summary, to_json

_ROW = re.compile(r"^\| `(\w+)` \| (counter|distribution) \| (.+) \|$", re.M)


def test_the_docs_list_the_metrics_that_there_are() -> None:
    listed = _ROW.findall((ROOT / "docs" / "howto" / "watch.md").read_text())
    assert [name for name, kind, _ in listed if kind == "counter"] == list(metrics.ALL)
    assert [name for name, kind, _ in listed if kind == "distribution"] == list(metrics.DISTRIBUTIONS)


def test_every_name_of_the_module_is_a_counter_or_a_distribution() -> None:
    others = {metrics.NAMESPACE, metrics.SKIPPED_NAMESPACE}
    names = {value for name, value in vars(metrics).items() if isinstance(value, str) and name.isupper()}
    assert names - others == {*metrics.ALL, *metrics.DISTRIBUTIONS}


def test_the_summary_has_a_key_for_every_metric() -> None:
    content = to_json(Summary(), model="m", schema_hash="h").decode()
    assert [name for name in (*metrics.ALL, *metrics.DISTRIBUTIONS) if f'"{name}"' not in content] == []
