"""Filesystems by path: Beam's own, except for S3 and Azure, where a dataset cannot be written with Beam's.

Observed with Beam 2.77: its S3 writer cannot complete an empty file, leaves the upload open, and makes a new client for
each operation. Its `exists` of Azure raises if there is no such blob.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems as _BeamFileSystems  # noqa: TID251 - this is where it is chosen
from apache_beam.options.value_provider import RuntimeValueProvider


class FileSystems:
    """Beam's `FileSystems`, method by method, with two more that object stores need (`writes_whole`, `abort_uploads`).

    A path on an unknown filesystem, or on one whose extra is not installed, raises ValueError everywhere.
    """

    @staticmethod
    def set_options(options: Any) -> None:
        """Sets the keys, addresses and other options of all filesystems from a pipeline's options."""
        _BeamFileSystems.set_options(options)

    @staticmethod
    def get_filesystem(path: str) -> Any:
        """The filesystem that a path is on.

        Raises:
            ValueError: The path's scheme is unknown, or the extra that it needs is not installed.
        """
        scheme = _BeamFileSystems.get_scheme(path)
        if scheme == "s3":
            try:
                from kimi_beam.files.s3 import S3
            except ImportError:
                raise ValueError("s3:// needs an extra: pip install 'kimi-beam[aws]'") from None
            return S3(_BeamFileSystems._pipeline_options or RuntimeValueProvider.runtime_options)
        if scheme == "azfs":
            try:
                from kimi_beam.files.azure import Azure
            except ImportError:
                raise ValueError("azfs:// needs an extra: pip install 'kimi-beam[azure]'") from None
            return Azure(_BeamFileSystems._pipeline_options)
        return _BeamFileSystems.get_filesystem(path)

    @staticmethod
    def join(path: str, *more: str) -> str:
        """Joins the components of a path."""
        joined: str = FileSystems.get_filesystem(path).join(path, *more)
        return joined

    @staticmethod
    def split(path: str) -> tuple[str, str]:
        """The directory of a path, and the name in it."""
        directory, name = FileSystems.get_filesystem(path).split(path)
        return directory, name

    @staticmethod
    def mkdirs(path: str) -> None:
        """Creates a directory and its parents. Does nothing in a store that has no directories."""
        FileSystems.get_filesystem(path).mkdirs(path)

    @staticmethod
    def match(patterns: Sequence[str], limits: Sequence[int | None] | None = None) -> list[Any]:
        """One `MatchResult` for each pattern, in order, with at most as many files as its limit (None: all)."""
        if not patterns:
            return []
        found: list[Any] = FileSystems.get_filesystem(patterns[0]).match(list(patterns), limits)
        return found

    @staticmethod
    @contextlib.contextmanager
    def create(path: str, *, compression_type: str = CompressionTypes.AUTO) -> Iterator[Any]:
        """A new binary file to write to. It is complete when the block ends, and abandoned if the block raises."""
        file = FileSystems.get_filesystem(path).create(path, compression_type=compression_type)
        try:
            with file:
                yield file
        except BaseException:
            _abandon(file)
            raise

    @staticmethod
    def open(path: str, *, compression_type: str = CompressionTypes.AUTO) -> Any:
        """An existing file, opened for reading in binary."""
        return FileSystems.get_filesystem(path).open(path, compression_type=compression_type)

    @staticmethod
    def rename(sources: Sequence[str], destinations: Sequence[str]) -> None:
        """Renames each source to the destination with the same index."""
        FileSystems.get_filesystem(sources[0]).rename(list(sources), list(destinations))

    @staticmethod
    def exists(path: str) -> bool:
        """Whether a file exists, or a directory if the filesystem has directories."""
        found: bool = FileSystems.get_filesystem(path).exists(path)
        return found

    @staticmethod
    def delete(paths: Sequence[str]) -> None:
        """Deletes files, and directories with all their content."""
        if paths:
            FileSystems.get_filesystem(paths[0]).delete(list(paths))

    @staticmethod
    def writes_whole(path: str) -> bool:
        """Whether a new file appears complete or not at all, so that it need not be staged first."""
        return bool(getattr(FileSystems.get_filesystem(path), "WRITES_WHOLE", False))

    @staticmethod
    def abort_uploads(prefix: str, before: float) -> None:
        """Aborts multipart uploads that were never completed, if the store keeps them. Does nothing elsewhere.

        Args:
            prefix: The beginning of their paths.
            before: Unix seconds. Uploads that began later are spared, because they may be in progress.
        """
        abort = getattr(FileSystems.get_filesystem(prefix), "abort_uploads", None)
        if abort is not None:
            abort(prefix, before)


def _abandon(file: Any) -> None:
    """Prevents Python from closing a failed file when it collects it as garbage.

    Closing it would make Google's writer upload its content again, and retry for minutes if no server answers.
    """
    if file.closed or not hasattr(file, "terminate"):
        return
    with contextlib.suppress(Exception):  # it may have failed because the server is gone, which fails this as well
        file.terminate()
    if not file.closed:
        file.close = bool  # a function that does nothing
