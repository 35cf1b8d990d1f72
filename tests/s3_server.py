"""A server that speaks S3 on this machine: moto's, in a process of its own, with users, keys and policies."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from patience import HANGS

_ALL = {"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}
_READ = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*", "s3:Head*"], "Resource": "*"}


@dataclass(frozen=True)
class Keys:
    """An access key and its secret."""

    access: str
    secret: str

    def environment(self, url: str) -> dict[str, str]:
        """What the environment says to a program that shall use them."""
        return {
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@dataclass(frozen=True)
class S3Server:
    """The running server.

    Attributes:
        url: Its address.
        log: A line for each request.
        keys: Of a user who may do everything.
        reader: Of a user who may read alone.
        client: Of the first user.
    """

    url: str
    log: Path
    keys: Keys
    reader: Keys
    client: Any

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """The contents of a bucket by their keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        names = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {name: self.client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}

    def open_uploads(self, bucket: str) -> list[str]:
        """The keys of uploads that nobody completed or gave up."""
        return [one["Key"] for one in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]

    def requests(self) -> Counter[str]:
        """How many requests there were, by method, since the server began."""
        return Counter(re.findall(r"([A-Z]+) /\S* HTTP/1", self.log.read_text(errors="replace")))


@contextlib.contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """Starts one, with nothing in it; ends it with all that it holds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", directory / "s3.log"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    with log.open("wb") as f:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=f,
            stderr=f,
            env=plain,
        )
    try:
        _wait_for(url, process, log)
        keys, reader = (_user(url, name, policy) for name, policy in (("owner", _ALL), ("reader", _READ)))
        _post(f"{url}/moto-api/reset-auth", b"0")  # from now on keys and policies are looked at
        client = _client(url, "s3", keys)
        yield S3Server(url, log, keys, reader, client)
        client.close()
    finally:
        process.kill()
        process.wait()


def _user(url: str, name: str, statement: dict[str, Any]) -> Keys:
    iam = _client(url, "iam", Keys("anyone", "anything"))
    iam.create_user(UserName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    iam.close()
    return Keys(made["AccessKeyId"], made["SecretAccessKey"])


def _client(url: str, service: str, keys: Keys) -> Any:
    return boto3.session.Session().client(
        service,
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id=keys.access,
        aws_secret_access_key=keys.secret,
    )


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "text/plain"})
    with urllib.request.urlopen(request) as reply:
        reply.read()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + HANGS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/moto-api/"):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
