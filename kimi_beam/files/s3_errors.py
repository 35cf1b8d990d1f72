"""Errors of S3 as one line that names the bucket and says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - boto's own, which is no OSError
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NOT_THERE = {"NoSuchKey", "404", "NotFound"}
_BAD_KEYS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidClientTokenId",
    "AuthFailure",
}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


@contextlib.contextmanager
def plain_errors(path: str) -> Iterator[None]:
    """Turns errors of boto3 into an OSError about a path. Its text never contains an access key."""
    try:
        yield
    except ClientError as e:
        error, reply = e.response.get("Error", {}), e.response.get("ResponseMetadata", {})
        raise refused(path, str(error.get("Code", "")), int(reply.get("HTTPStatusCode", 0) or 0)) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise PermissionError(f"no keys for {_bucket(path)} were found: set {_KEYS}") from None
    except (ConnectionError, HTTPClientError) as e:
        raise OSError(f"{_bucket(path)} cannot be reached: {_line(e)}") from None
    except (BotoCoreError, Boto3Error, ValueError) as e:  # ValueError: the endpoint is not a valid address
        raise OSError(f"{_bucket(path)} cannot be used: {_line(e)}") from None


def refused(path: str, code: str, status: int) -> OSError:
    """The Python error for an error that S3 answered.

    Args:
        path: The path that was requested.
        code: S3's name of the error. The HTTP status as text if the answer had no body.
        status: The HTTP status. 0 if one of several objects in a request failed.
    """
    bucket = _bucket(path)
    if code == "NoSuchBucket":
        return FileNotFoundError(f"{bucket} does not exist")
    if code in _NOT_THERE:
        return FileNotFoundError(f"{path} is not there")
    if code in _BAD_KEYS:
        return PermissionError(f"{bucket} does not accept the keys ({code}): set {_KEYS}")
    if code in _ELSEWHERE:
        return OSError(f"{bucket} is in another region ({code}): name it by AWS_DEFAULT_REGION or --s3_region_name")
    if status == 403 or code in ("AccessDenied", "403", "AllAccessDisabled"):
        return PermissionError(f"{bucket} refuses it ({code}): its keys must allow to list, read, write and delete")
    if code == "PreconditionFailed":
        return OSError(f"{path} was replaced while it was read")
    return OSError(f"{bucket} answered {code or status}")


def _bucket(path: str) -> str:
    name = path.removeprefix("s3://").partition("/")[0]
    return f"the bucket s3://{name}" if name else "S3"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
