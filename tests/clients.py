"""A client that is closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kimi_beam.network.client import Client
from kimi_beam.service.workers_ai import WorkersAI

ACCOUNT = "0123456789abcdef0123456789abcdef"


@contextmanager
def client(base_url: str, token_from: str = "env:CLOUDFLARE_API_TOKEN", **changes: object) -> Iterator[Client]:
    opened = Client(WorkersAI(ACCOUNT, base_url=base_url, token_from=token_from), **changes)  # type: ignore[arg-type]
    try:
        yield opened
    finally:
        opened.close()
