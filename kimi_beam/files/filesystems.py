"""Which filesystem a path is on: Beam's own, but for S3 and Azure, where Beam's cannot hold a dataset.

Found in Beam 2.77: its S3 writer cannot complete an empty file, leaves the upload open, and makes a client for each
operation; its `exists` of Azure raises where nothing is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems as _BeamFileSystems  # noqa: TID251 - this is where it is chosen
from apache_beam.options.value_provider import RuntimeValueProvider


class FileSystems:
    """Beam's `FileSystems`, method by method, and what object stores need beyond it.

    A path on an unknown filesystem, or on one whose extra is not installed, raises ValueError everywhere.
    """

    @staticmethod
    def set_options(options: Any) -> None:
        """Takes the filesystems' options, such as keys and addresses, from a pipeline's options."""
        _BeamFileSystems.set_options(options)

    @staticmethod
    def get_filesystem(path: str) -> Any:
        """The filesystem that a path is on.

        Raises:
            ValueError: No filesystem of that kind is known, or its extra is not installed.
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
        """One path of its components."""
        joined: str = FileSystems.get_filesystem(path).join(path, *more)
        return joined

    @staticmethod
    def split(path: str) -> tuple[str, str]:
        """The directory of a path, and the name in it."""
        directory, name = FileSystems.get_filesystem(path).split(path)
        return directory, name

    @staticmethod
    def mkdirs(path: str) -> None:
        """Creates a directory with those above it; does nothing where a store has no directories."""
        FileSystems.get_filesystem(path).mkdirs(path)

    @staticmethod
    def match(patterns: Sequence[str], limits: Sequence[int | None] | None = None) -> list[Any]:
        """One `MatchResult` for each pattern, in their order; of each no more files than its limit, None for all."""
        if not patterns:
            return []
        found: list[Any] = FileSystems.get_filesystem(patterns[0]).match(list(patterns), limits)
        return found

    @staticmethod
    @contextlib.contextmanager
    def create(path: str, *, compression_type: str = CompressionTypes.AUTO) -> Iterator[Any]:
        """A new file to write to, in binary, which is whole when the block ends; where it fails, it is given up."""
        file = FileSystems.get_filesystem(path).create(path, compression_type=compression_type)
        try:
            with file:
                yield file
        except BaseException:
            _abandon(file)
            raise

    @staticmethod
    def open(path: str, *, compression_type: str = CompressionTypes.AUTO) -> Any:
        """A file to read from, in binary."""
        return FileSystems.get_filesystem(path).open(path, compression_type=compression_type)

    @staticmethod
    def rename(sources: Sequence[str], destinations: Sequence[str]) -> None:
        """Renames files, each to the destination at its place."""
        FileSystems.get_filesystem(sources[0]).rename(list(sources), list(destinations))

    @staticmethod
    def exists(path: str) -> bool:
        """Whether a file is there; a directory too, where the filesystem has any."""
        found: bool = FileSystems.get_filesystem(path).exists(path)
        return found

    @staticmethod
    def delete(paths: Sequence[str]) -> None:
        """Deletes files, and directories with all that is in them."""
        if paths:
            FileSystems.get_filesystem(paths[0]).delete(list(paths))

    @staticmethod
    def writes_whole(path: str) -> bool:
        """Whether a file that is created appears whole or not at all, so that it need not be written aside first."""
        return bool(getattr(FileSystems.get_filesystem(path), "WRITES_WHOLE", False))

    @staticmethod
    def abort_uploads(prefix: str, before: float) -> None:
        """Gives up uploads that nobody completed, where the store keeps such.

        Args:
            prefix: What their paths begin with.
            before: Unix seconds; what began later may be at work.
        """
        abort = getattr(FileSystems.get_filesystem(prefix), "abort_uploads", None)
        if abort is not None:
            abort(prefix, before)


def _abandon(file: Any) -> None:
    """Has a file that failed not be closed again when Python throws it away.

    A writer of Google's would upload what it holds once more then, and try for minutes where no server answers.
    """
    if file.closed or not hasattr(file, "terminate"):
        return
    with contextlib.suppress(Exception):  # the server may be the reason
        file.terminate()
    if not file.closed:
        file.close = bool  # a function that does nothing
