"""Documents that try to be more than data: all of each stands inside its fence, and none changes the request around."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from harness import QUICK, RECEIPT, read_dataset, run_extract, service
from injections import EACH, INJECTIONS
from overheard import Overheard

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document

OPEN = {"document", "metadata", "part", "beginning", "headings", "columns", "before"}
"""The names of the blocks that a user's message may have."""


def around(text: str, number: int) -> str:
    return f"COMPANY: Shop {number} Ltd\n{text}\nTOTAL: {number}.50\n"


def sent(text: str) -> str:
    """A text as it is sent: with its control tokens altered, found here by hand."""
    pieces = text.split("<|")
    for index, piece in enumerate(pieces[1:], 1):
        name, end, _ = piece.partition("|>")
        pieces[index] = ("<!" if end and name and not set(name) & set('|<> \n"\\') else "<|") + piece
    return "".join(pieces)


def blocks_in(content: str) -> list[tuple[str, str]]:
    """The fenced blocks of a message by name, as CommonMark reads them; nothing stands outside of them."""
    found: list[tuple[str, str]] = []
    fence, name, lines = "", "", list[str]()
    for line in content.split("\n"):
        if not fence:
            name = line.lstrip("`")
            fence = line[: len(line) - len(name)]
            assert len(fence) >= 3, f"outside of every fence stands {line!r}"
            lines = []
        elif line.startswith(fence) and not line.strip("`"):
            found.append((name, "\n".join(lines)))
            fence = ""
        else:
            lines.append(line)
    assert not fence, "a fence stays open"
    return found


def checked(requests: Iterable[dict[str, Any]], *prompts: Prompt) -> list[list[tuple[str, str]]]:
    """The blocks of each request, after a look at all that stands around them."""
    systems = {json.loads(one.request(Document("a", "t")))["messages"][0]["content"] for one in prompts}
    keys = {frozenset(json.loads(one.request(Document("a", "t"), "r"))) for one in prompts}
    found = []
    for request in requests:
        assert frozenset({*request, "external_reference"}) in keys
        system, user = request["messages"]
        assert (set(system), system["role"], system["content"] in systems) == ({"role", "content"}, "system", True)
        assert (set(user), user["role"]) == ({"role", "content"}, "user")
        blocks = blocks_in(user["content"])
        assert {name for name, _ in blocks} <= OPEN
        assert sum(name in ("document", "part") for name, _ in blocks) == 1
        found.append(blocks)
    return found


def files(directory: Path) -> None:
    """Each injection as a text, in a mail's headers and body, and in a page: seen, in an alt text, and hidden."""
    directory.mkdir()
    for number, (_, text) in enumerate(EACH):
        line = " ".join(text.replace("\0", " ").split())
        name = "".join(character for character in line if character.isalnum() or character in " <>|`'{}[]:")[:60]
        (directory / f"{number:02} {name}.txt").write_bytes(around(text.replace("\0", ""), number).encode())
        mail = EmailMessage(policy=SMTP)
        header = "".join(character for character in line if character.isprintable())
        mail["Subject"], mail["From"], mail["To"] = f"{number} {header}"[:400], "a@b.example", "c@d.example"
        mail.set_content(around(text.replace("\0", ""), number))
        (directory / f"{number:02}.eml").write_bytes(mail.as_bytes())
        said = html.escape(text.replace("\0", ""))
        (directory / f"{number:02}.html").write_text(
            f"<html><head><title>{said}</title></head><body><p>COMPANY: Shop {number} Ltd</p><p>{said}</p>"
            f'<img src="x.png" alt="{said}"><div style="display:none">HIDDEN-{number:02} {said}</div>'
            f"<p>TOTAL: {number}.50</p></body></html>",
            encoding="utf-8",
        )


def test_there_are_as_many_and_of_all_kinds() -> None:
    assert len(set(EACH)) == len(EACH) >= 60
    assert len(INJECTIONS) >= 7


@pytest.mark.parametrize("kind", INJECTIONS)
@pytest.mark.parametrize(("api", "form"), [("batch", "schema"), ("run", "prompt"), ("chat", "tool")])
def test_all_that_a_document_and_its_metadata_say_stands_inside_their_fences(kind: str, api: Any, form: Any) -> None:
    prompt = Prompt(OutputSchema(RECEIPT), metadata_keys=("note",), api=api, structured_output=form)
    for text in INJECTIONS[kind]:
        documents = [
            Document(text, around(text, 7), metadata={"note": text, "other": f"UNSEEN {text}"}, source=text),
            Document("alone", text, metadata={"note": {text: [text]}}),
            Document("with a picture", text, ("data:image/png;base64,AAAA",), {"note": text}),
        ]
        for document in documents:
            request = json.loads(prompt.request(document, "0-0"))
            user = request["messages"][1]
            if document.images:
                picture, words = user["content"]
                assert picture["type"] == "image_url"
                user["content"] = words["text"]
            (blocks,) = checked([request], prompt)
            metadata, shown = blocks
            assert shown == ("document", sent(document.text))
            assert metadata[0] == "metadata"
            assert json.loads(metadata[1]) == json.loads(sent(json.dumps({"note": document.metadata["note"]})))


def test_injections_in_files_of_all_kinds_reach_the_model_as_their_documents_alone(tmp_path: Path) -> None:
    files(tmp_path / "in")
    lines = [
        {"id": f"line {number}", "text": around(text, number), "note": text} for number, (_, text) in enumerate(EACH)
    ]
    (tmp_path / "in" / "lines.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with Emulator() as emulator, Overheard(emulator.base_url) as door:
        with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
            documents = pipeline | kb.ReadDocuments(str(tmp_path / "in"))
            documents | beam.Map(_keep, tmp_path / "read")
            results = documents | kb.Extract(
                RECEIPT, service=service(door.base_url), polling=QUICK, prompt_metadata=["note", "subject", "title"]
            )
            write = kb.WriteDataset(str(tmp_path / "out"), RECEIPT, model="m", documents=documents)
            (results.extractions, results.dead_letters) | write
        bodies = [json.loads(body) for body in door.bodies]
    read = [kb.Document(*json.loads(line)) for line in (tmp_path / "read").read_text().splitlines()]
    outcome = read_dataset(tmp_path / "out")
    assert len(read) == len(outcome.rows) == 4 * len(EACH)
    requests = [one for body in bodies for one in body.get("requests", ())]
    prompt = Prompt(OutputSchema(RECEIPT), metadata_keys=("note", "subject", "title"))
    blocks = [dict(one) for one in checked(requests, prompt)]
    assert Counter(one["document"] for one in blocks) == Counter(sent(one.text) for one in read)
    assert sum("metadata" in one for one in blocks) == 4 * len(EACH), (
        "an empty object where a document has none of the keys"
    )
    for number, (_, text) in enumerate(EACH):
        assert sent(around(text, number)) in {one["document"] for one in blocks}
        (page,) = (row for row in outcome.rows if row["_document_id"].endswith(f"{number:02}.html"))
        assert f"HIDDEN-{number:02}" in page["_metadata"], "what a person does not see is told in the row"
    whole = json.dumps(requests)
    assert "HIDDEN-" not in whole
    assert not any(json.dumps(one.id)[1:-1] in whole for one in read), "the name of a file is not said"


def _keep(document: kb.Document, path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{json.dumps([document.id, document.text])}\n")


@pytest.mark.parametrize("kind", INJECTIONS)
def test_an_injection_at_the_border_of_a_part_stays_inside_its_fence(kind: str, tmp_path: Path) -> None:
    filler = "The goods were delivered in time and without any damage to the packing.\n"
    texts = [text.replace("\0", "") for text in INJECTIONS[kind]]
    text = "COMPANY: Shop 1 Ltd\n" + "".join(f"# Clause {n}\n{one}\n{filler * 3}\n" for n, one in enumerate(texts)) * 2
    with Emulator() as emulator, Overheard(emulator.base_url) as door:
        outcome = run_extract([kb.Document("long", text)], door.base_url, tmp_path, chunk_tokens=200)
        requests = [one for body in door.bodies for one in json.loads(body).get("requests", ())]
    assert len(outcome.rows) == 1
    blocks = checked(requests, Prompt(OutputSchema(RECEIPT), chunk_tokens=200).for_parts)
    parts = [dict(one)["part"] for one in blocks]
    assert len(parts) == outcome.rows[0]["_provenance"]["parts"] > 2
    whole = sent(text)
    assert sorted(map(whole.find, parts)) == [0, *sorted(whole.find(part) for part in parts)[1:]]
    assert sum(map(len, parts)) == len(whole), "the parts tile the text"
    assert all(part in whole for part in parts)


def test_a_value_that_stands_only_in_hidden_text_is_marked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.html").write_text(
        '<p>COMPANY: Shop Ltd</p><p>Thank you</p><div style="display:none">TOTAL: 999.99</div>'
    )
    with Emulator() as emulator, beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        documents = pipeline | kb.ReadDocuments(str(tmp_path / "in"), hidden_text="keep")
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url), polling=QUICK, ground=True)
        write = kb.WriteDataset(str(tmp_path / "out"), RECEIPT, model="m", documents=documents, ground=True)
        (results.extractions, results.dead_letters) | write
    (row,) = read_dataset(tmp_path / "out").rows
    assert row["total"] == 999.99, "the stand-in reads what it is shown"
    matches = {one["path"]: one["match"] for one in row["_grounding"]}
    assert matches == {"/company": "exact", "/total": "hidden"}
