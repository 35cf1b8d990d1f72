"""What must hold for every schema there is.

It is tried on the project's own schemas, in `tests/data/schemas`, and where the shared data is, on real ones and on the
conformance tests of two drafts as well.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kimi_beam.schema import ADDITIONAL, OutputSchema, arrow

_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,6})?)0*([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Given:
    """A schema with its instances."""

    name: str
    subset: str
    schema: Any
    valid: list[Any]
    invalid: list[Any]


OWN = Path(__file__).parent.parent / "data" / "schemas"
_DRAFTS = ("draft-04", "draft-06", "draft-07", "2019-09", "2020-12")


@cache
def _read(directory: Path) -> list[Given]:
    found = []
    for file in sorted(directory.glob("**/*.json")):
        content = json.loads(file.read_text())
        by_verdict: dict[bool, list[Any]] = {True: [], False: []}
        for test in content["tests"]:
            by_verdict[test["valid"]].append(test["data"])
        subset = content.get("subset", "own")
        found.append(Given(file.name, subset, content["schema"], by_verdict[True], by_verdict[False]))
    return found


def _counts(given: list[Given]) -> tuple[int, int, int]:
    return len(given), sum(len(one.valid) for one in given), sum(len(one.invalid) for one in given)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Given]:
    """The real schemas, which are not part of the project."""
    found = _read(shared_data / "schemas-real")
    assert _counts(found) == (311, 483, 858)
    return found


@pytest.fixture(scope="module", params=["own", "real"])
def given(request: pytest.FixtureRequest) -> list[Given]:
    """The project's own schemas, and then the real ones where they are."""
    found: list[Given] = _read(OWN) if request.param == "own" else request.getfixturevalue("real")
    return found


def test_the_projects_own_schemas_are_of_each_draft_and_have_instances_of_both_kinds() -> None:
    own = _read(OWN)
    count, valid, invalid = _counts(own)
    assert count >= 18
    assert (valid >= 60, invalid >= 120) == (True, True), (valid, invalid)
    assert all(one.valid and one.invalid for one in own)
    drafts = [draft for draft in _DRAFTS if any(draft in str(one.schema.get("$schema")) for one in own)]
    assert drafts == list(_DRAFTS)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0 and not true; date-times are instants."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    if one is None or isinstance(one, bool) or other is None or isinstance(other, bool):
        return one is other
    return bool(one == other) or (isinstance(one, str) and isinstance(other, str) and _one_instant(one, other))


def _one_instant(one: str, other: str) -> bool:
    found = [_DATE_TIME.fullmatch(text) for text in (one, other)]
    moments = [_moment(*m.groups()) for m in found if m]
    return len(moments) == 2 and moments[0] == moments[1]


def _moment(day: str, clock: str, zone: str) -> datetime:
    digits = clock.ljust(15, "0") if "." in clock else clock
    return datetime.fromisoformat(f"{day}T{digits}{zone.upper().replace('Z', '+00:00')}")


def _through_a_file(schema: OutputSchema, instances: list[Any]) -> list[Any]:
    batch, bad = schema.to_arrow(instances)
    assert bad == []
    assert batch.schema.equals(schema.arrow_schema)
    batch.validate(full=True)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), file)
    return schema.from_arrow(pq.read_table(file))


def test_every_schema_has_columns_and_always_the_same(given: list[Given]) -> None:
    for r in given:
        schema, again = OutputSchema(r.schema), OutputSchema(json.loads(json.dumps(r.schema)))
        assert schema.arrow_schema.names[-1] == ADDITIONAL, r.name
        assert schema.arrow_schema.equals(again.arrow_schema, check_metadata=True), r.name


def test_every_valid_instance_comes_back_equal_from_a_parquet_file(given: list[Given]) -> None:
    for r in given:
        back = _through_a_file(OutputSchema(r.schema, keep_nulls=True), r.valid)
        assert all(map(_same, back, r.valid)), r.name
        assert len(back) == len(r.valid)


def test_without_keep_nulls_it_comes_back_valid_and_equal_but_for_nulls_that_mean_absent(given: list[Given]) -> None:
    dropped = 0
    for r in given:
        schema = OutputSchema(r.schema)
        back = _through_a_file(schema, r.valid)
        assert all(map(schema.is_valid, back)), r.name
        assert all(_same(_bare(one), _bare(other)) for one, other in zip(back, r.valid, strict=True)), r.name
        dropped += sum(not _same(one, other) for one, other in zip(back, r.valid, strict=True))
    assert dropped > 0, "no null of the real instances is one of an optional property"


def _bare(value: Any) -> Any:
    """The value without the null members of its objects."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def test_every_valid_instance_is_accepted_and_every_invalid_one_refused(given: list[Given]) -> None:
    for r in given:
        schema = OutputSchema(r.schema)
        for instance in r.valid:
            assert schema.is_valid(instance), r.name
            assert schema.validate(instance) == [], r.name
        for instance in r.invalid:
            assert not schema.is_valid(instance), r.name
            assert schema.validate(instance), r.name
            assert schema.explain(instance), r.name


def test_an_invalid_instance_never_costs_a_valid_one_its_row(given: list[Given]) -> None:
    for r in given:
        schema = OutputSchema(r.schema, keep_nulls=True)
        mixed = [*r.invalid, *r.valid, *r.invalid]
        batch, bad = schema.to_arrow(mixed)
        refused = {index for index, _ in bad}
        assert not refused & set(range(len(r.invalid), len(r.invalid) + len(r.valid))), r.name
        kept = [instance for index, instance in enumerate(mixed) if index not in refused]
        assert all(map(_same, schema.from_arrow(batch), kept)), r.name
        assert batch.num_rows == len(kept)


def _leaves(real: list[Given]) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for r in real:
        json_leaves, leaves = arrow.json_share(OutputSchema(r.schema).leaves)
        before = counts[r.subset]
        counts[r.subset] = before[0] + json_leaves, before[1] + leaves
    return counts


_MOST_JSON = {
    "Glaiveai2K": 0.0,
    "Handwritten": 0.5,
    "Kubernetes": 0.02,
    "MCPspec": 0.09,
    "Snowplow": 0.02,
    "Synthesized": 0.0,
    "WashingtonPost": 0.14,
    "schemastore": 0.13,
}


def test_few_leaves_end_as_json(real: list[Given], capsys: pytest.CaptureFixture[str]) -> None:
    counts = _leaves(real)
    lines = [f"  {name:13}{j:6} of {n:5} leaves are JSON: {j / n:.1%}" for name, (j, n) in sorted(counts.items())]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *lines, ""]))
    assert counts.keys() == _MOST_JSON.keys()
    for subset, (as_json, leaves) in counts.items():
        assert as_json <= _MOST_JSON[subset] * leaves, subset


def test_the_service_gets_a_form_of_every_schema_that_is_closed_and_without_references(given: list[Given]) -> None:
    for r in given:
        schema = OutputSchema(r.schema)
        for form in (schema.response_format, schema.simple_response_format):
            sent = form["json_schema"]["schema"]
            assert len(json.dumps(sent, default=str)) < 1_000_000, r.name
            for place in _places(sent):
                assert not {"$ref", "$defs", "definitions", "oneOf", "allOf", "not", "if", "nullable"} & place.keys()
                assert isinstance(place.get("type", ""), str), "a list of types is refused with 5024"
                if "properties" in place:
                    assert place["additionalProperties"] is False, r.name
        for place in _places(schema.simple_response_format["json_schema"]["schema"]):
            assert "anyOf" not in place, r.name


def _places(sent: Any) -> Iterator[dict[str, Any]]:
    yield sent
    inner = (*sent.get("properties", {}).values(), sent.get("items"), sent.get("additionalProperties"))
    for sub in (*inner, *sent.get("anyOf", ())):
        if isinstance(sub, dict):
            yield from _places(sub)


def test_closed_takes_what_is_named_and_refuses_a_key_that_is_not(given: list[Given]) -> None:
    refused = 0
    for r in given:
        schema = OutputSchema(r.schema)
        closed = OutputSchema(r.schema, closed=True)
        for instance in r.valid:
            beside = schema.to_arrow([instance])[0].column(ADDITIONAL).to_pylist()[0]
            if beside is None:
                assert closed.validate(instance) == [], r.name
            if isinstance(instance, dict) and schema.arrow_schema.names[:-1] not in ([], ["_value"]):
                more = {**instance, "never heard of": 1}
                if schema.is_valid(more):
                    # Keys that a pattern or a schema describes are as good as named.
                    refused += any("never heard" in v.message for v in closed.validate(more))
    assert refused > (200 if len(given) > 100 else 20)


# ------------------------------------------------------------------------------------------------ conformance


def _suite(data: Path, draft: str) -> Iterator[tuple[str, Any, list[dict[str, Any]]]]:
    for file in sorted((data / "json-schema-test-suite" / "tests" / draft).glob("*.json")):
        for case in json.loads(file.read_text()):
            yield f"{file.stem}: {case['description']}", case["schema"], case["tests"]


@pytest.fixture(scope="module")
def remotes(shared_data: Path) -> dict[str, Any]:
    base = shared_data / "json-schema-test-suite" / "remotes"
    return {
        f"http://localhost:1234/{file.relative_to(base).as_posix()}": json.loads(file.read_text())
        for file in base.glob("**/*.json")
    }


@pytest.mark.parametrize(("name", "draft", "count"), [("draft2020-12", "2020-12", 1_299), ("draft7", 7, 927)])
def test_every_required_test_of_a_draft_passes(
    shared_data: Path, remotes: dict[str, Any], name: str, draft: Any, count: int
) -> None:
    passed = 0
    for case, definition, tests in _suite(shared_data, name):
        schema = OutputSchema(definition, formats=False, registry=remotes, draft=draft)
        for test in tests:
            assert schema.is_valid(test["data"]) is test["valid"], f"{case}: {test['description']}"
            assert (schema.validate(test["data"]) == []) is test["valid"], f"{case}: {test['description']}"
            passed += 1
    assert passed == count


@pytest.mark.parametrize(("name", "draft", "count"), [("draft2020-12", "2020-12", 765), ("draft7", 7, 550)])
def test_what_a_conformance_test_holds_valid_comes_back_from_its_row(
    shared_data: Path, remotes: dict[str, Any], name: str, draft: Any, count: int
) -> None:
    came_back = 0
    for case, definition, tests in _suite(shared_data, name):
        schema = OutputSchema(definition, formats=False, registry=remotes, draft=draft, keep_nulls=True)
        valid = [test["data"] for test in tests if test["valid"]]
        assert all(map(_same, _through_a_file(schema, valid), valid)), case
        usual = OutputSchema(definition, formats=False, registry=remotes, draft=draft)
        assert all(map(usual.is_valid, _through_a_file(usual, valid))), case
        came_back += len(valid)
    assert came_back == count
