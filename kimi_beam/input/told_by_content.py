"""What the content of a file says of its kind, where its name says nothing or something else.

The rule: if the content is of a binary kind that is read, that kind counts, whatever the name says. Otherwise the kind
that the name says counts, and its reader says what is wrong. A name without a suffix is that of a text, of JSON lines,
a web page or a mail, if the content is one. A suffix that says no kind (``.log``, ``.jar``) is no text's and no
archive's: such a file has another purpose.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Collection

from kimi_beam.files.compressed_files import uncompressed_name
from kimi_beam.input import kinds
from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.input.kinds import Kind, kind_by_name, suffix_of

HEAD_BYTES = 4096
"""The bytes at the beginning of a file by which its kind is told, unless it is a zip or an OLE file."""
_TEXT_BYTES = 1 << 16
"""The bytes of a text by which its kind is told."""
_MOST_MEMBERS = 100_000
"""Members of a zip beyond which their names are not looked at."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
    (b"%PDF-", kinds.PDF),
    (b"\x89PNG\r\n\x1a\n", kinds.PNG),
    (b"\xff\xd8\xff", kinds.JPEG),
    (b"II*\0", kinds.TIFF),
    (b"MM\0*", kinds.TIFF),
    (b"II+\0", kinds.TIFF),
    (b"MM\0+", kinds.TIFF),
    (b"PAR1\x15", kinds.PARQUET),
)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_IN_OFFICE_FILES = (
    ("word/", kinds.DOCX),
    ("ppt/", kinds.PPTX),
    ("xl/workbook.bin", kinds.XLSB),
    ("xl/", kinds.XLSX),
)
"""By which member the kind of an Office file is told, in this order."""
_OPENDOCUMENT = {kind.media_type: kind for kind in (kinds.ODT, kinds.ODS, kinds.ODP)}
_OLE_KINDS = (
    ("__properties_version1.0", kinds.MSG),
    ("EncryptedPackage", kinds.DOCX),
    ("WordDocument", None),
    ("PowerPoint Document", None),
    ("Workbook", kinds.XLS),
    ("Book", kinds.XLS),
)
"""By which stream the kind of an OLE file is told, in this order: an embedded table does not make a letter a table."""
_ENCRYPTED_IN_OLE = (kinds.DOCX, kinds.PPTX, kinds.XLSX, kinds.XLSB)
_WEB_PAGE = re.compile(r"<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_MAIL = re.compile(r"(?:[!-9;-~]+:[ \t].*\r?\n(?:[ \t].*\r?\n)*)*", re.MULTILINE)
_OF_MAILS = re.compile(r"^(?:from|to|subject|date|received|message-id|return-path|delivered-to):", re.I | re.M)


def kind_of(name: str, content: bytes, encoding: str | None = None) -> Kind | None:
    """The kind of a file by its name and its content; None if it is of none that is read.

    Args:
        name: Its name or path.
        content: Its uncompressed bytes, or the first of them. A zip is told from an Office file only by all of them.
        encoding: The encoding of texts that are in neither UTF-8 nor UTF-16; None if the user named none.

    Example:
        >>> kind_of("letter.txt", b"%PDF-1.7 ...").name, kind_of("README", b"Read me").name, kind_of("a.log", b"x")
        ('a PDF', 'a text', None)
    """
    by_name = kind_by_name(name)
    binary = binary_kind(content, by_name)
    has_other_suffix = by_name is None and suffix_of(uncompressed_name(name)) is not None
    if binary is not None:
        return None if has_other_suffix and binary.form == "archive" else binary
    if by_name is not None or has_other_suffix:
        return by_name
    return _text_kind(content, encoding)


def is_told_by_all(head: bytes) -> bool:
    """Whether the kind of a file is told by all of its content, as that of a zip or an OLE file is.

    Args:
        head: Its first bytes.
    """
    return head.startswith((_OLE, *_ZIP))


def binary_kind(content: bytes, by_name: Kind | None = None) -> Kind | None:
    """The binary kind that the first bytes of a file say; None if they say none that is read.

    Args:
        content: The bytes of the file, or the first `HEAD_BYTES` of them if it is no zip or OLE file.
        by_name: The kind that its name says, which decides where its content says too little.
    """
    for beginning, kind in _BEGINNINGS:
        if content.startswith(beginning):
            return kind
    if content.startswith(_ZIP):
        return _kind_of_zip(content, by_name)
    if content.startswith(_OLE):
        return _kind_of_ole(content, by_name)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return kinds.WEBP
    if content[:6] in (b"GIF87a", b"GIF89a") and not content[6:13].decode("latin-1").isprintable():
        return kinds.GIF  # a text that begins so goes on in letters
    if content[:2] == b"BM" and content[6:10] == b"\0\0\0\0" and len(content) > 26:
        return kinds.BMP
    if content[4:8] == b"ftyp":
        return _kind_by_brand(content)
    if content[257:263] in (b"ustar\0", b"ustar "):
        return kinds.TAR
    return None


def _kind_by_brand(content: bytes) -> Kind | None:
    """The kind of an ISO media file (ISO/IEC 14496-12, 4.3): films have the same form, with other brands."""
    end = min(int.from_bytes(content[:4], "big"), 64)
    brands = {content[at : at + 4] for at in (8, *range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return kinds.AVIF
    return kinds.HEIC if brands & _HEIC_BRANDS else None


def _kind_of_zip(content: bytes, by_name: Kind | None) -> Kind:
    try:
        if content.count(b"PK\x01\x02") > _MOST_MEMBERS:
            return kinds.ZIP
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            names = opened.namelist()
            is_open = "mimetype" in names and opened.getinfo("mimetype").file_size < 200
            media_type = opened.read("mimetype").decode("ascii", "replace").strip() if is_open else ""
    except Exception:  # a damaged zip raises errors of many kinds, and the reader says what is wrong with it
        return by_name if by_name is not None and by_name.suffix in _ZIP_BASED else kinds.ZIP
    kind = kind_of_members(names, media_type)
    if by_name is not None and by_name in _OPENDOCUMENT.values() and kind is kinds.ZIP and "content.xml" in names:
        return by_name  # a program that writes no media type, which the format only recommends
    return kind


_ZIP_BASED = frozenset(kind.suffix for kind in (*_ENCRYPTED_IN_OLE, *_OPENDOCUMENT.values(), kinds.ZIP))


def kind_of_members(names: Collection[str], media_type: str = "") -> Kind:
    """The kind of a zip file by its members: an office file's, or an archive.

    Args:
        names: The names of the members.
        media_type: What the member ``mimetype`` holds; empty if there is none.
    """
    media_type = media_type.removesuffix("-template")
    if media_type in _OPENDOCUMENT:
        return _OPENDOCUMENT[media_type]
    if "[Content_Types].xml" in names:
        for beginning, kind in _IN_OFFICE_FILES:
            if any(name.startswith(beginning) for name in names):
                return kind
    return kinds.ZIP


def _kind_of_ole(content: bytes, by_name: Kind | None) -> Kind | None:
    """The kind of an OLE file by the names of its streams, which stand in entries of 128 bytes ([MS-CFB] 2.6.1)."""
    told = [kind for name, kind in _OLE_KINDS if _has_stream(content, name)]
    if kinds.DOCX in told:  # only the name says of what kind an encrypted file is
        return by_name if by_name in _ENCRYPTED_IN_OLE else kinds.DOCX
    if by_name is not None and by_name in told:
        return by_name
    return told[0] if told else by_name if by_name in (kinds.XLS, kinds.MSG) else None


def _has_stream(content: bytes, name: str) -> bool:
    entry = name.encode("utf-16-le") + b"\0\0"
    at = content.find(entry)
    while at >= 0:
        if at % 128 == 0 and content[at + 64 : at + 66] == len(entry).to_bytes(2, "little"):
            return True
        at = content.find(entry, at + 1)
    return False


def _text_kind(content: bytes, encoding: str | None) -> Kind | None:
    """The kind of a file whose name says none and whose content is of no known binary kind."""
    text = _beginning(content[:_TEXT_BYTES], encoding)
    if text is None:
        return None
    if _begins_with_an_object(text):
        return kinds.JSON_LINES
    if _WEB_PAGE.match(_without_comments(text)):
        return kinds.HTML
    headers = _MAIL.match(text)
    if headers and len(set(map(str.lower, _OF_MAILS.findall(headers[0])))) >= 2:
        return kinds.EML
    return kinds.TEXT


def _beginning(content: bytes, encoding: str | None) -> str | None:
    """The beginning of a text; None if the content is no text. The last character of a long one may be cut."""
    for cut in range(4 if len(content) >= HEAD_BYTES else 1):
        with contextlib.suppress(NotTextError):
            return text_of(content[: len(content) - cut], encoding)
    return None


def _begins_with_an_object(text: str) -> bool:
    """Whether the first line of a text is an object of JSON, or the beginning of one that is very long."""
    line, line_feed, _ = text.lstrip().partition("\n")
    if not line.startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return not line_feed and len(text) > _TEXT_BYTES // 8


def _without_comments(text: str) -> str:
    """A text without the white space, comments and XML declaration at its beginning."""
    text = text.lstrip("\ufeff \t\r\n")
    while text.startswith(("<!--", "<?xml")):
        end = "-->" if text.startswith("<!--") else "?>"
        _, found, text = text.partition(end)
        text = text.lstrip()
        if not found:
            return ""
    return text
