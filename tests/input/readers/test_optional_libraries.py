"""What a user is told where the libraries of an extra are not installed."""

from __future__ import annotations

import io
import sys
import zipfile
from types import ModuleType

import pytest
from outlook_mails import OutlookMail

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, UnreadableError
from kimi_beam.input.readers.mail import mail
from kimi_beam.input.readers.office.opendocument import opendocument
from kimi_beam.input.readers.office.slides import slides
from kimi_beam.input.readers.office.spreadsheets import spreadsheets
from kimi_beam.input.readers.office.word import word
from kimi_beam.input.readers.web import web_pages


def _zip(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "<a/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("library", "reader", "content"),
    [
        ("lxml", word, _zip("word/document.xml")),
        ("lxml", slides, _zip("ppt/presentation.xml")),
        ("lxml", opendocument, _zip("content.xml")),
        ("python_calamine", spreadsheets, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("selectolax.lexbor", web_pages, b"<p>a"),
        ("selectolax.lexbor", mail, b"Subject: a\nContent-Type: text/html\n\n<p>a"),
        ("oxmsg", mail, OutlookMail("a").write()),
    ],
)
def test_a_file_whose_library_is_missing_is_refused_with_the_extra_that_brings_it(
    library: str, reader: ModuleType, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UnreadableError, match=r"pip install 'kimi-beam\[documents\]'") as failed:
        reader.read(content, DEFAULT_OPTIONS)
    assert failed.value.code == "reader_failed"
