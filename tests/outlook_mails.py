"""Writes mails as Outlook saves them (.msg)."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compound_files import Tree, compound_file

_STRING, _BINARY, _INTEGER, _TIME, _OBJECT = 0x1F, 0x102, 3, 0x40, 0x0D
Values = Mapping[int, str | bytes | int | datetime.datetime]


@dataclass(frozen=True)
class OutlookAttachment:
    """A file, or a mail, in a mail."""

    name: str
    content: bytes | OutlookMail
    media_type: str = ""
    content_id: str = ""


@dataclass(frozen=True)
class OutlookMail:
    """A mail of Outlook."""

    subject: str = ""
    plain: str = ""
    html: bytes = b""
    sender: tuple[str, str] = ("", "")
    recipients: Sequence[tuple[str, str, int]] = ()
    """Name, address and kind: 1 for To, 2 for Cc."""
    attachments: Sequence[OutlookAttachment] = ()
    sent: datetime.datetime | None = None
    rich_text: bytes = b""

    def write(self) -> bytes:
        """The file."""
        return compound_file(self._tree(32))

    def _tree(self, header: int) -> Tree:
        values: dict[int, str | bytes | int | datetime.datetime] = {
            0x001A: "IPM.Note", 0x0037: self.subject, 0x1000: self.plain, 0x1013: self.html, 0x0C1A: self.sender[0],
            0x5D01: self.sender[1], 0x1009: self.rich_text, 0x3FDE: 65001,
        }  # fmt: skip
        if self.sent is not None:
            values[0x0039] = self.sent
        tree = _properties({key: value for key, value in values.items() if value}, header)
        for at, (name, address, kind) in enumerate(self.recipients):
            tree[f"__recip_version1.0_#{at:08X}"] = _properties({0x3001: name, 0x39FE: address, 0x0C15: kind}, 8)
        for at, attachment in enumerate(self.attachments):
            tree[f"__attach_version1.0_#{at:08X}"] = _attachment(attachment)
        return tree


def _attachment(attachment: OutlookAttachment) -> Tree:
    values: dict[int, str | bytes | int | datetime.datetime] = {0x3707: attachment.name, 0x370E: attachment.media_type}
    if attachment.content_id:
        values[0x3712] = attachment.content_id
    if isinstance(attachment.content, bytes):
        return _properties({**values, 0x3701: attachment.content}, 8)
    return {**_properties(values, 8), "__substg1.0_3701000D": attachment.content._tree(24)}


def _properties(values: Values, header: int) -> dict[str, bytes | Tree]:
    tree: dict[str, bytes | Tree] = {}
    rows = []
    for identifier, value in values.items():
        if isinstance(value, int):
            rows.append(struct.pack("<HHIIi", _INTEGER, identifier, 6, value, 0))
        elif isinstance(value, datetime.datetime):
            ticks = round((value - datetime.datetime(1601, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds() * 1e7)
            rows.append(struct.pack("<HHIQ", _TIME, identifier, 6, ticks))
        else:
            kind = _STRING if isinstance(value, str) else _BINARY
            content = value.encode("utf-16-le") if isinstance(value, str) else value
            rows.append(struct.pack("<HHIII", kind, identifier, 6, len(content) + 2 * (kind == _STRING), 0))
            tree[f"__substg1.0_{identifier:04X}{kind:04X}"] = content
    tree["__properties_version1.0"] = bytes(header) + b"".join(rows)
    return tree
