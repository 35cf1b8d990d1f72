from __future__ import annotations

import pickle
from collections import Counter

import pytest
from harness import service

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.wire import markdown_conversion
from kimi_beam.wire.envelopes import HttpReply, NoReply
from kimi_beam.wire.markdown_conversion import Converted, NotAnswered, NotConverted

PAGE = b"<html><body><p>Order 17: 3 chairs</p></body></html>"


def test_a_file_becomes_the_text_that_the_service_made_of_it_and_pickles_without_its_token() -> None:
    with Emulator(token="secret-of-this-test") as emulator:
        reader = kb.ToMarkdown(service(emulator.base_url, token_from="env:CLOUDFLARE_API_TOKEN"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLOUDFLARE_API_TOKEN", "secret-of-this-test")
            assert pickle.loads(pickle.dumps(reader))(PAGE, 'in/a b\n"ü.HTML') == "Order 17: 3 chairs"
        assert emulator.stats()["conversions"] == 1
    assert b"secret-of-this-test" not in pickle.dumps(reader)


@pytest.mark.parametrize(
    ("path", "content"),
    [("a.png", b"\x89PNG"), ("a.txt", b"text"), ("a", b"x"), ("a.html", b" " * (markdown_conversion.MOST_BYTES + 1))],
    ids=["a picture, which a model would describe", "a text", "no suffix", "too large"],
)
def test_files_that_the_service_does_not_transcribe_are_left_to_the_worker_and_not_sent(
    path: str, content: bytes
) -> None:
    with Emulator() as emulator:
        assert kb.ToMarkdown(service(emulator.base_url))(content, path) is None
        assert emulator.stats()["conversions"] == 0


def test_a_file_that_the_service_cannot_convert_is_asked_for_once_and_says_why() -> None:
    with Emulator() as emulator, pytest.raises(UnreadableError, match="cannot be converted by Workers AI") as told:
        kb.ToMarkdown(service(emulator.base_url))(b"no PDF", "a.pdf")
    assert told.value.code == "reader_failed"
    assert emulator.stats()["conversions"] == 1


@pytest.mark.parametrize(
    "fault", ["rate_limit", "error_500", "error_502_bare", "drop_before_accept", "drop_after_accept"]
)
def test_trouble_that_passes_costs_repetitions_and_no_file(fault: str) -> None:
    pauses: list[float] = []
    with Emulator(faults=f"{fault}=0.5", seed=3) as emulator:
        reader = kb.ToMarkdown(service(emulator.base_url), sleep=pauses.append)
        texts = Counter(reader(PAGE + b"<p>%d" % number, "a.html") for number in range(8))
        assert len(texts) == 8
        assert len(pauses) == emulator.stats()["faults"][fault] > 0


def test_trouble_that_stays_makes_the_file_unreadable_and_token_trouble_ends_the_run() -> None:
    pauses: list[float] = []
    with Emulator(faults="error_500=1") as emulator:
        with pytest.raises(UnreadableError, match="was not converted by Workers AI: Internal") as told:
            kb.ToMarkdown(service(emulator.base_url), sleep=pauses.append)(PAGE, "a.html")
        assert told.value.code == "reader_failed"
        assert pauses == [1.0, 2.0, 4.0, 8.0]
    with Emulator(faults="rate_limit=1:55") as emulator:
        pauses.clear()
        with pytest.raises(UnreadableError, match="was not converted by Workers AI"):
            kb.ToMarkdown(service(emulator.base_url), sleep=pauses.append)(PAGE, "a.html")
        assert pauses == [55.0] * 11, "it waits as long as the service asks, and for ten minutes in all"
    with Emulator(token="another") as emulator, pytest.raises(kb.AccountError):
        kb.ToMarkdown(service(emulator.base_url), sleep=pauses.append)(PAGE, "a.html")


def test_another_service_is_refused_when_it_is_named() -> None:
    elsewhere = kb.WorkersAI(openai_url="http://127.0.0.1:1/v1", model="m", api="chat")
    with pytest.raises(kb.ConfigError, match="only Workers AI converts files"):
        kb.ToMarkdown(elsewhere)


def reply(body: bytes, status: int = 200) -> HttpReply:
    return HttpReply(status, body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"success":true,"result":[{"name":"b","data":"B"},{"name":"a","data":"A"}]}', Converted("A")),
        (b'{"success":true,"result":{"name":"a","data":"A","tokens":"7"}}', Converted("A")),
        (b'{"success":true,"result":[{"name":"a","format":"error","error":"no\\nlayer"}]}', NotConverted("no layer")),
    ],
)
def test_the_entry_of_the_file_is_found_by_its_name(body: bytes, expected: object) -> None:
    assert markdown_conversion.decode(reply(body), "a", 0.0) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"<html>",
        b'{"result":null}',
        b'{"result":[null,7,{"name":"a"}]}',
        b'{"result":[{"name":"b","data":"B"}]}',
        b'{"result":[{"name":"a","data":7}]}',
        b'{"success":false,"errors":[]}',
    ],
)
def test_a_reply_that_does_not_name_the_file_is_no_answer_and_raises_nothing(body: bytes) -> None:
    assert isinstance(markdown_conversion.decode(reply(body), "a", 0.0), NotAnswered)
    assert isinstance(markdown_conversion.decode(reply(body, 500), "a", 0.0), NotAnswered)


def test_without_a_reply_there_is_no_answer() -> None:
    assert markdown_conversion.decode(NoReply(sent=True, message="cut"), "a", 0.0) == NotAnswered("cut")


def test_a_boundary_is_in_no_file_that_holds_another_files_boundary() -> None:
    first, _ = markdown_conversion.encode("a.csv", b"1")
    boundary = first.partition("boundary=")[2].encode()
    content_type, body = markdown_conversion.encode("a.csv", b"1\r\n--" + boundary + b"--\r\n2")
    own = content_type.partition("boundary=")[2].encode()
    assert body.count(b"--" + own) == 2
