from __future__ import annotations

import json
import urllib.error
import urllib.request
import zipfile
from io import BytesIO
from typing import Any

import pytest

from kimi_beam.emulator import Emulator
from kimi_beam.emulator.markdown import convert, supported
from kimi_beam.emulator.refusals import Refused

_PLACE = "accounts/0123/ai/tomarkdown"


def multipart(*files: tuple[str, str, bytes], boundary: str = "b") -> tuple[str, bytes]:
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, media_type, content in files
    )
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def docx(*paragraphs: str) -> bytes:
    xml = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", f"<w:document><w:body>{xml}</w:body></w:document>")
    return file.getvalue()


def test_each_file_is_converted_by_its_media_type_and_keeps_its_name() -> None:
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    found = convert(
        *multipart(
            ("a.html", "text/html", b"<head><title>x</title></head><p>Chairs &amp; tables</p><!-- no --><p>3"),
            ("b.docx", word, docx("Total", "7 &lt; 8")),
            ("c.csv", "text/csv", b"a,b\r\n1,2"),
        )
    )
    assert [(entry["name"], entry["format"], entry["data"]) for entry in found] == [
        ("a.html", "markdown", "Chairs & tables\n3"),
        ("b.docx", "markdown", "Total\n\n7 < 8"),
        ("c.csv", "markdown", "a,b\r\n1,2"),
    ]
    assert {entry["mimeType"] for entry in found[:1]} == {"text/html"}


@pytest.mark.parametrize(
    ("media_type", "content"), [("application/pdf", b"no PDF"), ("application/zip", b"PK"), ("image/png", b"")]
)
def test_a_file_that_cannot_be_converted_is_an_entry_of_its_own_and_its_neighbour_is_converted(
    media_type: str, content: bytes
) -> None:
    bad, good = convert(*multipart(("a.bin", media_type, content), ("b.csv", "text/csv", b"1")))
    assert bad["format"] == "error"
    assert bad["error"]
    assert "data" not in bad
    assert good["data"] == "1"


@pytest.mark.parametrize(("content_type", "body"), [("", b""), ("text/plain", b"x"), multipart()])
def test_a_request_without_files_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Refused):
        convert(content_type, body)


def test_what_is_listed_as_supported_is_what_has_a_converter() -> None:
    for kind in supported():
        (entry,) = convert(*multipart((f"a{kind['extension']}", kind["mimeType"], b"")))
        assert "Unsupported" not in entry.get("error", "")


def _post(emulator: Emulator, content_type: str, body: bytes, token: str = "t") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
    request = urllib.request.Request(f"{emulator.base_url}/{_PLACE}", body, headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_server_offers_it_to_those_with_a_token_and_counts_the_files() -> None:
    content_type, body = multipart(("a.csv", "text/csv", b"1"), ("b.csv", "text/csv", b"2"))
    with Emulator(token="t") as emulator:
        status, reply = _post(emulator, content_type, body)
        assert (status, reply["success"], [entry["data"] for entry in reply["result"]]) == (200, True, ["1", "2"])
        assert emulator.stats()["conversions"] == 2
        status, reply = _post(emulator, content_type, body, token="other")
        assert (status, reply["success"]) == (401, False)
        assert emulator.stats()["conversions"] == 2
