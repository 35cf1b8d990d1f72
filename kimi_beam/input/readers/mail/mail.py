"""Reads mails (.eml, and by `outlook` .msg): headers above the text, attachments as documents of their own.

A mail in HTML is read as a web page is. Pictures that the HTML shows are attachments if they are large enough to show a
document (300 pixels): logos are none. Signatures are left out, and an attached mail is an attachment named ``….eml``.
"""

from __future__ import annotations

import contextlib
import email
import email.message
import mimetypes
import re
from collections.abc import Iterator
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime

from kimi_beam.input.readers.content import Attachment, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.mail import outlook
from kimi_beam.input.readers.mail.mail_text import (
    HEADERS,
    Body,
    attachment_name,
    chosen_body,
    html_body,
    mail_content,
    plain_body,
)
from kimi_beam.input.readers.office.office_xml import OLE_MARK
from kimi_beam.input.readers.pictures.picture_sizes import shows_a_document
from kimi_beam.input.readers.text.declared_encodings import decode_declared
from kimi_beam.input.readers.web import web_pages

_MOST_DEPTH = 50
_MOST_OF_A_HEADER = 50_000
"""The letters of a header that are read, because decoding takes time with the square of them."""
_SHOWN = re.compile(r"\bcid:([^\s\"'()<>]+)", re.I)
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
_TEXTS = frozenset({"text/plain", "text/html", "text/calendar"})
"""What is text of a mail where it has no name. An invitation beside another form of the text gives way to that."""
_ENVELOPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted"})
_KNOWN_BY = frozenset({"from", "to", "subject", "date", "received", "message-id", "mime-version", "content-type"})
"""A mail has at least one of these headers."""


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a mail.

    Args:
        content: The file.
        options: `encoding` is used for texts that name none and are not in UTF-8.

    Returns:
        One page: headers and text. `metadata` has subject, from and date; `attachments` the files in it.

    Raises:
        UnreadableError: It is no mail, damaged, encrypted, or larger than the limits.
    """
    if content.startswith(OLE_MARK):
        return outlook.read(content, options)
    try:
        mail = email.message_from_bytes(content)
    except RecursionError as e:
        raise UnreadableError("nested_too_deep", "is nested too deep") from e
    except (MessageError, ValueError, LookupError, TypeError, AttributeError) as e:  # what hostile headers bring out
        raise UnreadableError("damaged", f"is damaged: it cannot be parsed as a mail ({type(e).__name__})") from e
    if not _KNOWN_BY & {name.lower() for name in mail.keys()}:  # noqa: SIM118 - a message's own iteration gives no names
        raise UnreadableError(
            "damaged", "is empty: it has 0 bytes" if not content else "is not a mail: it has no header"
        )
    headers = _headers(mail)
    parts = _Parts(options)
    bodies = parts.bodies(mail)
    if parts.is_encrypted and not any(body.text for body in bodies):
        raise UnreadableError("encrypted", "is encrypted, or signed as a whole: save it decrypted")
    return mail_content(headers, bodies, parts.attachments(), _date(headers.get("Date", "")))


class _Parts:
    """Walks over the parts of a mail."""

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self._attached: list[tuple[Attachment, str]] = []
        """Each with the identifier by which the text may show it."""
        self._shown: set[str] = set()
        """The identifiers of what the text shows."""
        self.is_encrypted = False

    def attachments(self) -> list[Attachment]:
        """The attachments, without small pictures that the text shows. They are known once the texts are read."""
        return [
            attachment
            for attachment, identifier in self._attached
            if identifier not in self._shown or shows_a_document(attachment.content)
        ]

    def bodies(self, part: email.message.Message, depth: int = 0) -> list[Body]:
        """The texts of a part."""
        if depth > _MOST_DEPTH:
            raise UnreadableError("nested_too_deep", f"has parts within parts, more than {_MOST_DEPTH} deep")
        kind = part.get_content_type()
        if kind in _ENVELOPES:
            self.is_encrypted = True
        if kind in _SIGNATURES or kind == "multipart/encrypted":
            return []
        if not part.is_multipart():
            return self._leaf(part, kind)
        children = [child for child in _payload(part) if isinstance(child, email.message.Message)]
        if kind == "message/rfc822":
            self._attach_mail(part, children)
            return []
        if kind == "message/delivery-status":
            return [plain_body("\n\n".join(_head_text(child) for child in children))]
        found = [self.bodies(child, depth + 1) for child in children]
        if kind != "multipart/alternative":
            return [body for bodies in found for body in bodies]
        plain = next((bodies for bodies in found if bodies and not any(body.is_html for body in bodies)), None)
        html = next((bodies for bodies in reversed(found) if any(body.is_html for body in bodies)), None)
        if plain is None or html is None:
            return html or plain or []
        return [chosen_body(_one(plain), _one(html))]

    def _leaf(self, part: email.message.Message, kind: str) -> list[Body]:
        name = attachment_name(_file_name(part))
        disposition = str(part.get("Content-Disposition") or "").strip().lower()
        content = _bytes(part)
        if kind in _TEXTS and not name and not disposition.startswith("attachment"):
            text = self._text(part, content)
            if kind != "text/html":
                return [plain_body(text)]
            self._shown |= set(_SHOWN.findall(text))
            return [html_body(text)]
        if not name:
            name = f"attachment{mimetypes.guess_extension(kind) or ''}" if kind != "application/octet-stream" else ""
        identifier = str(part.get("Content-ID") or "").strip().strip("<>") if kind.startswith("image/") else ""
        self._attached.append((Attachment(name, content), identifier))
        return []

    def _text(self, part: email.message.Message, content: bytes) -> str:
        try:
            charset = part.get_content_charset()
        except (LookupError, ValueError, TypeError):
            charset = None
        try:
            said = web_pages.said_encoding(content) if part.get_content_type() == "text/html" else None
            return decode_declared(content, (charset, said), self._options.encoding)
        except UnreadableError:
            return content.replace(b"\0", b"").decode("utf-8", "replace")

    def _attach_mail(self, part: email.message.Message, children: list[email.message.Message]) -> None:
        for child in children:
            try:
                content = child.as_bytes()
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError, MessageError) as e:
                message = f"is damaged: a mail in it cannot be written out ({type(e).__name__})"
                raise UnreadableError("damaged", message) from e
            name = attachment_name(_file_name(part)) or attachment_name(_headers(child).get("Subject", "")) or "mail"
            name = name if name.lower().endswith(".eml") else f"{name}.eml"
            self._attached.append((Attachment(name, content), ""))


def _one(bodies: list[Body]) -> Body:
    """Several texts as one."""
    if len(bodies) == 1:
        return bodies[0]
    hidden = tuple(hidden for body in bodies for hidden in body.hidden)
    return Body("\n\n".join(body.text for body in bodies), any(body.is_html for body in bodies), hidden)


def _payload(part: email.message.Message) -> Iterator[object]:
    payload = part.get_payload()
    return iter(payload) if isinstance(payload, list) else iter(())


def _bytes(part: email.message.Message) -> bytes:
    """The content of a part, decoded as well as it can be."""
    try:
        content = part.get_payload(decode=True)
    except (ValueError, LookupError, TypeError, AttributeError):
        content = None
    if isinstance(content, bytes):
        return content
    return str(part.get_payload()).encode("utf-8", "surrogateescape")


def _headers(mail: email.message.Message) -> dict[str, str]:
    """The headers that stand above the text, decoded."""
    found: dict[str, str] = {}
    wanted = {name.lower(): name for name in HEADERS}
    for name, value in mail.raw_items():
        key = wanted.get(name.lower())
        if key and key not in found:
            found[key] = _decoded(str(value))
    return found


def _decoded(value: str) -> str:
    """A header as it is meant: folded lines as one, encoded words (RFC 2047) and bare bytes as letters."""
    value = _of_bare_bytes(value[:_MOST_OF_A_HEADER])
    if "=?" in value:
        with contextlib.suppress(MessageError, LookupError, ValueError, TypeError):
            value = str(make_header(decode_header(value)))
    return " ".join(value.encode("utf-8", "replace").decode().split())


def _of_bare_bytes(value: str) -> str:
    """A header whose bytes outside ASCII are letters, although no header may hold them."""
    if value.isascii():
        return value
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _file_name(part: email.message.Message) -> str:
    head = email.message.Message()  # of its own, with bare bytes as letters: the part itself would lose them
    for name, value in part.raw_items():
        if name.lower() in ("content-disposition", "content-type"):
            head[name] = _of_bare_bytes(str(value)[:_MOST_OF_A_HEADER])
    try:
        file_name = head.get_filename("")
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return _decoded(str(file_name))


def _head_text(part: email.message.Message) -> str:
    return "\n".join(f"{name}: {_decoded(str(value))}" for name, value in part.raw_items())


def _date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
