"""`Emulator`: runs the service on a real port in a thread of this process, as a context manager."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kimi_beam.emulator.access_log import AccessLog
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import Faults
from kimi_beam.emulator.leaf_faults import WrongLeaf
from kimi_beam.emulator.server import BASE_PATH, application
from kimi_beam.emulator.service import Service
from kimi_beam.emulator.work import Answer

HOST: Final = "127.0.0.1"  # never another address, because anyone who can reach the emulator can use it


class Emulator:
    """Workers AI for Kimi on this machine.

    Example:
        >>> with Emulator(answer=lambda messages, schema: '{"total": 9.00}') as emulator:
        ...     service = kb.WorkersAI.from_env(base_url=emulator.base_url)
        ...     service.queue_url.startswith("http://127.0.0.1:"), emulator.stats()["submits"]
        (True, 0)

    Args:
        port: TCP port on 127.0.0.1; 0 picks a free one.
        latency: Seconds from submit until a job is done; a synchronous run takes as long.
        seed: Decides which faults strike and the order of items. Request ids stay random.
        faults: A specification for `Faults.parse`, or `Faults`.
        token: The only API token accepted; None accepts any that is not empty.
        behaviour: The choices where Workers AI is not documented; None is `Behaviour()`.
        answer: A function of the messages and the JSON Schema (None without one) that returns the answer's text, in
            place of the rule-based model. Called in another thread. An exception fails the item.
        clock: Returns the time in Unix seconds, so that a test can let a day pass.
        log: Called in the emulator's thread with a line about each request: path, sizes and status, never tokens or
            documents. None: nothing is logged.

    Raises:
        FaultsError: The faults are not understood.
    """

    def __init__(
        self,
        port: int = 0,
        latency: float = 0.0,
        seed: int = 0,
        faults: str | Faults = "",
        token: str | None = None,
        behaviour: Behaviour | None = None,
        answer: Answer | None = None,
        clock: Callable[[], float] = time.time,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._port = port
        self._log = log
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._base_url: str | None = None
        self._service = Service(
            latency=latency,
            seed=seed,
            faults=Faults.parse(faults) if isinstance(faults, str) else faults,
            token=token,
            behaviour=behaviour or Behaviour(),
            answer=answer,
            clock=clock,
        )

    @property
    def base_url(self) -> str:
        """The base URL for clients, in place of ``https://api.cloudflare.com/client/v4``."""
        if self._base_url is None:
            raise RuntimeError("the emulator has not been started")
        return self._base_url

    @property
    def openai_url(self) -> str:
        """The root URL of an OpenAI-compatible server that is not Cloudflare's."""
        return self.base_url.removesuffix(BASE_PATH) + "/v1"

    @property
    def gateway_url(self) -> str:
        """The root URL of the older form of AI Gateway, in place of ``https://gateway.ai.cloudflare.com/v1``."""
        return self.openai_url

    def stats(self) -> dict[str, Any]:
        """Return the counters of ``GET /stats``, also after the emulator was stopped.

        Keys: ``submits``, ``items``, ``polls``, ``runs``, ``throttled``, ``documents`` (different documents billed),
        ``documents_paid_more_than_once``, ``paid_twice`` (payments beyond the first of each document),
        ``jobs_in_flight``, ``most_jobs_in_flight``, ``faults`` (name to number injected), ``prompt_tokens``,
        ``cached_tokens`` (which are part of them), ``completion_tokens``, ``events`` (of the queues: requests ``pulls``
        and ``acks``, messages ``sent``, also those whose time has not come, ``delivered``, ``acknowledged`` and
        ``handed_back``).
        """
        return self._service.stats()

    def wrong_leaves(self) -> list[WrongLeaf]:
        """Return the account of what the faults of single values (``wrong_leaf``) have changed, also after it stopped.

        An answer is in it once it was written, whether or not anybody has read it. ``GET /wrong_leaves`` says the same.
        """
        return self._service.wrong_leaves()

    def reset(self) -> None:
        """Set the counters to zero, and forget the account of wrong values; jobs stay."""
        self._service.reset()

    def start(self) -> Emulator:
        """Listen, and return once requests are answered.

        Raises:
            OSError: The port is taken.
            RuntimeError: It was started before. An emulator can be started only once.
        """
        if self._thread is not None:
            raise RuntimeError("an emulator can be started only once")
        # The socket listens before the thread starts, so that no client is refused and the port cannot be lost.
        # The protocol is named because asyncio otherwise leaves Nagle's algorithm on, and each reply would take 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self._port))
            listener.listen(2048)
        except BaseException:
            listener.close()
            raise
        self._base_url = f"http://{HOST}:{listener.getsockname()[1]}{BASE_PATH}"
        self._server = _Server(self._service, self._log)
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="kimi-beam-emulator", daemon=True)
        self._thread.start()
        self._server.ready.wait()
        return self

    def stop(self) -> None:
        """Close every connection and end the thread. Does nothing if it is not running."""
        self._service.close()
        if self._server is not None and self._thread is not None and self._thread.is_alive():
            self._server.stop()
            self._thread.join()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, listener: socket.socket) -> None:
        assert self._server is not None
        try:
            asyncio.run(self._server.serve(sockets=[listener]))
        finally:
            self._server.ready.set()
            listener.close()


class Protocol(H11Protocol):
    """HTTP/1.1 whose requests know their transport, so that a fault can cut the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport into the ``state`` of every request's scope, where the application finds it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """A uvicorn server that signals when it is ready, and stops at once instead of waiting for its clients."""

    def __init__(self, service: Service, log: Callable[[str], None] | None) -> None:
        answers = application(service)
        super().__init__(
            uvicorn.Config(
                answers if log is None else AccessLog(answers, log),
                http=Protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="critical",
                server_header=False,
                date_header=False,
                timeout_keep_alive=75,
            )
        )
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End `main_loop`; called from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    async def main_loop(self) -> None:
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports notice that they were closed
