"""The clients of a process: all steps that ask one service share one, which is closed when the last of them is done."""

from __future__ import annotations

from kimi_beam.network.client import SUBMITS_AT_ONCE, Client, affinity
from kimi_beam.service.per_process import PerProcess
from kimi_beam.service.workers_ai import WorkersAI

_clients = PerProcess[Client]()


def connect(service: WorkersAI, prefix: bytes, max_concurrency: int, max_submits: int = SUBMITS_AT_ONCE) -> Client:
    """The client of this process for a service, made at the first call. Call `disconnect` when it is no longer used."""
    # A secret manager's handle may not be hashable, so it is known by its identity.
    token = service.token_from if isinstance(service.token_from, str) else id(service.token_from)
    address = (service.root, repr(service.gateway), service.account_id, service.model, service.api, service.pace)
    key = (address, token, affinity(prefix), max_concurrency, max_submits)

    def make() -> Client:
        return Client(service, prefix=prefix, max_concurrency=max_concurrency, max_submits=max_submits)

    with _clients.lock:  # otherwise the last user might close it before this one is counted
        client = _clients.get(key, make)
        client._users += 1
    return client


def disconnect(client: Client) -> None:
    """Ends one use of a client; the last use closes it."""
    with _clients.lock:
        client._users -= 1
        if client._users:
            return
        _clients.forget_value(client)
    client.allowance.forget_step(client)
    client.close()
