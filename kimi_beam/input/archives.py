"""The members of zip and tar archives, read within limits: a bomb costs next to no time and memory.

Nothing is written to a disk, so that the names of members are only names, ``../../etc/passwd`` too. A member that must
not or cannot be read is one failure, and its neighbours are read. Only what concerns the archive as a whole (too many
members, members that overlap, damage) ends its reading.
"""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, NamedTuple

from kimi_beam.input.kinds import ZIP
from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.input.readers.zip_members import DAMAGED as DAMAGED_ZIP
from kimi_beam.input.told_by_content import kind_of_members

MOST_MEMBERS = 100_000
"""The most members of an archive, because a zip's directory is in memory."""
_RATIO = 500
"""Bytes that a compressed byte may give. Deflate gives at most 1,032; tables and logs give up to 100."""
_RATIO_FROM = 8 << 20
"""Bytes of a member up to which the ratio does not matter."""
_ARCHIVE_FROM = 64 << 20
"""Bytes of a whole tar up to which the ratio does not matter."""
_QUICK_DIRECTORY = 2_000
"""The most members of a zip whose members are read once more one by one, each time with the whole directory."""
_DIRECTORY_BYTES = 64 << 20
"""The most bytes of a zip's directory."""
_HEADER_BYTES = 1 << 20
"""The most bytes of a tar's header for one member, with long names and attributes."""
_MEDIA_TYPE_BYTES = 200
"""The most bytes of the member that says the media type of an OpenDocument file."""
_BLOCK = 1 << 16
_UNIX = 3
"""The system of a zip's member whose attributes are those of Unix (APPNOTE 6.3.10, 4.4.2)."""
_AES = 99
"""The method of compression by which a zip says that a member is encrypted by AES (APPNOTE 6.3.10, 4.4.5)."""
DAMAGED = (*DAMAGED_ZIP, tarfile.TarError)
"""What the standard library raises for damaged archives."""


class Member(NamedTuple):
    """One file in an archive."""

    name: str
    content: BinaryIO | None
    """Its content, until the next member is taken. None: it cannot be read."""
    failure: UnreadableError | None = None
    """Why it cannot be read."""
    stored_bytes: int = 0
    """The bytes that it takes in the archive."""
    position: int | None = None
    """Its index in a zip's directory, by which it can be read once more at little cost; None if it cannot."""


def _too_many() -> UnreadableError:
    return UnreadableError("too_many_members", f"has more than {MOST_MEMBERS:,} members, which is not read: split it")


def _bomb(what: str) -> UnreadableError:
    return UnreadableError("compression_bomb", f"{what} unpacks to more than {_RATIO} times its size: it is not read")


class Budget:
    """How much may still be read of an archive, with the archives in it.

    Args:
        left: The bytes.
        members: The members.
    """

    def __init__(self, left: int, members: int = MOST_MEMBERS) -> None:
        self._left, self._members = left, members

    @property
    def is_used_up(self) -> bool:
        """Whether nothing more may be read."""
        return self._left < 0 or self._members < 0

    def take(self, count: int) -> None:
        """Takes bytes from it.

        Raises:
            UnreadableError: There are not as many left.
        """
        self._left -= count
        if self._left < 0:
            raise _bomb("is a bomb, or might be one: it")

    def take_member(self) -> None:
        """Takes a member from it.

        Raises:
            UnreadableError: There is none left.
        """
        self._members -= 1
        if self._members < 0:
            raise _too_many()


def budget_of(stored_bytes: int) -> Budget:
    """How much may be read of an archive of so many bytes."""
    return Budget(max(_ARCHIVE_FROM, _RATIO * stored_bytes))


def budget_of_member(stored_bytes: int) -> Budget:
    """How much may be read of a member of so many bytes that is compressed itself."""
    return Budget(max(_RATIO_FROM, _RATIO * stored_bytes))


class Metered:
    """A file that is read forward only, at the cost of a budget.

    Args:
        f: The file.
        budget: What may be read of it.
    """

    def __init__(self, f: BinaryIO, budget: Budget) -> None:
        self._file, self._budget = f, budget
        self._at = 0
        self.most_at_once: int | None = None
        """The most bytes that may be asked for at once; None: any number."""
        self.last = b""
        """What was read last."""

    def read(self, size: int = -1) -> bytes:
        """Reads bytes."""
        if self.most_at_once is not None and not 0 <= size <= self.most_at_once:
            raise UnreadableError("damaged", "is damaged: one of its headers is said to be very large")
        return self._counted(self._file.read(size))

    def readline(self, size: int = -1) -> bytes:
        """Reads a line, or the beginning of a long one."""
        return self._counted(self._file.readline(size))

    def peek(self, size: int) -> bytes:
        """The next bytes, which are read once more; empty if the file cannot tell them."""
        peek: Any = getattr(self._file, "peek", None)
        return bytes(peek(size)) if peek is not None else b""

    def tell(self) -> int:
        """How many bytes were read."""
        return self._at

    def seek(self, position: int) -> int:
        """Reads up to a position."""
        if position < self._at:
            raise OSError("an archive is read forward only")
        while self._at < position and self._counted(self._file.read(min(_BLOCK, position - self._at))):
            pass
        return self._at

    def seekable(self) -> bool:
        """Whether one can seek, which some libraries ask."""
        return False

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def _counted(self, content: bytes) -> bytes:
        self._at += len(content)
        self._budget.take(len(content))
        self.last = content
        return content


# ------------------------------------------------------------------------------------------------ zip


def zip_members(f: BinaryIO, password: str | None, start: int = 0, stop: int | None = None) -> Iterator[Member]:
    """The files in a zip archive, in the order of its directory.

    Args:
        f: The archive, in which one can seek.
        password: The password of encrypted members; None if the user named none.
        start: The index of the first member.
        stop: The index after the last. None: to the end.

    Raises:
        UnreadableError: The archive as a whole is not read.
    """
    archive = open_zip(f)
    with closing(archive):
        infos = archive.infolist()
        for index, info in enumerate(infos[start:stop], start):
            if info.is_dir():
                continue
            failure = _not_read(info, password)
            if failure is not None:
                yield Member(info.filename, None, failure)
                continue
            try:
                opened: Any = archive.open(info, pwd=None if password is None else password.encode())
            except DAMAGED as e:
                yield Member(info.filename, None, _broken(e, is_encrypted=bool(info.flag_bits & 1)))
                continue
            with opened:
                is_quick = len(infos) <= _QUICK_DIRECTORY and not info.flag_bits & 1
                yield Member(info.filename, opened, None, info.compress_size, index if is_quick else None)


def read_member(f: BinaryIO, index: int, most: int) -> bytes:
    """Reads one member of a zip once more.

    Args:
        f: The archive, in which one can seek.
        index: Its index in the archive's directory.
        most: The most bytes that are read of it.

    Raises:
        UnreadableError: The archive or the member is not what it was.
    """
    with closing(open_zip(f)) as archive:
        try:
            with archive.open(archive.infolist()[index]) as member:
                return member.read(most)
        except DAMAGED as e:
            raise _broken(e) from e


def open_zip(f: BinaryIO) -> zipfile.ZipFile:
    """Opens a zip archive after a look at the size of its directory.

    Raises:
        UnreadableError: It is damaged, has too many members, or members that overlap, as only a bomb has.
    """
    try:
        size = f.seek(0, 2)
        if _entries(f, size) > MOST_MEMBERS:
            raise _too_many()
        f.seek(0)
        archive = zipfile.ZipFile(f)
    except DAMAGED as e:
        raise _broken(e) from e
    if len(archive.infolist()) > MOST_MEMBERS:
        raise _too_many()
    if sum(info.compress_size for info in archive.infolist()) > size:
        raise _bomb("has members that overlap, and")
    return archive


def is_office_file(f: BinaryIO) -> bool:
    """Whether a zip is an office file by its members. Afterwards the file is at its beginning again."""
    try:
        with open_zip(f) as archive:
            names = archive.namelist()
            media_type = ""
            if "mimetype" in names and archive.getinfo("mimetype").file_size < _MEDIA_TYPE_BYTES:
                media_type = archive.read("mimetype").decode("ascii", "replace").strip()
            return kind_of_members(names, media_type) is not ZIP
    except (UnreadableError, *DAMAGED):  # reading its members says what is wrong with it
        return False
    finally:
        f.seek(0)


def _entries(f: BinaryIO, size: int) -> int:
    """How many members a zip's directory lists, without making objects of them.

    The sizes of the directory are where its end says (APPNOTE 6.3.10, 4.3.16; for large ones 4.3.14).
    """
    f.seek(max(0, size - (1 << 16) - 100))
    tail = f.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise zipfile.BadZipFile("it has no directory at its end")
    directory_bytes, end = int.from_bytes(tail[at + 12 : at + 16], "little"), size - len(tail) + at
    large = tail.rfind(b"PK\6\6", 0, at)
    if large >= 0 and large + 56 <= len(tail):
        directory_bytes, end = int.from_bytes(tail[large + 40 : large + 48], "little"), size - len(tail) + large
    if directory_bytes > _DIRECTORY_BYTES:
        raise _too_many()
    f.seek(max(0, end - directory_bytes))
    return f.read(directory_bytes).count(b"PK\1\2")


def _not_read(info: zipfile.ZipInfo, password: str | None) -> UnreadableError | None:
    """Why a member is not read, by what the directory says of it."""
    if info.create_system == _UNIX and stat.S_ISLNK(info.external_attr >> 16):
        return UnreadableError("unreadable", "is a link to another file, read only under its own name")
    if info.compress_type == _AES:
        return UnreadableError("encrypted", "is encrypted by AES, which is not read: unpack the archive yourself")
    if info.flag_bits & 1 and password is None:
        return UnreadableError("encrypted", "is encrypted: --password-from says where its password is")
    if info.file_size > _RATIO_FROM and info.file_size > _RATIO * max(1, info.compress_size):
        return _bomb("is a bomb, or might be one: it")
    return None


def _broken(error: Exception, *, is_encrypted: bool = False) -> UnreadableError:
    if isinstance(error, UnreadableError):
        return error
    if is_encrypted:
        return UnreadableError("encrypted", "is encrypted by another password than --password-from names, or damaged")
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UnreadableError("damaged", f"is damaged: {reason}")


# ------------------------------------------------------------------------------------------------ tar


def tar_members(f: BinaryIO, stored_bytes: int) -> Iterator[Member]:
    """The files in a tar archive, in order. Links and devices have no content of their own, and are failures.

    Args:
        f: The archive, uncompressed. It is read forward only.
        stored_bytes: The bytes that it takes where it is stored, perhaps compressed.

    Raises:
        UnreadableError: The archive as a whole is not read, or not to its end.
    """
    source = Metered(f, budget_of(stored_bytes))
    source.most_at_once = _HEADER_BYTES
    count = 0
    try:
        archive = tarfile.TarFile.open(fileobj=source, mode="r:")  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            count += 1
            if count > MOST_MEMBERS:
                raise _too_many()
            source.most_at_once = None
            if member.isreg() and not member.issparse():
                content: Any = archive.extractfile(member)
                yield Member(member.name, content, stored_bytes=member.size)
            elif not member.isdir():
                yield Member(member.name, None, _no_file(member))
            source.most_at_once = _HEADER_BYTES
            archive.members = []  # the module would keep each of them
    except DAMAGED as e:
        raise _broken(e) from e
    if source.last.strip(b"\0") or not source.last:  # the module ends quietly at a header that is none
        raise UnreadableError("damaged", "is damaged or cut off: its end is missing")


def _no_file(member: tarfile.TarInfo) -> UnreadableError:
    if member.issym() or member.islnk():
        return UnreadableError("unreadable", f"is a link to {member.linkname[:300]!r}, read only under its own name")
    if member.issparse():
        return UnreadableError("unreadable", "is a sparse file, which is not read: unpack the archive yourself")
    return UnreadableError("unreadable", "is a named pipe or a device, which holds nothing")
