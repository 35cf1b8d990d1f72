"""The Markdown conversion: files of a multipart body, and what becomes of each [documented: Markdown conversion page].

A file that cannot be converted is an entry with the format ``error`` under HTTP 200. The text of a PDF is that of its
text layer, as at the real service. Of office files only DOCX is converted here, paragraph by paragraph.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from email.parser import BytesParser
from html import unescape
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

from kimi_beam.emulator.refusals import Refused
from kimi_beam.emulator.tokens import estimate

_DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_UNSEEN: Final = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->")
_BLOCK_END: Final = re.compile(r"(?i)</(p|div|tr|li|h[1-6]|table|ul|ol)\s*>|<br\s*/?>")
_TAG: Final = re.compile(r"<[^>]*>")


def convert(content_type: str, body: bytes) -> list[dict[str, Any]]:
    """Convert the files of a request.

    Args:
        content_type: The header ``Content-Type``, which names the boundary.
        body: The body of the request.

    Raises:
        Refused: 3003, no file was sent [assumed].
    """
    found = [_entry(name, media_type, content) for name, media_type, content in _files(content_type, body)]
    if not found:
        raise Refused(3003, "No files were sent")
    return found


def _files(content_type: str, body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """The name, media type and content of each part with the field name ``files``."""
    header = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = BytesParser().parsebytes(header + body)
    parts = message.get_payload() if message.is_multipart() else []
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, Message) and part.get_param("name", header="content-disposition") == "files":
            content = part.get_payload(decode=True)
            yield part.get_filename() or "", part.get_content_type(), content if isinstance(content, bytes) else b""


def _entry(name: str, media_type: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": str(uuid4()), "name": name, "mimeType": media_type}
    convert_one = _CONVERTERS.get(media_type)
    try:
        if convert_one is None:
            raise ValueError(f"Unsupported file type {media_type}")
        text = convert_one(content)
    except Exception as error:  # a damaged file makes each library raise errors of its own
        return {**entry, "format": "error", "error": f"Failed to convert: {error}"}
    # A string for the tokens was observed.
    return {**entry, "format": "markdown", "tokens": str(estimate(text)), "data": text}


def _of_html(content: bytes) -> str:
    text = _TAG.sub("", _BLOCK_END.sub("\n", _UNSEEN.sub("", content.decode("utf-8", "replace"))))
    return "\n".join(line for line in (" ".join(unescape(line).split()) for line in text.splitlines()) if line)


def _of_docx(content: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        xml = archive.read("word/document.xml").decode("utf-8", "replace")
    return "\n\n".join(filter(None, (unescape(_TAG.sub("", part)).strip() for part in xml.split("</w:p>"))))


def _of_pdf(content: bytes) -> str:
    import pypdfium2

    document = pypdfium2.PdfDocument(content)
    try:
        return "\n\n".join(page.get_textpage().get_text_bounded() for page in document)
    finally:
        document.close()


def _of_text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


_CONVERTERS: Final[Mapping[str, Callable[[bytes], str]]] = MappingProxyType(
    {
        "application/pdf": _of_pdf,
        "application/xml": _of_text,
        "text/csv": _of_text,
        "text/html": _of_html,
        _DOCX: _of_docx,
    }
)


def supported() -> list[dict[str, str]]:
    """The kinds that are converted here, as ``GET …/tomarkdown/supported`` lists them."""
    return [{"extension": extension, "mimeType": media_type} for extension, media_type in _EXTENSIONS.items()]


_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".pdf": "application/pdf",
        ".xml": "application/xml",
        ".csv": "text/csv",
        ".html": "text/html",
        ".htm": "text/html",
        ".docx": _DOCX,
    }
)
