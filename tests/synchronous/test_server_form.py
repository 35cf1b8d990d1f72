"""Servers that do not know how JSON is asked for: found out once, and no document is lost, doubled or kept waiting."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, read_dataset, receipts, run_extract
from scripted import Asked, Scripted, completion, reply

import kimi_beam as kb
from kimi_beam import cli
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.synchronous.after_reply import AskAgain, Call, Settle
from kimi_beam.synchronous.server_form import ServerForm
from kimi_beam.types.failure import Failure
from kimi_beam.wire.form_refusals import RefusedRequest
from kimi_beam.wire.service_errors import ServiceError

PYDANTIC = [{"type": "literal_error", "loc": ("body", "response_format", "type"), "msg": "Input should be 'text'"}]
SAID = {
    "422": (422, {"detail": PYDANTIC}),
    "500": (500, {"error": {"message": str(PYDANTIC), "type": "internal_server_error", "param": None, "code": None}}),
    "400": (400, {"error": {"message": "response_format is not supported", "type": "invalid_request_error"}}),
    "400 text": (400, {"error": "'response_format.type' must be another"}),
    "no words": (400, {}),
    "bare 500": (500, {"error": "1 validation error for Request"}),
}


def form_of(asked: Asked) -> str:
    shape = asked.json.get("response_format", {"type": "text"})
    return shape["type"] + ("+schema" if "schema" in shape else "")  # type: ignore[no-any-return]


class Server:
    """Answers requests of the forms that it takes, and refuses all others in the same words."""

    def __init__(self, takes: set[str], said: tuple[int, Any]) -> None:
        self.takes, self.said = takes, said
        self.forms: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> bytes:
        if asked.method == "GET":
            return reply({"data": [{"id": "m"}]})
        with self._lock:
            self.forms[form_of(asked)] += 1
            if form_of(asked) not in self.takes:
                return reply(self.said[1], self.said[0])
            self.answered[str(asked.json["messages"][1]["content"])] += 1
        return reply(completion())


def ask(server: Any, directory: Path, count: int = 60, **extract: Any) -> Any:
    with Scripted(server) as running:
        where = kb.WorkersAI(model="m", openai_url=running.url)
        return run_extract(receipts(count), "", directory, where=where, max_concurrency=8, **extract)


TAKEN = ("json_object+schema", "json_object", "text", "json_object+schema", "json_object", "text")


@pytest.mark.parametrize(("takes", "said"), [*zip(TAKEN, SAID, strict=True), ("json_schema", "400")])
def test_what_a_server_takes_is_found_and_kept(takes: str, said: str, tmp_path: Path) -> None:
    server = Server({takes}, SAID[said])
    began = time.monotonic()
    outcome = ask(server, tmp_path)
    assert outcome.ids == Counter(d.id for d in receipts(60))
    assert (len(outcome.rows), outcome.letters) == (60, [])
    assert set(server.answered.values()) == {1}, "a document was paid for twice"
    refused = sum(server.forms.values()) - 60
    assert refused <= 3 * 8, f"more than the first few documents were refused: {server.forms}"
    assert time.monotonic() - began < 60, "an answer was waited for that could not come"
    assert all(row["_provenance"]["model_answered"] == "m" for row in outcome.rows)
    attempts = [row["_provenance"]["attempts"] for row in outcome.rows]
    assert sum(attempts) == sum(server.forms.values())
    assert attempts.count(1) >= 60 - 8


@pytest.mark.parametrize(("form", "said"), [("schema", "422"), ("bare", "500"), ("prompt", "400"), ("tool", "400")])
def test_a_server_that_takes_none_ends_the_run_in_one_line(form: Any, said: str, tmp_path: Path) -> None:
    status, body = SAID[said]
    if form == "tool":
        body = {"error": "this model does not support tools"}
    server = Server(set(), (status, body))
    with pytest.raises(Exception, match=r"AccountError: .*--structured-output") as raised:  # as the runner wraps it
        ask(server, tmp_path, structured_output=form)
    assert "\n" not in str(raised.value)
    assert sum(server.forms.values()) <= 4 * 8
    assert not list(tmp_path.glob("extractions-*"))


def test_a_document_that_is_refused_for_itself_changes_nothing_for_the_others(tmp_path: Path) -> None:
    """One text is refused without a word, in each form, before and after others have been answered."""
    documents = receipts(40)
    bad = documents[0].text.splitlines()[0]

    class Picky(Server):
        def __call__(self, asked: Asked) -> bytes:
            if asked.method == "POST" and bad in str(asked.json["messages"][1]):
                return reply({"error": "no"}, 400)
            return super().__call__(asked)

    server = Picky({"json_schema"}, SAID["400"])
    outcome = ask(server, tmp_path, 40)
    refused = [d for d in documents if bad in d.text]
    assert Counter(outcome.codes) == Counter({"refused": len(refused)})
    assert len(outcome.rows) == 40 - len(refused)
    assert set(server.forms) == {"json_schema"}, "the others were asked for in another form"


def test_a_form_that_was_answered_is_kept_when_one_document_is_refused_for_it(tmp_path: Path) -> None:
    documents = receipts(40)
    odd = documents[-1].text

    class Engine(Server):
        async def later(self, asked: Asked) -> bytes:
            is_odd = asked.method == "POST" and odd.splitlines()[0] in str(asked.json["messages"][1])
            if is_odd and form_of(asked) == "json_schema":
                while not self.answered:  # until another document has been
                    await asyncio.sleep(0.01)
                return reply({"error": "the JSON schema engine failed"}, 500)
            return self(asked)

    server = Engine({"json_schema", "json_object+schema"}, SAID["400"])
    outcome = ask(server.later, tmp_path, 40)
    assert (len(outcome.rows), outcome.letters) == (40, [])
    odds = sum(odd.splitlines()[0] in d.text for d in documents)
    assert server.forms["json_object+schema"] == odds


def test_a_stream_gives_the_documents_up_where_a_server_takes_none() -> None:
    """Nothing ends a stream; its dead letters say what to do."""
    prompt = Prompt(OutputSchema(RECEIPT), structured_output="prompt", model="m", api="chat", is_elsewhere=True)
    form, call = ServerForm("http://s", prompt), Call(1.0, len(prompt.forms))
    error = ServiceError(400, None, "response_format is not supported")
    step = form.refused(call, error, RefusedRequest.FORM, halts=False)
    assert isinstance(step, AskAgain)
    assert (step.wait, step.call.form, form.form) == (0.0, 1, 1)
    step = form.refused(step.call, error, RefusedRequest.FORM, halts=False)
    assert isinstance(step, Settle)
    assert isinstance(step.result, Failure)
    assert (step.result.code, step.call.attempts) == ("refused", 2)
    assert "--structured-output" in step.result.message


def test_answers_that_overtake_refusals_leave_the_stricter_form() -> None:
    prompt = Prompt(OutputSchema(RECEIPT), model="m", api="chat", is_elsewhere=True)
    form, call = ServerForm("http://s", prompt), Call(1.0, len(prompt.forms))
    unsaid = form.refused(call, ServiceError(400, None, ""), RefusedRequest.UNSPECIFIED, halts=True)
    assert isinstance(unsaid, AskAgain)
    assert (unsaid.call.form, form.form) == (1, 0), "the others were moved without evidence"
    form.answered(1)
    assert form.form == 1
    form.answered(0)
    assert (form.form, form.applied(call).form) == (0, 0)
    form.answered(1)
    assert form.form == 0, "an answer to one document moved all others"


@pytest.mark.parametrize("said", [(400, {}), (400, {"error": "nope"}), (500, {"error": "1 validation error for X"})])
def test_a_server_that_takes_no_document_in_any_form_ends_the_run(said: tuple[int, Any], tmp_path: Path) -> None:
    server = Server(set(), said)
    with pytest.raises(Exception, match="--structured-output"):
        ask(server, tmp_path)
    assert server.forms.total() < 60, "each of 60 documents was sent in each form"


@pytest.mark.parametrize("said", [(400, {}), (400, {"error": "nope"}), (422, {"error": "'temperature' is wrong"})])
def test_refusals_that_come_before_the_first_answer_are_those_documents_own(
    said: tuple[int, Any], tmp_path: Path
) -> None:
    """A refusal comes at once, and an answer takes its time: neither order says that no request is taken."""
    documents = receipts(40)
    bad = {d.text for d in documents[:6]}

    class Picky(Server):
        async def later(self, asked: Asked) -> bytes:
            if asked.method == "POST" and any(text in str(asked.json["messages"][1]["content"]) for text in bad):
                return reply(said[1], said[0])
            await asyncio.sleep(0.5)
            return self(asked)

    server = Picky({"json_schema"}, SAID["400"])
    outcome = ask(server.later, tmp_path, 40)
    assert outcome.ids == Counter(d.id for d in documents)
    assert outcome.codes == {"refused": 6}
    assert set(server.answered.values()) == {1}


@pytest.mark.parametrize(
    ("field", "setting"), [("temperature", "--thinking"), ("max_tokens", "--max-completion-tokens")]
)
@pytest.mark.parametrize("as_list", [True, False])
def test_a_field_that_a_server_does_not_take_ends_the_run_in_one_line(
    field: str, setting: str, as_list: bool, tmp_path: Path
) -> None:
    body: Any = {"error": {"message": f"Unsupported parameter: '{field}' is not supported with this model."}}
    if as_list:
        body = {"detail": [{"loc": ["body", field], "msg": "Extra inputs are not permitted", "input": 0}]}
    server = Server(set(), (400, body))
    with pytest.raises(Exception, match=f"AccountError: .*does not take {field} .*{setting}") as raised:
        ask(server, tmp_path)
    assert "\n" not in str(raised.value)
    assert server.forms.total() <= 8 + 2, "it was tried with more documents than were in flight"
    assert set(server.forms) == {"json_schema"}, "another form does not help"


def test_documents_that_are_refused_beside_an_answered_one_end_nothing() -> None:
    prompt = Prompt(OutputSchema(RECEIPT), model="m", api="chat", is_elsewhere=True)
    form = ServerForm("http://s", prompt)
    form.answered(0)
    last = Call(1.0, len(prompt.forms), form=len(prompt.forms) - 1)
    for _ in range(9):
        step = form.refused(last, ServiceError(400, None, "nope"), RefusedRequest.UNSPECIFIED, halts=True)
        assert isinstance(step, Settle)


def test_an_outage_is_still_an_outage(tmp_path: Path) -> None:
    """500 without a word about the request: tried again in the same form."""
    failed: list[int] = []

    class Shaky(Server):
        def __call__(self, asked: Asked) -> bytes:
            if asked.method == "POST" and len(failed) < 5:
                failed.append(1)
                return reply({"error": {"message": "Internal Server Error", "type": "server_error"}}, 500)
            return super().__call__(asked)

    server = Shaky({"json_schema"}, SAID["400"])
    outcome = ask(server, tmp_path)
    assert (len(outcome.rows), outcome.letters) == (60, [])
    assert set(server.forms) == {"json_schema"}


def test_the_journal_knows_answers_whatever_form_they_came_by(tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    first, second = Server({"text"}, SAID["400"]), Server({"text"}, SAID["400"])
    with Scripted(first) as running:
        where = kb.WorkersAI(model="m", openai_url=running.url)
        once = run_extract(receipts(20), "", tmp_path / "a", where=where, journal=journal)
        first.forms.clear()
        again = run_extract(receipts(20), "", tmp_path / "b", where=where, journal=journal)
        assert not first.forms, "what was answered was asked for again"
    assert [r["_document_id"] for r in sorted(once.rows, key=str)] == [
        r["_document_id"] for r in sorted(again.rows, key=str)
    ]
    assert not second.forms


def test_the_command_line_says_what_it_does_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.json").write_text(json.dumps(RECEIPT))
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(9)))
    arguments = ["extract", str(tmp_path / "in.jsonl"), "--schema", str(tmp_path / "s.json"), "--model", "m"]
    server = Server({"json_object+schema"}, SAID["500"])
    with Scripted(server) as running:
        where = ["--openai-url", running.url]
        assert cli.main([*arguments, "--output", str(tmp_path / "out"), *where]) == 0
        said = capsys.readouterr().err
        assert said.count("refuses response_format json_schema (") == 1
        assert (
            "it is asked by response_format json_object with the schema in it from now on; --structured-output" in said
        )
        server.takes = set()
        assert cli.main([*arguments, "--output", str(tmp_path / "out2"), *where]) == 1
        said = capsys.readouterr().err
        assert "name another by --structured-output" in said.splitlines()[-1]
        assert "Traceback" not in said
    assert len(read_dataset(tmp_path / "out").rows) == 9
