"""One object of S3 as a file: `Reader` reads it by ranges, `Writer` uploads it when it is closed."""

from __future__ import annotations

import contextlib
import io
import tempfile
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kimi_beam.files.s3_errors import plain_errors

_FIRST = 1024**2
"""Bytes that the first request asks for. Most files are smaller, so they cost one request."""
_BUFFER = 8 * 1024**2
_AT_ONCE = 16 * 1024**2
"""Bytes up to which an object is kept in memory and uploaded by one request."""
_TRIES = 3


class Reader(io.RawIOBase):
    """The bytes of an object, requested by ranges. All are of one version: if the object is replaced, reading raises.

    Args:
        client: The boto3 client.
        path: The path that errors name.
        bucket: The bucket that the object is in.
        key: The object's name in the bucket.

    Raises:
        OSError: The object cannot be read, or was replaced meanwhile; see `S3`.
    """

    def __init__(self, client: Any, path: str, bucket: str, key: str) -> None:
        super().__init__()
        self._client, self._path = client, path
        self._object: dict[str, str] = {"Bucket": bucket, "Key": key}
        self._at, self._size, self._first = 0, 0, b""
        with plain_errors(path):
            try:
                self._first, reply = self._fetch(0, _FIRST)
            except ClientError as e:
                if e.response.get("Error", {}).get("Code") not in ("InvalidRange", "416"):
                    raise
                return  # an empty object has no range
        self._size = int(reply.get("ContentRange", "").rpartition("/")[2] or len(self._first))
        if "ETag" in reply:
            self._object["IfMatch"] = reply["ETag"]

    @property
    def best_buffer(self) -> int:
        """The buffer size, in bytes, that `io.BufferedReader` should read this object with."""
        return max(1, min(self._size, _BUFFER))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        """The position of the next byte to be read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Sets the position without making a request."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer, or the beginning of it if the object ends first."""
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        if self._at < len(self._first):
            content = self._first[self._at : end]
        else:
            with plain_errors(self._path):
                content, _ = self._fetch(self._at, end)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def readall(self) -> bytes:
        """All bytes from here on. Python's own `readall` reads 8 kB at a time, each of which would be a request."""
        chunks = list[bytes]()
        while chunk := self.read(_BUFFER):
            chunks.append(chunk)
        return b"".join(chunks)

    def _fetch(self, start: int, end: int) -> tuple[bytes, dict[str, Any]]:
        # boto3 repeats a request that fails, but not one whose body breaks off.
        for tries_left in reversed(range(_TRIES)):
            try:
                reply = self._client.get_object(**self._object, Range=f"bytes={start}-{end - 1}")
                with contextlib.closing(reply["Body"]) as body:
                    return body.read(), reply
            except BotoCoreError:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")


class Writer(io.BufferedIOBase):
    """A new object, which may be empty. It appears when it is closed.

    It does not appear if an exception ends the ``with`` block, or if it is never closed. Content that is too large for
    one request waits in a local temporary file; on closing, boto3 uploads it in parts and aborts if one of them fails.

    Args:
        client: The boto3 client.
        path: The path that errors name.
        bucket: The bucket that the object will be in.
        key: The object's name in the bucket.
    """

    def __init__(self, client: Any, path: str, bucket: str, key: str) -> None:
        super().__init__()
        self._client, self._path = client, path
        self._bucket, self._key = bucket, key
        self._content = tempfile.SpooledTemporaryFile(max_size=_AT_ONCE)  # noqa: SIM115 - closed by close and abort

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._content.tell()

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError(f"{self._path} is closed")
        return self._content.write(data)

    def close(self) -> None:
        """Uploads the content, so that the object appears.

        Raises:
            OSError: The upload failed. There is no object then, or still the one from before.
        """
        if self.closed:
            return
        try:
            with plain_errors(self._path):
                size = self._content.tell()
                self._content.seek(0)
                if size <= _AT_ONCE:
                    self._client.put_object(Bucket=self._bucket, Key=self._key, Body=self._content.read())
                else:
                    self._client.upload_fileobj(self._content, self._bucket, self._key)
        finally:
            self.abort()

    def abort(self) -> None:
        """Discards the content without uploading it."""
        if not self.closed:
            super().close()
            self._content.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        self.abort()
