"""Writes compound files (OLE), in which Outlook saves mails: no library for it is small enough to depend on."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

Tree = Mapping[str, Union[bytes, "Tree"]]
_SECTOR, _MINI = 512, 64
_CUTOFF = 4096
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


@dataclass
class _Entry:
    name: str
    kind: int
    child: int = _FREE
    right: int = _FREE
    start: int = _END
    size: int = 0


@dataclass
class _Writer:
    entries: list[_Entry] = field(default_factory=lambda: [_Entry("Root Entry", 5)])
    sectors: list[bytes] = field(default_factory=list)
    fat: list[int] = field(default_factory=list)
    mini: bytearray = field(default_factory=bytearray)
    mini_fat: list[int] = field(default_factory=list)

    def add(self, parent: int, tree: Tree) -> None:
        previous = _FREE
        for name, content in sorted(tree.items(), key=lambda item: (len(item[0]), item[0].upper())):
            at = len(self.entries)
            entry = _Entry(name, 2 if isinstance(content, bytes) else 1)
            self.entries.append(entry)
            if previous == _FREE:
                self.entries[parent].child = at
            else:
                self.entries[previous].right = at
            previous = at
            if not isinstance(content, bytes):
                self.add(at, content)
            elif content:
                entry.size = len(content)
                entry.start = self.put(content) if len(content) >= _CUTOFF else self.put_mini(content)

    def put(self, content: bytes) -> int:
        start = len(self.sectors)
        for at in range(0, len(content), _SECTOR):
            self.sectors.append(content[at : at + _SECTOR].ljust(_SECTOR, b"\0"))
            self.fat.append(len(self.sectors))
        self.fat[-1] = _END
        return start

    def put_mini(self, content: bytes) -> int:
        start = len(self.mini) // _MINI
        for at in range(0, len(content), _MINI):
            self.mini += content[at : at + _MINI].ljust(_MINI, b"\0")
            self.mini_fat.append(len(self.mini) // _MINI)
        self.mini_fat[-1] = _END
        return start


def compound_file(tree: Tree) -> bytes:
    """A compound file.

    Args:
        tree: The content of each stream and the tree of each storage, by their names.
    """
    writer = _Writer()
    writer.add(0, tree)
    root = writer.entries[0]
    mini_fat_start = _END
    mini_fat = struct.pack(f"<{len(writer.mini_fat)}I", *writer.mini_fat)
    if writer.mini:
        root.start, root.size = writer.put(bytes(writer.mini)), len(writer.mini)
        padding = b"\xff" * (-len(mini_fat) % _SECTOR)
        mini_fat_start = writer.put(mini_fat + padding)
    directory_start = writer.put(b"".join(map(_directory_entry, writer.entries)))
    fat_sectors = 1
    while fat_sectors * (_SECTOR // 4) < len(writer.fat) + fat_sectors:
        fat_sectors += 1
    fat_start = len(writer.sectors)
    fat = [*writer.fat, *[_FAT] * fat_sectors]
    fat += [_FREE] * (fat_sectors * (_SECTOR // 4) - len(fat))
    places = [*range(fat_start, fat_start + fat_sectors), *[_FREE] * (109 - fat_sectors)]
    mini_sectors = 0 if mini_fat_start == _END else (len(mini_fat) + _SECTOR - 1) // _SECTOR
    header = struct.pack(
        "<8s16s5H6s9I109I",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 0x3E, 3, 0xFFFE, 9, 6, b"", 0, fat_sectors, directory_start, 0,
        _CUTOFF, mini_fat_start, mini_sectors, _END, 0, *places,
    )  # fmt: skip
    return header + b"".join(writer.sectors) + struct.pack(f"<{len(fat)}I", *fat)


def _directory_entry(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le")
    return struct.pack(
        "<64sHBB3I16sI8s8sIQ",
        name, len(name) + 2, entry.kind, 1, _FREE, entry.right, entry.child, b"", 0, b"", b"", entry.start, entry.size,
    )  # fmt: skip
