"""The members of a zip file, read within limits: a zip bomb costs no more memory and time than the limits allow.

A zip's directory may say anything, so what is checked against the limits is what its members give when they are read.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kimi_beam.input.readers.content import UnreadableError


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """How large a zip file may be once it is unpacked.

    Attributes:
        members: The most members.
        member_bytes: The most bytes of one member.
        total_bytes: The most bytes of all members that are read, together.
        ratio: The most bytes that one compressed byte of a member may give; not asked below `ratio_from` bytes.
        ratio_from: Bytes of a member from which `ratio` is asked, because small repetitive texts compress well.
    """

    members: int = 10_000
    member_bytes: int = 128 << 20
    total_bytes: int = 256 << 20
    ratio: int = 500
    ratio_from: int = 8 << 20


DEFAULT_LIMITS = ZipLimits()
_BLOCK = 1 << 18
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    ValueError,
)
"""What the standard library raises for damaged zips."""


class ZipMembers:
    """A zip file whose members are read within limits.

    Args:
        content: The zip file.
        limits: How much may come out of it.

    Raises:
        UnreadableError: It is no zip file (``damaged``), or has too many members.

    Attributes:
        names: The names of its members, in the order of its directory. They are only names: nothing is written to disk.
    """

    def __init__(self, content: bytes, limits: ZipLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._left = limits.total_bytes
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except DAMAGED as e:
            raise UnreadableError("damaged", f"is damaged or cut off: it is no whole zip archive ({e})") from e
        infos = self._zip.infolist()
        if len(infos) > limits.members:
            message = f"has {len(infos):,} members, and {limits.members:,} are read at most: split it"
            raise UnreadableError("too_many_members", message)
        self._infos = {info.filename: info for info in infos}
        self.names = tuple(self._infos)

    def __contains__(self, name: str) -> bool:
        """Whether it has a member of this name."""
        return name in self._infos

    def size(self, name: str) -> int:
        """The bytes that a member has, as the directory says: no more can be read of it.

        Args:
            name: One of `names`.
        """
        return self._infos[name].file_size

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Args:
            name: One of `names`.

        Raises:
            KeyError: There is no such member.
            UnreadableError: It is damaged, encrypted, or larger than the limits.
        """
        return b"".join(self.blocks(name))

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of a member, block by block.

        Args:
            name: One of `names`.

        Raises:
            KeyError: There is no such member.
            UnreadableError: It is damaged, encrypted, or larger than the limits.
        """
        info = self._infos[name]
        self._check_is_readable(info)
        count = 0
        try:
            with self._zip.open(info) as f:
                while block := f.read(_BLOCK):
                    count += len(block)
                    self._check_size(info, count, len(block))
                    yield block
        except DAMAGED as e:
            raise _damaged(name, e) from e

    def with_parts(self, changed: Mapping[str, bytes]) -> bytes:
        """The zip file with other bytes for some of its members.

        Args:
            changed: The bytes of these members, by their names.

        Raises:
            UnreadableError: See `read`.
        """
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as other:
            for name in self.names:
                other.writestr(name, changed[name] if name in changed else self.read(name))
        return file.getvalue()

    def check_all(self) -> None:
        """Unpacks every member and keeps none, before a library without limits of its own unpacks the file.

        Raises:
            UnreadableError: A member is damaged or encrypted, or the members are larger than the limits, or than the
                directory says.
        """
        for info in self._zip.infolist():
            self._check_is_readable(info)
            count = 0
            try:
                for block in self._inflated(info):
                    count += len(block)
                    self._check_size(info, count, len(block))
                    if count > info.file_size:
                        raise ValueError("it is larger than the directory says")  # which the library may believe
            except DAMAGED as e:
                raise _damaged(info.filename, e) from e
        self._left = self._limits.total_bytes

    def _check_is_readable(self, info: zipfile.ZipInfo) -> None:
        if info.flag_bits & 1:
            raise UnreadableError("encrypted", "is a zip archive with a password: unpack it, and give its files")

    def _check_size(self, info: zipfile.ZipInfo, count: int, added: int) -> None:
        limits = self._limits
        self._left -= added
        too_dense = count > limits.ratio_from and count > limits.ratio * max(1, info.compress_size)
        if too_dense or count > limits.member_bytes or self._left < 0:
            most = f"{limits.total_bytes >> 20} MB in all"
            message = f"unpacks to more than is read ({most}): split it, or save a large table as CSV"
            raise UnreadableError("compression_bomb", message)

    def _inflated(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """What a member gives if its size in the directory is not believed, in blocks."""
        file = self._zip.fp
        assert file is not None
        file.seek(info.header_offset)
        mark, name_size, extra_size = struct.unpack("<4s22xHH", file.read(30))
        if mark != b"PK\x03\x04":
            raise ValueError("no member begins where the directory says")
        file.seek(info.header_offset + 30 + name_size + extra_size)
        compressed = file.read(info.compress_size)
        if info.compress_type == zipfile.ZIP_STORED:
            yield compressed
            return
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise NotImplementedError("office files are deflated or stored")
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        while block := inflate.decompress(compressed, _BLOCK):
            yield block
            compressed = inflate.unconsumed_tail


def _damaged(name: str, error: Exception) -> UnreadableError:
    return UnreadableError("damaged", f"is damaged: its part {name[:200]!r} cannot be read ({error})")
