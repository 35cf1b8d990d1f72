"""Azure Blob Storage: Beam's own filesystem, corrected where Beam 2.77 raises for a blob that does not exist."""

from __future__ import annotations

from collections.abc import Sequence

import azure.storage.blob  # noqa: F401 - Beam's own module can be imported without it, and fails at the first file
from apache_beam.io.azure.blobstoragefilesystem import BlobStorageFileSystem
from apache_beam.io.filesystem import BeamIOError
from apache_beam.options.pipeline_options import PipelineOptions

from kimi_beam.files.store_errors import status_of

_NOT_THERE = 404


class Azure(BlobStorageFileSystem):
    """``azfs://ACCOUNT/CONTAINER/…``.

    Args:
        options: The pipeline's options. None: credentials and addresses come from the environment.
    """

    def __init__(self, options: PipelineOptions | None) -> None:
        super().__init__(options or PipelineOptions([]))

    @classmethod
    def scheme(cls) -> str:
        """None of its own: Beam takes no two filesystems for one scheme, and has one for ``azfs`` already."""
        return "kimi-beam-azfs"

    def exists(self, path: str) -> bool:
        try:
            return bool(super().exists(path))
        except BeamIOError as e:
            if status_of(e) == _NOT_THERE:
                return False
            raise

    def delete(self, paths: Sequence[str]) -> None:
        """Deletes blobs; one that is gone already is no error, as in other stores."""
        try:
            super().delete(paths)
        except BeamIOError as e:
            if any(status != _NOT_THERE for status in (e.exception_details or {"": None}).values()):
                raise
