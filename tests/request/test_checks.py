"""What is turned away before it is paid for: images that cannot be sent, and documents of other types than they say."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from typing import Any

import pictures
import pytest
from both_paths import both_paths, crossed, perhaps_crossed
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.columnar import Documents
from kimi_beam.request import batches
from kimi_beam.request.batches import IN_PARTS, NO_KEY
from kimi_beam.request.checks import prepare, prepare_texts, separate
from kimi_beam.request.document_bytes import DocumentBytes
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Arrival, Document, Layout
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.failure import Failure

PROMPT = Prompt(OutputSchema({"type": "object"}))
PICTURE = pictures.uri()
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


def test_a_document_that_cannot_be_sent_keeps_its_layout_if_its_text_is_kept() -> None:
    layout = Layout((0, 3), (3,), b"boxes")
    kept = prepare(Document("a", "one two", (SVG,), layout=layout), PROMPT).document
    assert (kept.failure is not None, kept.layout) == (True, layout)
    altered = prepare(Document("a", "\ud83d two", (SVG,), layout=layout), PROMPT).document
    assert (altered.text, altered.layout) == ("\\ud83d two", None), "its indices are of another text"


def test_an_image_beyond_what_a_job_may_hold_is_too_large() -> None:
    large = pictures.uri(pictures.png(bytes(6_100_000)))
    assert refused(Document("a", "t", (large,)))[0] == "too_large"


def test_half_a_surrogate_pair_in_an_image_is_no_text_either() -> None:
    assert refused(Document("a", "t", ("data:image/png;base64,\ud83d",)))[0] in ("not_utf8", "bad_image")


@pytest.mark.parametrize("media_type", pictures.EACH)
@pytest.mark.parametrize("declared", [*pictures.EACH, "image/jpg", "IMAGE/PNG;name=a.png"])
def test_a_picture_is_sent_as_what_its_bytes_say(media_type: str, declared: str) -> None:
    content = pictures.EACH[media_type]
    prepared = prepare(Document("a", "", (pictures.uri(content, declared), PICTURE)), PROMPT)
    assert prepared.document.failure is None
    first, second = prepared.document.images
    sent = first.partition(";")[0].lower().replace("jpg", "jpeg")
    assert (sent, second) == (f"data:{media_type}", PICTURE)
    assert base64.b64decode(first.partition(",")[2]) == content
    assert batches.decode(batches.encode([prepared])) == [prepared.document]


def test_documents_that_cannot_be_sent_leave_the_others_of_their_batch() -> None:
    prepared = [prepare(Document(str(n), "t", images), PROMPT) for n, images in enumerate([(), (SVG,), (PICTURE,)])]
    good, failed = separate([batches.encode([pair]) for pair in prepared])
    assert [document.id for blob in good for document in batches.decode(blob)] == ["0", "2"]
    assert [reply.document.id for reply in failed] == ["1"]


@pytest.mark.parametrize(
    ("deliveries", "refused"),
    [(["a", "b"], 0), (["a", "a"], 2), (["a", "b", "a"], 3), (["a", None], 2), (["a", ""], 2), ([None, None], 2)],
)
def test_different_deliveries_with_one_id_are_no_duplicates(deliveries: list[str | None], refused: int) -> None:
    """Dead letters of a stream that are run again: there nobody has compared their ids."""
    documents = [Document("key", "t", arrival=None if d is None else Arrival(0, None, d)) for d in deliveries]
    blobs = [batches.encode([prepare(d, PROMPT)]) for d in (*documents, Document("other", "t"))]
    good, failed = separate(blobs)
    assert [reply.result.code for reply in failed] == ["duplicate_id"] * refused  # type: ignore[union-attr]
    assert sum(len(batches.decode(blob)) for blob in good) == len(blobs) - refused


# ------------------------------------------------------------------------------------------------ by the hundred


def _key(shown: DocumentBytes, round_: int) -> bytes:
    return hashlib.blake2b(b"".join(shown.pieces(bytes)) + bytes([round_]), digest_size=16).digest()


_strange: st.SearchStrategy[Any] = st.sampled_from([None, 5, b"x", "", " \n", "\ud800", "`", "a`` ```b", "\U0001f9fe"])
_any_documents = st.lists(
    perhaps_crossed(
        st.builds(
            Document,
            id=st.text(min_size=1, max_size=5) | _strange,
            text=st.text(min_size=1, max_size=20) | st.sampled_from(["`", "a`` ```b"]) | _strange,
            source=st.sampled_from(["in/a.jsonl", "\udcff"]),
            images=st.sampled_from([(), (PICTURE,)]),
            metadata=st.sampled_from([{}, {}, {"a": 1}]),
            failure=st.sampled_from([None, None, Failure("read", "not_json", "no")]),
            earlier=st.sampled_from([Earlier(), Earlier(), Earlier(1)]),
        )
    ),
    max_size=6,
)


def test_what_is_prepared_by_the_hundred_is_what_preparing_each_gives() -> None:
    with both_paths("fast", "fast, with backticks", "careful") as taken:
        _what_is_prepared_by_the_hundred(taken)


@settings(derandomize=True, max_examples=1_000)
@given(_any_documents, st.sampled_from([(), (), (), ("a",)]))
def _what_is_prepared_by_the_hundred(
    taken: Counter[str], documents: list[Document], metadata_keys: tuple[str, ...]
) -> None:
    prompt = Prompt(OutputSchema({"type": "object"}), metadata_keys=metadata_keys)
    rows = prepare_texts(Documents.of(documents), prompt, _key)
    for row in rows:
        taken["careful" if row is None else "fast, with backticks" if b"`" in row[1] else "fast"] += 1
    again = prepare_texts(Documents.of([crossed(document) for document in documents]), prompt, _key)
    assert again == rows, "a document that came from another worker takes another path"
    expected = [prepare(document, prompt, _key) for document in documents]
    assert [row or batches.row(item) for row, item in zip(rows, expected, strict=True)] == list(
        map(batches.row, expected)
    )
    for row, item in zip(rows, expected, strict=True):
        if row is not None:
            assert item.document.failure is None, "what cannot be sent would be"
            assert item.document.is_text_alone, "what is not a text alone would be lost"


def test_a_text_that_no_job_can_hold_is_left_to_be_asked_for_in_parts() -> None:
    (row,) = prepare_texts(Documents.of([Document("a", "x" * 8_000_001)]), PROMPT, _key)
    assert row is None
    assert prepare(Document("a", "x" * 8_000_001), PROMPT).key == IN_PARTS


def test_texts_alone_need_no_value_of_their_own() -> None:
    rows = prepare_texts(Documents.of([Document(str(i), "text") for i in range(3)]), PROMPT, _key)
    assert all(rows), "each would be made a value, at twice the CPU"
