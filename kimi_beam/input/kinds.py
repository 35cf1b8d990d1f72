"""The kinds of files that are read: one table of their names, readers, and what becomes of their parts.

A kind is told by the suffix of a file's name. What the name does not say, or says wrongly, the first bytes and the
members of an archive say (`kimi_beam.input.told_by_content`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from kimi_beam.files.compressed_files import is_compressed, uncompressed_name

Form = Literal["document", "lines", "table", "parquet", "archive"]
"""How a file holds documents: it is one, each of its lines of JSON is one, each of its rows is one (of a table of
delimited texts, or of a Parquet file), or each of its members is one or holds some."""

_READERS = "kimi_beam.input.readers"
PICTURES = f"{_READERS}.pictures.pictures"
"""The reader of pictures."""
_DOCUMENTS = "documents"
_SUFFIX = re.compile(r"[^/\\]\.([a-z][a-z0-9_]{0,11}~?)\Z")
"""The suffix of a name that says of what kind a file is: ``letter 1.5`` and ``.profile`` have none."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of files.

    Attributes:
        name: What a file of it is, in words: ``a PDF``.
        suffixes: How the names of its files end, in lower case. The first is its usual one.
        media_type: Its media type.
        form: How a file of it holds documents.
        reader: The module whose `read` makes a `Content` of a file's bytes, imported when it is needed. None: the file
            is a text, a picture that is sent as it is, or holds many documents.
        extra: The extra of this package that brings the reader's libraries; None if it needs none.
        pages: What becomes of its pages, or how it becomes documents, in words.
        pictures: What becomes of its pictures, in words.
        metadata: What of it becomes the metadata of a document, in words. What a reader reads has its media type, the
            number of its pages and a checksum beside that.
    """

    name: str
    suffixes: tuple[str, ...]
    media_type: str
    form: Form = "document"
    reader: str | None = None
    extra: str | None = None
    pages: str = "one"
    pictures: str = "none"
    metadata: str = "none"

    @property
    def suffix(self) -> str:
        """Its usual suffix, which is the key of a kind."""
        return self.suffixes[0]

    @property
    def is_picture(self) -> bool:
        """Whether a file is a picture that models read, which is sent as it is unless it must be made anew."""
        return self.form == "document" and self.reader is None and self.media_type.startswith("image/")


def _picture(name: str, media_type: str, *suffixes: str) -> Kind:
    return Kind(name, suffixes, media_type, pictures="sent as it is, or made anew (see below)")


def _converted(name: str, media_type: str, *suffixes: str, extra: str = _DOCUMENTS, pages: str = "one") -> Kind:
    return Kind(
        name,
        suffixes,
        media_type,
        reader=PICTURES,
        extra=extra,
        pages=pages,
        pictures="each page, as PNG or JPEG",
    )


_OFFICE = "`title`, `author`"
_OPENXML = "application/vnd.openxmlformats-officedocument"
_OPENDOCUMENT = "application/vnd.oasis.opendocument"
_SENT_IF_ALONE = "sent where there is next to no text"
_SHEETS = "each sheet, with its name above; hidden ones are hidden text"


def _spreadsheet(name: str, media_type: str, *suffixes: str, pictures: str = _SENT_IF_ALONE) -> Kind:
    return Kind(
        name,
        suffixes,
        media_type,
        "document",
        f"{_READERS}.office.spreadsheets.spreadsheets",
        _DOCUMENTS,
        _SHEETS,
        pictures,
        _OFFICE,
    )


TEXT = Kind("a text", (".txt", ".text", ".md", ".markdown", ".xml"), "text/plain")
JSON_LINES = Kind(
    "JSON lines",
    (".jsonl", ".ndjson"),
    "application/jsonl",
    "lines",
    pages="each line a document",
    pictures="`images`, a list of data URIs",
    metadata="all other keys",
)
CSV = Kind(
    "a CSV table",
    (".csv",),
    "text/csv",
    "table",
    pages="each row a document",
    metadata="all other columns",
)
TSV = Kind(
    "a TSV table",
    (".tsv", ".tab"),
    "text/tab-separated-values",
    "table",
    pages="each row a document",
    metadata="all other columns",
)
PARQUET = Kind(
    "a Parquet file",
    (".parquet",),
    "application/vnd.apache.parquet",
    "parquet",
    pages="each row a document",
    pictures="`images`, a list of data URIs",
    metadata="all other columns",
)
PDF = Kind(
    "a PDF",
    (".pdf",),
    "application/pdf",
    reader=f"{_READERS}.pdf.pdf",
    pages="each as text, or as a picture (`--pages`)",
    pictures="a page without a text that can be read is sent as a picture",
    metadata="`title`, `author`; `attached_files`, by name",
)
HTML = Kind(
    "a web page",
    (".html", ".htm", ".xhtml"),
    "text/html",
    reader=f"{_READERS}.web.web_pages",
    extra=_DOCUMENTS,
    pictures="their alternative texts; those in the page are sent where there is next to no text",
    metadata="`title`",
)
DOCX = Kind(
    "a Word document",
    (".docx", ".docm", ".dotx"),
    f"{_OPENXML}.wordprocessingml.document",
    reader=f"{_READERS}.office.word.word",
    extra=_DOCUMENTS,
    pages="each, where page breaks say so",
    pictures=_SENT_IF_ALONE,
    metadata=_OFFICE,
)
PPTX = Kind(
    "a PowerPoint presentation",
    (".pptx", ".pptm", ".ppsx"),
    f"{_OPENXML}.presentationml.presentation",
    reader=f"{_READERS}.office.slides.slides",
    extra=_DOCUMENTS,
    pages="each slide, with its notes; hidden ones are hidden text",
    pictures=_SENT_IF_ALONE,
    metadata=_OFFICE,
)
XLSX = _spreadsheet("an Excel workbook", f"{_OPENXML}.spreadsheetml.sheet", ".xlsx", ".xlsm")
XLSB = _spreadsheet("a binary Excel workbook", "application/vnd.ms-excel.sheet.binary.macroenabled.12", ".xlsb")
XLS = _spreadsheet("an older Excel workbook", "application/vnd.ms-excel", ".xls", pictures="left out")
ODS = _spreadsheet("an OpenDocument spreadsheet", f"{_OPENDOCUMENT}.spreadsheet", ".ods", pictures="left out")
ODT = Kind(
    "an OpenDocument text",
    (".odt",),
    f"{_OPENDOCUMENT}.text",
    reader=f"{_READERS}.office.opendocument.opendocument",
    extra=_DOCUMENTS,
    pages="each, where page breaks say so",
    pictures=_SENT_IF_ALONE,
    metadata=_OFFICE,
)
ODP = Kind(
    "an OpenDocument presentation",
    (".odp",),
    f"{_OPENDOCUMENT}.presentation",
    reader=f"{_READERS}.office.opendocument.opendocument",
    extra=_DOCUMENTS,
    pages="each slide",
    pictures=_SENT_IF_ALONE,
    metadata=_OFFICE,
)
EML = Kind(
    "a mail",
    (".eml",),
    "message/rfc822",
    reader=f"{_READERS}.mail.mail",
    extra=_DOCUMENTS,
    pages="one: the headers, then the body",
    pictures="attachments become documents of their own (`ID#1`, …)",
    metadata="`subject`, `from`, `date`",
)
MSG = Kind(
    "a mail of Outlook",
    (".msg",),
    "application/vnd.ms-outlook",
    reader=f"{_READERS}.mail.mail",
    extra=_DOCUMENTS,
    pages="one: the headers, then the body",
    pictures="attachments become documents of their own (`ID#1`, …)",
    metadata="`subject`, `from`, `date`",
)
PNG = _picture("a PNG picture", "image/png", ".png")
JPEG = _picture("a JPEG picture", "image/jpeg", ".jpg", ".jpeg")
WEBP = _picture("a WebP picture", "image/webp", ".webp")
GIF = _picture("a GIF picture", "image/gif", ".gif")
TIFF = _converted("a TIFF picture", "image/tiff", ".tif", ".tiff", pages="each of its pages")
BMP = _converted("a BMP picture", "image/bmp", ".bmp")
AVIF = _converted("an AVIF picture", "image/avif", ".avif")
HEIC = _converted("a HEIC picture", "image/heic", ".heic", ".heif", extra="heic")
ZIP = Kind("a zip archive", (".zip",), "application/zip", "archive", pages="each member, by its own kind")
TAR = Kind("a tar archive", (".tar",), "application/x-tar", "archive", pages="each member, by its own kind")

KINDS = (
    *(TEXT, HTML, JSON_LINES, CSV, TSV, PARQUET, PDF, DOCX, PPTX, XLSX, XLSB, XLS, ODT, ODS, ODP, EML, MSG),
    *(PNG, JPEG, WEBP, GIF, TIFF, BMP, AVIF, HEIC, ZIP, TAR),
)
"""All kinds that are read, in the order in which a page lists them."""
_BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}
IN_WORDS = ", ".join(suffix for kind in KINDS for suffix in kind.suffixes) + ", each perhaps .gz, .bz2, .xz or .zst"
"""The suffixes of the kinds that are read, for messages."""


@functools.lru_cache(maxsize=256)  # each step on a file's way asks it anew
def kind_by_name(path: str) -> Kind | None:
    """The kind that a file's name says; None if it says none.

    A Parquet file or zip that is compressed once more is of no kind, because it cannot be read from its end.

    Example:
        >>> kind_by_name("in/SCAN.JPG").name, kind_by_name("in/a.csv.gz").name, kind_by_name("in/README")
        ('a JPEG picture', 'a CSV table', None)
    """
    name = uncompressed_name(path)
    suffix = suffix_of(name)
    kind = _BY_SUFFIX.get(suffix) if suffix else None
    return None if kind in (PARQUET, ZIP) and is_compressed(path) else kind


def suffix_of(name: str) -> str | None:
    """The suffix of a name that says of what kind a file is, such as ``.log``; None if it has none."""
    found = _SUFFIX.search(name.lower())
    return f".{found[1]}" if found else None


_INSTEAD = {
    **dict.fromkeys((".doc", ".dot", ".rtf", ".pages", ".wpd", ".wps"), "save it as .docx or .pdf"),
    **dict.fromkeys((".ppt", ".pps"), "save it as .pptx or .pdf"),
    **dict.fromkeys((".numbers", ".wks"), "save it as .xlsx or .csv"),
    **dict.fromkeys((".fodt", ".fods", ".fodp"), "save it without flat XML, as .odt, .ods or .odp"),
    **dict.fromkeys(
        (".odg", ".vsd", ".vsdx", ".pub", ".xps", ".oxps", ".ps", ".eps", ".djvu", ".epub"), "save it as .pdf"
    ),
    **dict.fromkeys((".7z", ".rar", ".cab", ".arj", ".lzh"), "unpack it, or pack it as .zip"),
    **dict.fromkeys(
        (".jp2", ".jpx", ".jxl", ".ico", ".ppm", ".pgm", ".tga", ".psd", ".svg", ".emf", ".wmf"), "save it as .png"
    ),
    **dict.fromkeys((".mht", ".mhtml"), "save it as .html or .pdf"),
    **dict.fromkeys((".pst", ".ost", ".mbox"), "export its mails as .eml"),
}
"""What a user can do with files of kinds that are not read, by suffix."""


def instead_of(path: str) -> str | None:
    """What to do with a file of a kind that cannot be read; None if nothing is known for it.

    Args:
        path: The file.
    """
    return _INSTEAD.get("." + uncompressed_name(path).lower().rpartition(".")[2])
