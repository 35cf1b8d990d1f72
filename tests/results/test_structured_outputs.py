"""Structured outputs end to end: schemas that JSON mode cannot meet, requests that a model refuses, and thinking."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import HASTY, RECEIPT, receipts, run_extract, service
from scripted import Asked, Scripted, answered, completion, error, reply

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.errors import ConfigError

K2_5, K2_6, K2_7 = (f"@cf/moonshotai/kimi-{name}" for name in ("k2.5", "k2.6", "k2.7-code"))
APIS = ("batch", "run", "chat")
FORMS = ("schema", "bare", "prompt", "tool")
SENT = {
    "type": "object",
    "title": "Receipt",
    "properties": {
        "company": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "total": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
    "required": ["company", "total"],
    "additionalProperties": False,
}
"""The harness's `RECEIPT` as the service gets it."""


@pytest.mark.parametrize("form", ["schema", "bare"])
@pytest.mark.parametrize(
    ("api", "limits", "unmet", "attempts"),
    [
        # Four jobs are in flight when the first form fails; the second is tried with one of them.
        ("batch", {"batching": kb.Batching(max_items=10), "shards": 1}, 40 + 10, {2: 30, 3: 10}),
        # Two documents in each form are enough to know.
        ("run", {"max_concurrency": 1}, 2 + 2, {1: 38, 3: 2}),
        ("chat", {"max_concurrency": 1}, 2 + 2, {1: 38, 3: 2}),
    ],
)
def test_json_mode_that_is_never_met_ends_in_rows_by_the_prompt(
    api: str, limits: dict[str, Any], unmet: int, attempts: dict[int, int], form: Any, tmp_path: Path
) -> None:
    documents = receipts(40)
    with Emulator(faults="json_mode=1") as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(documents, "", tmp_path, where=where, structured_output=form, **limits)
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents)
    assert (len(outcome.rows), outcome.letters) == (40, [])
    assert stats["faults"]["json_mode"] == unmet
    assert stats["paid_twice"] == 0
    assert outcome.summary["usage"]["prompt_tokens"] == stats["prompt_tokens"]
    assert Counter(r["_provenance"]["attempts"] for r in outcome.rows) == attempts


@pytest.mark.parametrize("api", ["run", "chat"])
def test_requests_that_are_in_flight_together_learn_of_a_failed_form_together(api: str, tmp_path: Path) -> None:
    """A form is asked for by those in flight when the second document fails in it, and by none that comes later."""
    at_once = 4
    with Emulator(faults="json_mode=1", latency=0.05) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(40), "", tmp_path, where=where, max_concurrency=at_once)
        unmet = emulator.stats()["faults"]["json_mode"]
    assert (len(outcome.rows), outcome.letters) == (40, [])
    assert 2 * 2 <= unmet <= 2 * (at_once + 1)


@pytest.mark.parametrize("api", APIS)
def test_json_mode_that_is_met_now_and_then_loses_and_pays_nothing_twice(api: str, tmp_path: Path) -> None:
    documents = receipts(100)
    with Emulator(seed=4, faults="json_mode=0.5,truncated=0.1,invalid=0.1") as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(documents, "", tmp_path, where=where, batching=kb.Batching(max_items=30), repairs=0)
        stats = emulator.stats()
    assert outcome.ids == Counter(d.id for d in documents)
    assert set(outcome.codes) == {"truncated", "schema_violation"}
    assert stats["paid_twice"] == 0
    spent = outcome.summary["usage"]
    assert (spent["prompt_tokens"], spent["completion_tokens"]) == (stats["prompt_tokens"], stats["completion_tokens"])
    attempts = Counter(r["_provenance"]["attempts"] for r in outcome.rows)
    assert set(attempts) == {1, 2, 3}, "a document's attempts are those of others"


@pytest.mark.parametrize("api", APIS)
def test_what_a_failed_form_has_cost_is_part_of_the_documents_usage(api: str, tmp_path: Path) -> None:
    """A service that bills 5024 all the same: the row's tokens are those of all requests."""

    def answer(asked: Asked) -> bytes:
        if "queueRequest=true" not in asked.path:
            return error(5024, 400) if asked.json.get("response_format", {}).get("json_schema") else answered()
        if "request_id" not in asked.json:
            mode = asked.json["requests"][0].get("response_format", {}).get("type")
            names = "/".join(request["external_reference"] for request in asked.json["requests"])
            return reply({"result": {"status": "queued", "request_id": f"{mode}/{names}"}, "success": True})
        mode, *names = asked.json["request_id"].split("/")
        failed = {"code": 5024, "message": "JSON Mode couldn't be met"}
        usage = completion()["usage"]
        items = [
            {"index": n, "external_reference": name, "success": False, "error": failed, "result": {"usage": usage}}
            if mode == "json_schema"
            else {"index": n, "external_reference": name, "success": True, "result": completion()}
            for n, name in enumerate(names)
        ]
        return reply({"result": {"results": items}, "success": True})

    with Scripted(answer) as server:
        outcome = run_extract(receipts(3), "", tmp_path, where=service(server.url, api=api))
    assert len(outcome.rows) == 3
    times = 3 if api == "batch" else 1  # only an item states its tokens beside an error
    assert {r["_provenance"]["prompt_tokens"] for r in outcome.rows} == {10 * times}
    assert outcome.summary["usage"]["prompt_tokens"] == 3 * 10 * times


@pytest.mark.parametrize("api", ["run", "chat"])
@pytest.mark.parametrize("form", ["schema", "bare"])
def test_a_model_without_json_schema_is_given_up_after_few_requests(api: str, form: Any, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(without_json_schema=(K2_6,))) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(
            receipts(300), "", tmp_path, where=where, structured_output=form, max_concurrency=8, schema=RECEIPT
        )
        assert emulator.stats()["documents"] == 0
    assert outcome.codes == {"json_mode_unsupported": 300}
    assert sum(letter["attempts"] for letter in outcome.letters) <= 16, "each document is sent to be refused"
    assert "5025" in outcome.letters[0]["message"]
    assert outcome.summary["requests"] is None or outcome.summary["requests"] <= 16


def test_a_model_without_json_schema_is_given_up_in_the_queue(tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(without_json_schema=(K2_6,))) as emulator:
        outcome = run_extract(receipts(60), emulator.base_url, tmp_path, batching=kb.Batching(max_items=20))
        stats = emulator.stats()
    assert outcome.codes == {"json_mode_unsupported": 60}
    assert stats["submits"] <= 3
    assert stats["documents"] == 0


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("form", ["prompt", "tool"])
def test_a_model_without_json_schema_still_answers_the_other_forms(api: str, form: Any, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(without_json_schema=(K2_6,))) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(10), "", tmp_path, where=where, structured_output=form)
    assert (len(outcome.rows), outcome.letters) == (10, [])


@pytest.mark.parametrize("api", APIS)
def test_a_function_call_that_does_not_fit_is_truncated_and_said_so(api: str, tmp_path: Path) -> None:
    with Emulator() as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(
            receipts(10), "", tmp_path, where=where, structured_output="tool", max_completion_tokens=3
        )
    assert outcome.codes == {"truncated": 10}
    assert "8006" in outcome.letters[0]["message"]


@pytest.mark.parametrize("form", ["schema", "prompt"])
@pytest.mark.parametrize("api", APIS)
def test_an_answer_that_does_not_fit_is_truncated_and_not_asked_for_again(api: str, form: Any, tmp_path: Path) -> None:
    with Emulator() as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(10), "", tmp_path, where=where, structured_output=form, max_completion_tokens=3)
        assert emulator.stats()["paid_twice"] == 0
    assert outcome.codes == {"truncated": 10}
    assert all(letter["raw"] for letter in outcome.letters), "the evidence is lost"


@pytest.mark.parametrize("api", APIS)
def test_unions_that_json_mode_refuses_are_asked_for_by_the_prompt(api: str, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(union_types="refused")) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(20), "", tmp_path, where=where)
        assert emulator.stats()["paid_twice"] == 0
    assert (len(outcome.rows), outcome.letters) == (20, [])


@pytest.mark.parametrize("form", ["schema", "bare"])
@pytest.mark.parametrize("api", APIS)
def test_optional_properties_are_asked_for_once_where_lists_of_types_are_refused(
    api: str, form: Any, tmp_path: Path
) -> None:
    """The harness's schema has two properties that are a type or null, which must not go out as lists of types."""
    with Emulator(behaviour=Behaviour(union_types="any_of")) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(20), "", tmp_path, where=where, structured_output=form)
    assert (len(outcome.rows), outcome.letters) == (20, [])
    assert {r["_provenance"]["attempts"] for r in outcome.rows} == {1}, "5024 was answered to the first request"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", APIS)
def test_a_service_that_enforces_no_schema_is_checked_here(api: str, form: Any, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(enforce_schema=False), faults="invalid=0.3", seed=2) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(30), "", tmp_path, where=where, structured_output=form)
    assert outcome.summary["documents"] == 30
    assert len(outcome.rows) > 10
    assert set(outcome.codes) <= {"schema_violation", "not_json"}
    for row in outcome.rows:
        assert isinstance(row["total"], float)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", APIS)
def test_fences_and_prose_around_the_answer_are_taken_off(api: str, form: Any, tmp_path: Path) -> None:
    with Emulator(faults="fenced=0.5,prose=0.5", seed=1) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract(receipts(20), "", tmp_path, where=where, structured_output=form)
        struck = emulator.stats()["faults"]
    assert {r["_document_id"]: r["total"] for r in outcome.rows} == {f"doc-{n}": n + 0.5 for n in range(20)}
    assert min(struck["fenced"], struck["prose"]) >= 3


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_sent_as_the_contract_has_it(form: Any, tmp_path: Path) -> None:
    arguments = '{"company": "A", "total": 1}'
    call = {"id": "c", "type": "function", "function": {"name": "Receipt", "arguments": arguments}}
    called = {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}

    def answer(asked: Asked) -> bytes:
        return answered(**called) if "tools" in asked.json else answered()

    with Scripted(answer) as server:
        where = service(server.url, api="run")
        outcome = run_extract(receipts(1), "", tmp_path, where=where, structured_output=form)
    assert len(outcome.rows) == 1
    (asked,) = server.asked
    body = asked.json
    shape = body.get("response_format")
    if form == "schema":
        assert shape == {"type": "json_schema", "json_schema": {"name": "Receipt", "schema": SENT, "strict": True}}
    elif form == "bare":
        assert shape == {"type": "json_schema", "json_schema": SENT}
    elif form == "prompt":
        assert shape == {"type": "json_object"}
    else:
        assert shape is None
        assert body["tool_choice"] == {"type": "function", "function": {"name": "Receipt"}}
        (tool,) = body["tools"]
        assert (tool["type"], tool["function"]["name"], tool["function"]["parameters"]) == (
            "function",
            "Receipt",
            SENT,
        )
    # Streaming with a schema is 5023; without one it outlives the cut-off after 120 s.
    assert body.get("stream", False) == (form in ("prompt", "tool"))
    assert body["max_completion_tokens"] >= 2048
    assert body["messages"][-1]["role"] == "user"


def test_a_function_call_cannot_hold_an_answer_that_is_no_object() -> None:
    with pytest.raises(ConfigError, match="structured_output"):
        kb.Extract({"type": "array"}, service=service("http://x"), structured_output="tool")


# ------------------------------------------------------------------------------------------------ thinking


@pytest.mark.parametrize("switch", ["any", "documented"])
@pytest.mark.parametrize("model", [K2_5, K2_6])
@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_thinking_is_off_by_the_switch_of_the_model(model: str, switch: Any, tmp_path: Path) -> None:
    behaviour = Behaviour(thinking_switch=switch, reasoning_tokens=500)
    with Emulator(behaviour=behaviour) as emulator:
        where = service(emulator.base_url, api="run", model=model)
        outcome = run_extract(receipts(5), "", tmp_path, where=where)
    assert len(outcome.rows) == 5
    spent = outcome.summary["usage"]["completion_tokens"]
    assert spent < 5 * 100, "the model thought, and thinking is billed"


@pytest.mark.parametrize(("model", "thinking"), [(K2_6, True), (K2_7, False), (K2_7, True)])
def test_a_model_that_thinks_gets_room_for_it_and_no_switch(model: str, thinking: bool, tmp_path: Path) -> None:
    with Scripted(lambda _: answered()) as server:
        where = service(server.url, api="run", model=model)
        run_extract(receipts(1), "", tmp_path, where=where, thinking=thinking)
    (asked,) = server.asked
    assert asked.json["max_completion_tokens"] >= 32_000
    assert "temperature" not in asked.json
    assert "chat_template_kwargs" not in asked.json


@pytest.mark.parametrize("api", APIS)
def test_thinking_that_no_switch_turns_off_is_billed_and_never_read_as_the_answer(api: str, tmp_path: Path) -> None:
    for field in ("reasoning_content", "reasoning", "both"):
        behaviour = Behaviour(thinking_switch="ignored", reasoning_tokens=300, reasoning_field=field)
        with Emulator(behaviour=behaviour) as emulator:
            where = service(emulator.base_url, api=api)
            outcome = run_extract(receipts(5), "", tmp_path / field, where=where)
        assert len(outcome.rows) == 5
        assert outcome.summary["usage"]["completion_tokens"] >= 5 * 300


def test_all_tokens_spent_on_thinking_are_a_truncated_answer(tmp_path: Path) -> None:
    behaviour = Behaviour(thinking_switch="ignored", reasoning_tokens=300)
    for form in ("schema", "prompt"):
        with Emulator(behaviour=behaviour) as emulator:
            where = service(emulator.base_url, api="run")
            outcome = run_extract(
                receipts(3), "", tmp_path / form, where=where, structured_output=form, max_completion_tokens=50
            )
        assert outcome.codes == {"truncated": 3}
        assert "thinking" in outcome.letters[0]["message"]


@pytest.mark.parametrize("api", APIS)
def test_a_forced_call_with_a_thinking_switch_that_the_service_cannot_do_ends(api: str, tmp_path: Path) -> None:
    """One report: HTTP 500 to both together. It ends as retryable dead letters; with thinking it goes through."""
    with Emulator(behaviour=Behaviour(forced_tool_with_switch="error")) as emulator:
        where = service(emulator.base_url, api=api)
        hasty = {"structured_output": "tool", "polling": HASTY}
        outcome = run_extract(receipts(4), "", tmp_path / "off", where=where, **hasty)  # type: ignore[arg-type]
        assert emulator.stats()["documents"] == 0
        assert len(outcome.letters) == 4
        assert set(outcome.codes) <= {"refused", "item_failed"}
        assert "8005" in outcome.letters[0]["message"]
        outcome = run_extract(receipts(4), "", tmp_path / "on", where=where, structured_output="tool", thinking=True)
        assert len(outcome.rows) == 4
