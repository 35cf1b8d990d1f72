"""What is turned away before it is paid for: images that cannot be sent, and documents of other types than they say."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kimi_beam import batches
from kimi_beam.admission import prepare, separate
from kimi_beam.batches import NO_KEY
from kimi_beam.prompting import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types import Document

PROMPT = Prompt(OutputSchema({"type": "object"}))
PICTURE = f"data:image/png;base64,{base64.b64encode(b'PNG').decode()}"
SVG = f"data:image/png;base64,{base64.b64encode(b'<svg/>').decode()}"


def refused(document: Document) -> tuple[str, str]:
    item = prepare(document, PROMPT)
    prepared, size, key = item
    assert (size, key) == (0, NO_KEY)
    assert prepared.failure is not None
    assert prepared.failure.stage == "prompt"
    assert "\n" not in prepared.failure.message
    # What was refused travels to the dead letters all the same.
    assert batches.decode(batches.encode([item])) == [prepared]
    return prepared.failure.code, prepared.failure.message


def test_a_picture_needs_no_text_and_counts_with_its_bytes() -> None:
    document = Document("a", "", (PICTURE, PICTURE))
    prepared, size, _ = prepare(document, PROMPT)
    assert prepared is document
    assert size > 2 * len(PICTURE) + PROMPT.overhead
    assert refused(Document("a", " \n"))[0] == "empty_document"


@pytest.mark.parametrize("wrong", [SVG, "https://example.com/a.png", "data:image/png;base64,%%", ""])
def test_an_image_that_the_service_would_choke_on_is_named_by_its_number(wrong: str) -> None:
    code, message = refused(Document("a", "text", (PICTURE, wrong)))
    assert code == "bad_image"
    assert message.startswith("image 2: ")


@pytest.mark.parametrize("images", [None, 5, (5,), [None], {"a": 1}, PICTURE, b"\xff", [PICTURE, b"x"]])
def test_images_of_any_other_type_are_the_documents_own_failure(images: Any) -> None:
    assert refused(Document("a", "text", images))[0] == "bad_image"


def test_a_list_of_images_is_as_good_as_a_tuple() -> None:
    item = prepare(Document("a", "", [PICTURE]), PROMPT)  # type: ignore[arg-type]
    assert item.document.failure is None
    (decoded,) = batches.decode(batches.encode([item]))
    assert decoded.images == (PICTURE,)


def test_an_image_beyond_what_a_job_may_hold_is_too_large() -> None:
    large = f"data:image/png;base64,{base64.b64encode(bytes(6_100_000)).decode()}"
    assert refused(Document("a", "t", (large,)))[0] == "too_large"


def test_half_a_surrogate_pair_in_an_image_is_no_text_either() -> None:
    assert refused(Document("a", "t", ("data:image/png;base64,\ud83d",)))[0] in ("not_utf8", "bad_image")


def test_documents_that_cannot_be_sent_leave_the_others_of_their_batch() -> None:
    prepared = [prepare(Document(str(n), "t", images), PROMPT) for n, images in enumerate([(), (SVG,), (PICTURE,)])]
    good, failed = separate([batches.encode([pair]) for pair in prepared])
    assert [document.id for blob in good for document in batches.decode(blob)] == ["0", "2"]
    assert [reply.document.id for reply in failed] == ["1"]
