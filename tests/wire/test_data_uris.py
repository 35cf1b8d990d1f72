"""A text that holds the beginning of a picture's data URI is sent in a form that the service takes for text."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from both_paths import both_paths
from harness import RECEIPT, receipts, run_extract, service
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Asked, Scripted, completion, error, reply

import kimi_beam as kb
from kimi_beam.columnar import Documents
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.journal.recorder import Keys
from kimi_beam.request.checks import prepare, prepare_texts
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Layout
from kimi_beam.wire import data_uris

PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
PIECES = [
    "data:image/",
    "DATA:IMAGE/",
    "Data:Image/png;base64,AAAA",
    "data:",
    "image/",
    "`",
    "```",
    '"',
    "\\",
    "é",
    " ",
]
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("x".join)


def spoken(request: bytes) -> str:
    """The texts of a request: its instructions, schema and document, without its pictures."""
    body = json.loads(request)
    for message in body["messages"]:
        parts = message["content"] if isinstance(message["content"], list) else [message["content"]]
        message["content"] = [part for part in parts if not isinstance(part, dict) or part["type"] == "text"]
    return json.dumps(body, ensure_ascii=False)


@given(texts)
def test_no_request_says_what_a_service_takes_for_a_picture(text: str) -> None:
    for metadata_keys in ((), ("note",)):
        prompt = Prompt(OutputSchema(RECEIPT), metadata_keys=metadata_keys)
        alone, pictured = kb.Document("a", text), kb.Document("b", text, (PICTURE,), {"note": f"see {text}"})
        amid = replace(pictured, text=f"{text}\n\n{text}", layout=Layout((), (len(text),)))
        for document in (alone, pictured, amid):
            request = prompt.request(document, "0-0", turns=[orjson.dumps({"role": "tool", "content": text})])
            assert "data:image/" not in spoken(request).lower()
            assert request.count(PICTURE.encode()) == len(document.images), "a picture was changed"
            size = prompt.overhead + prompt.shown(document).size
            assert len(prompt.request(document, "0-0")) <= size, "more is sent than was counted"
        (pieces,) = prompt.requests(Documents.of([alone]), ["0-0"], 0)
        assert b"".join(pieces) == prompt.request(alone, "0-0")


def test_a_text_that_is_let_through_holds_no_picture() -> None:
    with both_paths("let through", "searched") as taken:
        _a_text_that_is_let_through_holds_no_picture(taken)


@settings(derandomize=True, max_examples=300)
@given(texts | st.text(alphabet=st.sampled_from("dDaAtTaA:iImMaAgGeE/"), max_size=40))
def _a_text_that_is_let_through_holds_no_picture(taken: Counter[str], text: str) -> None:
    said = orjson.dumps(text)
    sent = data_uris.mask(said)
    taken["let through" if sent is said else "searched"] += 1
    assert sent == data_uris._BEGINNING.sub(rb"\1;", said)


@given(texts)
def test_what_is_sent_has_the_lengths_of_the_text_itself(text: str) -> None:
    said = orjson.dumps(text)
    sent = data_uris.mask(said)
    assert len(sent) == len(said)
    there = orjson.loads(sent)
    assert [a for a, b in zip(text, there, strict=True) if a != b] == [":"] * text.lower().count("data:image/")
    assert data_uris.unmask(there, text) == text or "data;image/" in text.lower()


def test_the_journals_key_and_the_size_are_those_of_the_text_itself_on_both_paths() -> None:
    prompt, one = Prompt(OutputSchema(RECEIPT)), kb.Document("a", f"before {PICTURE} after")
    keys = Keys(prompt, service("http://127.0.0.1:9"))
    (row,) = prepare_texts(Documents.of([one]), prompt, keys.of_shown)
    item = prepare(one, prompt, keys.of_shown)
    assert row is not None
    assert (row[3], row[5]) == (item.size, item.key)
    other = kb.Document("a", one.text.replace("data:", "data;"))
    assert prepare(other, prompt, keys.of_shown).key != item.key


def test_instructions_and_schema_are_sent_so_as_well() -> None:
    schema = {
        "type": "object",
        "properties": {"logo": {"type": "string", "description": "as data:image/png", "examples": ["DATA:image/gif"]}},
    }
    for form in ("schema", "bare", "prompt", "tool"):
        prompt: Any = Prompt(
            OutputSchema(schema), instructions="Copy each data:image/… as it is.", structured_output=form
        )
        for number in range(len(prompt.forms)):
            assert "data:image/" not in spoken(prompt.request(kb.Document("a", "x"), form=number)).lower()


def test_another_server_gets_the_text_as_it_is() -> None:
    prompt = Prompt(OutputSchema(RECEIPT), api="chat", is_elsewhere=True)
    assert PICTURE in spoken(prompt.request(kb.Document("a", PICTURE)))


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_a_text_that_looks_like_a_picture_is_extracted_from_like_any_other(api: Any, tmp_path: Path) -> None:
    documents = [kb.Document(d.id, f"{d.text}logo: {PICTURE}\n") for d in receipts(20)]
    with Emulator(behaviour=Behaviour(image_texts="refused")) as emulator:
        outcome = run_extract(documents, "", tmp_path, where=service(emulator.base_url, api=api))
        submits = emulator.stats()["submits"]
    assert (len(outcome.rows), outcome.letters) == (20, [])
    assert api != "batch" or submits == 1


def test_an_answer_that_repeats_a_data_uri_holds_it_as_the_document_does(tmp_path: Path) -> None:
    def script(asked: Asked) -> bytes:
        text = asked.json["messages"][-1]["content"]
        found = next(line for line in text.splitlines() if "image/" in line)
        return reply({"result": completion(json.dumps({"company": found, "total": 1})), "success": True})

    documents = [kb.Document("a", f"{PICTURE}\n"), kb.Document("b", "a data;image/png it says\n")]
    with Scripted(script) as server:
        outcome = run_extract(documents, "", tmp_path, where=service(server.url, api="run"))
    assert {row["_document_id"]: row["company"] for row in outcome.rows} == {
        "a": PICTURE,
        "b": "a data;image/png it says",
    }


@pytest.mark.parametrize("api", ["batch", "run"])
def test_what_met_8006_is_not_sent_again(api: Any, tmp_path: Path) -> None:
    def script(asked: Asked) -> bytes:
        return error(8006, 400, "AiError: Bad image data")

    with Scripted(script) as server:
        outcome = run_extract(receipts(1), "", tmp_path, where=service(server.url, api=api))
        assert len(server.asked) == 1, "it was sent again, to be refused again"
    assert [(d["code"], d["retryable"]) for d in outcome.letters] == [("refused", False)]
    assert "tool" not in outcome.letters[0]["message"]
