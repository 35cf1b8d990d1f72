"""An emulator of Workers AI: a server on this machine that speaks its protocol for Kimi, without a model behind it.

    from kimi_beam.emulator import Emulator

    with Emulator(latency=0.2, seed=7, faults="rate_limit=0.1,doubled_item=0.05") as emulator:
        client = ...  # any client, told that the API's base URL is emulator.base_url
        ...
        assert emulator.stats()["paid_twice"] == 0

It answers the batch queue and the synchronous ``/ai/run`` at `Emulator.base_url`, there also ``/ai/v1`` as OpenAI's
clients speak it and the catalogue of models; at `Emulator.openai_url` it is an OpenAI-compatible server of no provider,
and at `Emulator.gateway_url` the older host of AI Gateway. Answers stream, call tools and fill JSON Schemas. The events
of its jobs can be pulled from the Cloudflare Queues that `Behaviour.event_queues` names.

What it is for: trying a client, a pipeline or a test against jobs that wait, come back in another order, lack items or
never end, without an account and without paying. What it is not: Kimi. The answers come from rules that look for
labelled values, titles, tables and the habits of letterheads, tills and contracts in the document (`rules`); they
never invent a value. Every completion says that it is not Kimi's: its ``model`` is the id that was asked for followed
by ``(emulator: rule-based, not Kimi)``, and its reasoning, unless it was turned off, is ``rule-based stand-in, not a
model``. The
``model`` of a submit or of a pending job is the plain id. A test that wants other answers gives its own function, and
the ``model`` ends in ``(emulator)``:

    with Emulator(answer=lambda messages, schema: '{"total": "9.00"}') as emulator: ...

Each fact about the protocol is marked as documented by Cloudflare, observed or assumed: in `behaviour` those that can
be chosen, in `refusals` the errors, in `replies`, `stream` and `queue` the rest. The faults are listed in `faults`.
From a shell ``python -m kimi_beam.emulator --faults all=0.05`` prints the base URL and serves until Ctrl-C.

This package imports nothing else from kimi_beam, because a codec that both sides share would hide its mistakes. Its web
server is an extra (``pip install 'kimi-beam[emulator]'``), so that workers do not install it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import FAULTS, Faults, FaultsError

if TYPE_CHECKING:
    from kimi_beam.emulator.command import serve
    from kimi_beam.emulator.running import Emulator

__all__ = ["FAULTS", "Behaviour", "Emulator", "Faults", "FaultsError", "NotInstalledError", "serve"]

_HOME = {"Emulator": "kimi_beam.emulator.running", "serve": "kimi_beam.emulator.command"}


_WEB_SERVER = ("starlette", "uvicorn")


class NotInstalledError(ImportError):
    """The emulator's web server is not installed. The message is one line that says how to install it."""


def __getattr__(name: str) -> Any:
    """Import the web server only when it is used: a command line that prints its help should not wait for it.

    Raises:
        NotInstalledError: The web server is not there.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as e:
        if e.name is None or e.name.partition(".")[0] not in _WEB_SERVER:
            raise
        needs = " and ".join(_WEB_SERVER)
        told = f"the emulator needs {needs}: pip install 'kimi-beam[emulator]' (in a checkout: '.[emulator]')"
        raise NotInstalledError(told) from None
