"""The content of one object of S3, as a file to read from and one to write to."""

from __future__ import annotations

import contextlib
import io
import tempfile
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kimi_beam.files.s3_errors import plain_errors

_FIRST = 1024**2
"""Bytes of the first request: all of most files, so that they cost one request."""
_BUFFER = 8 * 1024**2
_AT_ONCE = 16 * 1024**2
"""Bytes that are held in memory and written by one request."""
_TRIES = 3


class Reader(io.RawIOBase):
    """The bytes of an object, asked for by range. All of them are of one version: a change meanwhile is an OSError.

    Args:
        client: boto3's.
        path: For errors.
        bucket: The object's.
        key: The object's.

    Raises:
        OSError: The object cannot be read; see `S3`.
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
        """Bytes that are worth asking for at once."""
        return max(1, min(self._size, _BUFFER))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes elsewhere, without a request."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer as far as there is something."""
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
        """The rest. Python's own asks for 8 kB at a time, each of which would be a request."""
        chunks = list[bytes]()
        while chunk := self.read(_BUFFER):
            chunks.append(chunk)
        return b"".join(chunks)

    def _fetch(self, start: int, end: int) -> tuple[bytes, dict[str, Any]]:
        # boto3 repeats a request that fails, but not one whose body breaks off.
        for left in reversed(range(_TRIES)):
            try:
                reply = self._client.get_object(**self._object, Range=f"bytes={start}-{end - 1}")
                with contextlib.closing(reply["Body"]) as body:
                    return body.read(), reply
            except BotoCoreError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")


class Writer(io.BufferedIOBase):
    """A new object, which appears when it is closed, and may be empty.

    What is left by an exception, or never closed, does not appear. What is too large for one request waits in a
    temporary file of this machine until it is whole; boto3 then uploads it in parts, and gives up if one of them fails.

    Args:
        client: boto3's.
        path: For errors.
        bucket: The object's.
        key: The object's.
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
        """Has the object appear.

        Raises:
            OSError: It cannot: there is no object, or the one that was there before.
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
        """Ends without an object."""
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
