"""The XML parts of office files (OOXML, ODF): opened within limits, parsed without entities and without network."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.input.readers.optional_libraries import missing_extra
from kimi_beam.input.readers.zip_members import ZipMembers

OLE_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The first bytes of a compound file: an older office file, a mail of Outlook, or an encrypted office file."""
_DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_PROPERTIES = {
    "title": "title",
    "creator": "author",
    "subject": "subject",
    "created": "created",
    "modified": "modified",
}
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
"""The namespaces of "strict" files, which are read by the names that all other files have."""
_MOST_XML = 32 << 20
"""The most bytes of one part, which takes twelve times as much memory when it is parsed."""
Element = Any
"""An element of lxml, which ships without types."""


class OfficeFile:
    """An office file: a zip of XML parts, which name each other by relationships.

    Args:
        content: The file.
        kind: What a message calls it: ``a Word document``.

    Raises:
        UnreadableError: It is encrypted, or no zip file.

    Attributes:
        members: The members of its zip file.
    """

    def __init__(self, content: bytes, kind: str) -> None:
        if content.startswith(OLE_MARK):
            raise compound_file_error(content, kind)
        if not content:
            raise UnreadableError("damaged", "is empty: it has 0 bytes")
        self.members = ZipMembers(content)
        self._kind = kind

    def part(self, name: str) -> Element:
        """The root element of a part that the file must have.

        Args:
            name: The part's name in the zip file.

        Raises:
            UnreadableError: The part is missing or damaged, or declares entities.
        """
        if name not in self.members:
            raise UnreadableError("damaged", f"is not {self._kind}, or damaged: it has no part {name[:200]!r}")
        return parse_part(self.members.read(name), name)

    def optional_part(self, name: str) -> Element | None:
        """The root element of a part, or None if the file has none of this name, or a damaged one.

        Args:
            name: The part's name in the zip file.
        """
        if name not in self.members:
            return None
        try:
            return self.part(name)
        except UnreadableError as e:
            if e.code != "damaged":
                raise
            return None

    def relationships(self, part: str) -> dict[str, tuple[str, str]]:
        """What a part names by ids: for each id the last word of the relationship's type, and the named part.

        What lies outside the file is left out, and is never fetched.

        Args:
            part: The part's name in the zip file; empty for the file itself.
        """
        folder, name = posixpath.split(part)
        root = self.optional_part(posixpath.join(folder, "_rels", f"{name}.rels"))
        found: dict[str, tuple[str, str]] = {}
        for relationship in () if root is None else root:
            target = relationship.get("Target", "")
            if relationship.get("TargetMode") != "External" and target:
                path = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
                found[relationship.get("Id", "")] = relationship.get("Type", "").rpartition("/")[2], path
        return found

    def main_part(self, usual: str) -> str:
        """The name of the part with which reading begins.

        Args:
            usual: Its usual name, for files that do not say it.
        """
        for kind, name in self.relationships("").values():
            if kind == "officeDocument":
                return name
        return usual

    def properties(self) -> dict[str, str]:
        """What the file says of itself: title, author, subject, created, modified; those that are not empty."""
        root = self.optional_part("docProps/core.xml")
        found = ((_PROPERTIES.get(local_name(e)), (e.text or "").strip()) for e in (() if root is None else root))
        return {word: text for word, text in found if word and text}


def parse_part(content: bytes, name: str) -> Element:
    """The root element of a part of an OOXML file, in the namespaces that most files have.

    Args:
        content: The part.
        name: Its name, for the message.

    Raises:
        UnreadableError: See `parse_xml`.
    """
    return parse_xml(_STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", content), name)


def parse_xml(content: bytes, name: str) -> Element:
    """The root element of an XML part.

    Args:
        content: The part.
        name: Its name, for the message.

    Raises:
        UnreadableError: It is too large, is no well-formed XML, or has a document type, in which entities are declared:
            no program writes one into an office file, and it is how a small file becomes a huge one, or reads others.
    """
    try:
        from lxml import etree
    except ImportError:
        raise missing_extra("documents") from None

    if len(content) > _MOST_XML:
        message = (
            f"has {len(content) >> 20} MB of XML in its part {name[:200]!r}, and {_MOST_XML >> 20} are read: split it"
        )
        raise UnreadableError("too_large", message)
    if any(mark in content for mark in _DOCTYPES):
        raise UnreadableError(
            "damaged", f"declares XML entities in its part {name[:200]!r}, which no office file needs"
        )
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as e:
        if "xcessive depth" in str(e):
            raise UnreadableError("nested_too_deep", f"is nested too deep in its part {name[:200]!r}") from e
        raise UnreadableError("damaged", f"is damaged: its part {name[:200]!r} is no XML ({_one_line(e)})") from e
    if root is None or root.getroottree().docinfo.internalDTD is not None:
        raise UnreadableError("damaged", f"is damaged: its part {name[:200]!r} is no XML of an office file")
    return root


def child_of(element: Element, tag: str) -> Element | None:
    """The first child with a name, some times as quick as lxml's `find`, which reads a path.

    Args:
        element: The element.
        tag: The name, with its namespace.
    """
    return next(element.iterchildren(tag), None)


def local_name(element: Element) -> str:
    """The name of an element without its namespace."""
    tag: str = element.tag
    return tag.rpartition("}")[2]


def int_of(text: str | None, otherwise: int = 0) -> int:
    """A whole number of an attribute; another if it has none."""
    try:
        return int(text or "")
    except ValueError:
        return otherwise


def compound_file_error(content: bytes, kind: str) -> UnreadableError:
    """Why a compound file is not read where a zip of XML parts was expected.

    Args:
        content: The compound file.
        kind: What a message calls the kind that was expected.
    """
    if "EncryptedPackage".encode("utf-16-le") in content:
        return UnreadableError("encrypted", "is encrypted with a password: save it without one")
    return UnreadableError("damaged", f"is not {kind}, but a file of older Microsoft Office: save it in today's format")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
