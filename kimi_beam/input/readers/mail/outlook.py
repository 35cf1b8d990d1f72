"""Reads mails as Outlook saves them (.msg), by python-oxmsg. `mail` calls it for what begins as a compound file."""

from __future__ import annotations

import datetime
import email.message
import struct
from collections.abc import Iterator
from email.policy import SMTP
from typing import TYPE_CHECKING, cast

from kimi_beam.input.readers.content import Attachment, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.mail.mail_text import attachment_name, chosen_body, html_body, mail_content, plain_body
from kimi_beam.input.readers.optional_libraries import missing_extra
from kimi_beam.input.readers.pictures.picture_sizes import shows_a_document
from kimi_beam.input.readers.text.declared_encodings import decode_declared
from kimi_beam.input.readers.web import web_pages

if TYPE_CHECKING:
    from oxmsg.properties import Properties
    from oxmsg.storage import Storage

_BROKEN = (
    OSError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What the libraries raise for damaged files."""
_TOP_HEADER, _INNER_HEADER = 32, 24
"""The bytes before the properties of the mail itself, and of a mail that is attached to it."""
_MOST_DEPTH = 10
_BODY_RTF = 0x1009
_TO, _CC = 1, 2
_RECIPIENT_TYPE = 0x0C15


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a mail of Outlook.

    Args:
        content: The file.
        options: `encoding` is used for HTML that names none and is not in UTF-8.

    Returns:
        One page: headers and text. `metadata` has subject, from and date; `attachments` the files in it.

    Raises:
        UnreadableError: It is no mail, damaged, or larger than the limits.
    """
    try:
        from oxmsg import Message
        from oxmsg.domain.model import UnrecognizedCodePageError
    except ImportError:
        raise missing_extra("documents") from None

    try:
        _check_sizes(content)
        storage = cast("Storage", Message.load(content)._storage)  # no other way leads to the mails that are attached
        return _OutlookMail(storage, _TOP_HEADER, options).content()
    except (*_BROKEN, UnrecognizedCodePageError) as e:
        raise UnreadableError("damaged", f"is damaged, or not a mail of Outlook ({type(e).__name__})") from e


def _check_sizes(content: bytes) -> None:
    """Refuses a file whose streams say that they are larger than the file: all they say would be read into memory."""
    from olefile import OleFileIO

    with OleFileIO(content) as file:
        if sum(entry.size for entry in file.direntries if entry is not None) > 2 * len(content):
            raise ValueError("its streams are larger than the file")


class _OutlookMail:
    """One mail: that of the file, or one that is attached to it."""

    def __init__(self, storage: Storage, header: int, options: ReadOptions, depth: int = 0) -> None:
        from oxmsg.properties import Properties

        if depth > _MOST_DEPTH:
            raise UnreadableError("nested_too_deep", f"has mails within mails, more than {_MOST_DEPTH} deep")
        self._storage = storage
        self._properties = Properties(storage, properties_header_offset=header)
        self._options = options
        self._depth = depth

    def content(self) -> Content:
        plain, html = self._plain(), self._html()
        bodies = [chosen_body(plain_body(plain) if plain else None, html_body(html) if html else None)]
        if not plain and not html and self._properties.binary_prop_value(_BODY_RTF):
            message = "has its text as rich text alone, which is not read: save it as .eml"
            raise UnreadableError("reader_failed", message)
        date = self._date()
        return mail_content(
            self._headers(), bodies, list(self._attachments()), "" if date is None else date.isoformat()
        )

    def as_eml(self) -> bytes:
        """The mail in the form of the internet, so that it can be a document of its own."""
        mail = email.message.EmailMessage(SMTP)
        for name, value in self._headers().items():
            mail[name] = " ".join(value.split())
        mail.set_content(self._plain())
        if html := self._html():
            mail.add_alternative(html, subtype="html")
        for attachment in self._attachments():
            mail.add_attachment(
                attachment.content, maintype="application", subtype="octet-stream", filename=attachment.name
            )
        return mail.as_bytes()

    def _plain(self) -> str:
        from oxmsg.domain import constants

        return self._properties.str_prop_value(constants.PID_BODY) or ""

    def _html(self) -> str:
        from oxmsg.domain import constants

        content = self._properties.binary_prop_value(constants.PID_HTML)
        if content:
            return decode_declared(
                content, (self._properties.body_encoding, web_pages.said_encoding(content)), self._options.encoding
            )
        return self._properties.str_prop_value(constants.PID_BODY_HTML) or ""

    def _date(self) -> datetime.datetime | None:
        from oxmsg.domain import constants

        return self._properties.date_prop_value(constants.PID_CLIENT_SUBMIT_TIME) or self._properties.date_prop_value(
            constants.PID_MESSAGE_DELIVERY_TIME
        )

    def _headers(self) -> dict[str, str]:
        from oxmsg.domain import constants

        text = self._properties.str_prop_value
        address = text(constants.PID_SENDER_SMTP_ADDRESS) or text(constants.PID_SENDER_EMAIL_ADDRESS) or ""
        headers = {"From": _with_address(text(constants.PID_SENDER_NAME) or "", address)}
        for name, kind in (("To", _TO), ("Cc", _CC)):
            headers[name] = ", ".join(self._recipients(kind))
        date = self._date()
        headers["Date"] = "" if date is None else f"{date:%a, %d %b %Y %H:%M:%S %z}"
        headers["Subject"] = text(constants.PID_SUBJECT) or ""
        return {name: " ".join(value.split()) for name, value in headers.items() if value.strip()}

    def _recipients(self, kind: int) -> Iterator[str]:
        from oxmsg.recipient import Recipient

        for storage in self._storage.iter_recipient_storages():
            recipient = Recipient(storage)
            if (recipient.properties.int_prop_value(_RECIPIENT_TYPE) or _TO) == kind:
                yield _with_address(recipient.name, recipient.email_address)

    def _attachments(self) -> Iterator[Attachment]:
        from oxmsg.domain import constants
        from oxmsg.domain.model import ATTACH_HDR_OFFSET
        from oxmsg.properties import Properties

        for storage in self._storage.iter_attachment_storages():
            properties = Properties(storage, properties_header_offset=ATTACH_HDR_OFFSET)
            name = attachment_name(_attached_name(properties))
            if storage.storages:  # a mail that is attached is a storage, and no stream of bytes
                inner = _OutlookMail(storage.storages[0], _INNER_HEADER, self._options, self._depth + 1)
                name = name or attachment_name(inner._headers().get("Subject", "")) or "mail"
                yield Attachment(name if name.lower().endswith(".eml") else f"{name}.eml", inner.as_eml())
                continue
            content = properties.binary_prop_value(constants.PID_ATTACH_DATA_BINARY)
            media_type = (properties.str_prop_value(constants.PID_ATTACH_MIME_TAG) or "").lower()
            is_shown = bool(properties.str_prop_value(constants.PID_ATTACH_CONTENT_ID)) and media_type.startswith(
                "image/"
            )
            if content is not None and not (is_shown and not shows_a_document(content)):
                yield Attachment(name, content)


def _attached_name(properties: Properties) -> str:
    from oxmsg.domain import constants

    for identifier in (constants.PID_ATTACH_LONG_FILENAME, constants.PID_ATTACH_FILENAME, constants.PID_DISPLAY_NAME):
        if name := properties.str_prop_value(identifier):
            return name
    return ""


def _with_address(name: str, address: str) -> str:
    return f"{name} <{address}>" if name and address and name != address else name or address
