"""The filesystem for ``s3://``: objects of S3, or of a server that speaks its protocol, as files.

Each process has one boto3 client for equal options. It finds keys, region and address as AWS's own programs do
(environment, profiles, roles), unless Beam's options name them: ``--s3_endpoint_url``, ``--s3_region_name``,
``--s3_access_key_id``, …
"""

from __future__ import annotations

import io
import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import boto3
from apache_beam.io.filesystem import CompressedFile, CompressionTypes, FileMetadata, FileSystem, MatchResult
from apache_beam.options.pipeline_options import PipelineOptions, S3Options
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from kimi_beam.files.s3_errors import plain_errors, refused
from kimi_beam.files.s3_files import Reader, Writer

_PREFIX = "s3://"
_DELETED_AT_ONCE = 1_000
"""The most keys that one delete request may name (documented by AWS)."""
# One request can copy up to 5 GB (documented by AWS). Unlike a copy in parts, it leaves no open upload behind when this
# process is killed.
_COPYING = TransferConfig(multipart_threshold=5 * 1024**3, multipart_chunksize=512 * 1024**2)
_CONNECTIONS = 32
_CONNECT_TIMEOUT = 10.0
"""Seconds that each attempt to connect may take."""


class S3(FileSystem):
    """Beam's filesystem interface over one boto3 client. Directories are prefixes of keys and need not be created.

    Every error of S3 is an OSError whose one line names the bucket: FileNotFoundError if an object or the bucket does
    not exist, PermissionError if access is refused.

    Args:
        options: The pipeline's options, or a dict of them. None: keys and addresses come from the environment.
    """

    WRITES_WHOLE = True
    """See `FileSystems.writes_whole`: an object appears only when its upload is complete."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._settings = _settings(options)

    @classmethod
    def scheme(cls) -> str:
        """None of its own: Beam takes no two filesystems for one scheme, and has one for ``s3`` already."""
        return "kimi-beam-s3"

    @property
    def client(self) -> Any:
        """The boto3 client of this process. Safe to use from several threads."""
        with plain_errors(_PREFIX):
            return _client(self._settings)

    # -------------------------------------------------------------------------------------------- paths

    def join(self, basepath: str, *paths: str) -> str:
        _parsed(basepath)
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths[:-1]), paths[-1].lstrip("/")])

    def split(self, path: str) -> tuple[str, str]:
        bucket, key = _parsed(path)
        directory, slash, name = key.rpartition("/")
        return f"{_PREFIX}{bucket}{slash and '/'}{directory}", name

    def mkdirs(self, path: str) -> None:
        """Does nothing, because a directory exists as soon as there is an object in it."""

    def has_dirs(self) -> bool:
        return False

    # -------------------------------------------------------------------------------------------- looking

    def match(self, patterns: Sequence[str], limits: Sequence[int | None] | None = None) -> list[MatchResult]:
        bounds = limits or [None] * len(patterns)
        matching = zip(patterns, map(self._matching, patterns), bounds, strict=True)
        return [MatchResult(pattern, list(itertools.islice(found, most))) for pattern, found, most in matching]

    def _matching(self, pattern: str) -> Iterable[FileMetadata]:
        if pattern.endswith("/"):
            pattern += "*"
        fixed = re.match(r"[^[*?]*", pattern)[0]  # type: ignore[index]  # it always matches, if only an empty string
        rest = pattern[len(fixed) :]
        if not rest:
            return self._one(pattern)
        # A * alone never matches a slash, so deeper directories need not be listed for it.
        is_flat = not set("/?[") & set(rest) and "**" not in rest
        found: Iterable[FileMetadata] = self.match_files(self._listed(fixed, is_flat=is_flat), pattern)
        return found

    def _one(self, path: str) -> list[FileMetadata]:
        """The object of exactly this path. It is listed, because S3 gives no reason when it refuses a HEAD request."""
        bucket, key = _parsed(path)
        if not key:
            return []
        with plain_errors(path):
            # Keys are listed in order, so the key itself comes before all keys that begin with it.
            page = self.client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        return [_metadata(bucket, item) for item in page.get("Contents", ()) if item["Key"] == key]

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        return self._listed(dir_or_prefix, is_flat=False)

    def _listed(self, prefix: str, *, is_flat: bool) -> Iterator[FileMetadata]:
        bucket, beginning = _parsed(prefix)
        flat = {"Delimiter": "/"} if is_flat else {}
        with plain_errors(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=beginning, **flat)
            for page in pages:
                yield from (_metadata(bucket, item) for item in page.get("Contents", ()))

    def exists(self, path: str) -> bool:
        return bool(self._one(path))

    def metadata(self, path: str) -> FileMetadata:
        found = self._one(path)
        if not found:
            raise FileNotFoundError(f"{path} is not there")
        return found[0]

    def size(self, path: str) -> int:
        size: int = self.metadata(path).size_in_bytes
        return size

    def last_updated(self, path: str) -> float:
        updated: float = self.metadata(path).last_updated_in_seconds
        return updated

    def checksum(self, path: str) -> str:
        bucket, key = _parsed(path)
        with plain_errors(path):
            tag: str = self.client.head_object(Bucket=bucket, Key=key)["ETag"]
        return tag

    # -------------------------------------------------------------------------------------------- contents

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> Any:
        raw = Reader(self.client, path, *_parsed(path))
        return _through(io.BufferedReader(raw, raw.best_buffer), path, compression_type)

    def create(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> Any:
        return _through(Writer(self.client, path, *_parsed(path)), path, compression_type)

    # -------------------------------------------------------------------------------------------- moving

    def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            (bucket, key), (to_bucket, to_key) = _parsed(source), _parsed(destination)
            with plain_errors(source):
                self.client.copy({"Bucket": bucket, "Key": key}, to_bucket, to_key, Config=_COPYING)

    def rename(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def delete(self, paths: Sequence[str]) -> None:
        keys: dict[str, list[str]] = {}
        for path in paths:
            for each in [m.path for m in self._list(path)] if path.endswith("/") else [path]:
                bucket, key = _parsed(each)
                keys.setdefault(bucket, []).append(key)
        for bucket, wanted in keys.items():
            for start in range(0, len(wanted), _DELETED_AT_ONCE):
                chunk = [{"Key": key} for key in wanted[start : start + _DELETED_AT_ONCE]]
                with plain_errors(f"{_PREFIX}{bucket}"):
                    reply = self.client.delete_objects(Bucket=bucket, Delete={"Objects": chunk, "Quiet": True})
                for error in reply.get("Errors", ()):
                    raise refused(f"{_PREFIX}{bucket}/{error.get('Key', '')}", str(error.get("Code")), 0)

    def abort_uploads(self, prefix: str, before: float) -> None:
        """Aborts the multipart uploads below a prefix that began before a time (Unix seconds)."""
        bucket, beginning = _parsed(prefix)
        with plain_errors(prefix):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=beginning)
            for upload in [upload for page in pages for upload in page.get("Uploads", ())]:
                if upload["Initiated"].timestamp() < before:
                    self.client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _parsed(path: str) -> tuple[str, str]:
    bucket, _, key = path.removeprefix(_PREFIX).partition("/")
    if not path.startswith(_PREFIX) or not bucket:
        raise ValueError(f"{path} names no bucket: s3://BUCKET/…")
    return bucket, key


def _metadata(bucket: str, item: dict[str, Any]) -> FileMetadata:
    return FileMetadata(f"{_PREFIX}{bucket}/{item['Key']}", item["Size"], item["LastModified"].timestamp())


def _through(raw: Any, path: str, compression_type: str) -> Any:
    if compression_type == CompressionTypes.AUTO:
        compression_type = CompressionTypes.detect_compression_type(path)
    if compression_type == CompressionTypes.UNCOMPRESSED:
        return raw
    return CompressedFile(raw, compression_type=compression_type)


# ------------------------------------------------------------------------------------------------ a process's client

_Settings = tuple[tuple[str, Any], ...]

_lock = threading.Lock()
_clients: dict[tuple[int, _Settings], Any] = {}


def _client(settings: _Settings) -> Any:
    with _lock:
        name = (os.getpid(), settings)
        if name not in _clients:
            config = Config(max_pool_connections=_CONNECTIONS, connect_timeout=_CONNECT_TIMEOUT)
            session = boto3.session.Session()
            # boto3 reads AWS_DEFAULT_REGION only; AWS's other programs read AWS_REGION as well.
            arguments = {"region_name": session.region_name or os.environ.get("AWS_REGION"), **dict(settings)}
            _clients[name] = session.client("s3", config=config, **arguments)
        return _clients[name]


_ARGUMENTS = {
    "s3_access_key_id": "aws_access_key_id",
    "s3_secret_access_key": "aws_secret_access_key",
    "s3_session_token": "aws_session_token",
    "s3_endpoint_url": "endpoint_url",
    "s3_region_name": "region_name",
    "s3_api_version": "api_version",
    "s3_verify": "verify",
}
"""Beam's options, and the argument of boto3's client that each of them sets."""


def _settings(options: Any) -> _Settings:
    values = options.view_as(S3Options).get_all_options() if isinstance(options, PipelineOptions) else options or {}
    found = {argument: values[name] for name, argument in _ARGUMENTS.items() if values.get(name) not in (None, "")}
    # On the command line --s3_verify is a word for yes or no, or else the path of a file of certificates.
    words = {"false": False, "no": False, "0": False, "true": True, "yes": True, "1": True}
    if "verify" in found:
        found["verify"] = words.get(str(found["verify"]).lower(), found["verify"])
    if values.get("s3_disable_ssl"):
        found["use_ssl"] = False
    return tuple(sorted(found.items()))
