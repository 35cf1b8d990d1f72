"""The service that every client of a benchmark asks: the emulator's own application in a process of its own.

Beside what `python -m kimi_beam.emulator` offers it has OpenAI's Batch API, which two rivals ask through, and answers
by `documents` and `made_files`, which cost a thirtieth of the emulator's rules: clients and service share this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import email.parser
import email.policy
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import Faults
from kimi_beam.emulator.received import Call
from kimi_beam.emulator.running import Protocol
from kimi_beam.emulator.server import BASE_PATH, application
from kimi_beam.emulator.service import Service

from . import documents, made_files

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A service that is running.

    Attributes:
        root: Its address without a path.
    """

    root: str

    @property
    def base_url(self) -> str:
        """What stands in the place of Cloudflare's API."""
        return self.root + BASE_PATH

    @property
    def openai_url(self) -> str:
        """The root of an OpenAI-compatible server."""
        return self.root + "/v1"

    def stats(self) -> dict[str, Any]:
        """What it has counted: see `Emulator.stats`."""
        with urllib.request.urlopen(self.root + "/stats", timeout=30) as reply:
            found: dict[str, Any] = json.load(reply)
        return found


@contextmanager
def running(latency: float = 0.0) -> Iterator[Running]:
    """A service in a process of its own, until the end of the block.

    Args:
        latency: Seconds from a submit until the answers are there; a synchronous answer takes as long.
    """
    command = [sys.executable, "-m", "tests.benchmarks.service", f"--latency={latency}"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            root = process.stdout.readline().strip()
            assert root, "the service did not start"
            yield Running(root)
        finally:
            process.kill()


class OpenAIBatches:
    """OpenAI's Files and Batch API over the service's own chat completions: a job is answered when it is made."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/v1/files", self._upload, methods=["POST"]),
            Route("/v1/files/{id}", self._file, methods=["GET", "DELETE"]),
            Route("/v1/files/{id}/content", self._content, methods=["GET"]),
            Route("/v1/batches", self._create, methods=["POST"]),
            Route("/v1/batches/{id}", self._batch, methods=["GET"]),
        ]

    async def _upload(self, request: Request) -> Response:
        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + await request.body())
        for part in form.iter_parts():
            if part.get_param("name", header="content-disposition") == "file":
                return self._kept(part.get_payload(decode=True))  # type: ignore[arg-type]
        return Response(status_code=400)

    def _kept(self, content: bytes) -> Response:
        name = f"file-{len(self._files):08d}"
        self._files[name] = content
        return JSONResponse(self._described(name))

    def _described(self, name: str) -> dict[str, Any]:
        about = {"object": "file", "created_at": int(time.time()), "filename": "batch.jsonl", "purpose": "batch"}
        return {"id": name, "bytes": len(self._files[name]), "status": "processed", **about}

    async def _file(self, request: Request) -> Response:
        name = request.path_params["id"]
        if request.method == "DELETE":
            return JSONResponse({"id": name, "object": "file", "deleted": True})
        return JSONResponse(self._described(name))

    async def _content(self, request: Request) -> Response:
        return Response(self._files[request.path_params["id"]], media_type="application/octet-stream")

    async def _create(self, request: Request) -> Response:
        asked = orjson.loads(await request.body())
        lines = [orjson.loads(line) for line in self._files[asked["input_file_id"]].splitlines() if line.strip()]
        answered = await asyncio.gather(*(self._answered(line) for line in lines))
        self._kept(b"\n".join(answered) + b"\n")
        now, name = int(time.time()), f"batch_{len(self._batches):08d}"
        self._batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "output_file_id": f"file-{len(self._files) - 1:08d}",
            "error_file_id": None,
            "errors": None,
            "completion_window": "24h",
            "status": "completed",
            "created_at": now,
            "in_progress_at": now,
            "finalizing_at": now,
            "completed_at": now,
            "expires_at": now + 86_400,
            "metadata": asked.get("metadata") or {},
            "request_counts": {"total": len(lines), "completed": len(lines), "failed": 0},
        }
        return JSONResponse(self._batches[name])

    async def _answered(self, line: dict[str, Any]) -> bytes:
        call = Call("openai", orjson.dumps(line["body"]), {"authorization": "Bearer any"})
        reply = await self._service.handle(call)
        assert reply is not None
        response = {"status_code": reply.status, "request_id": "any", "body": orjson.loads(reply.body)}
        return orjson.dumps({"id": "any", "custom_id": line["custom_id"], "error": None, "response": response})

    async def _batch(self, request: Request) -> Response:
        return JSONResponse(self._batches[request.path_params["id"]])


def _answer(messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None) -> str:
    """The answer that the documents of the schema call for."""
    if "clauses" in ((schema or {}).get("properties") or {}):
        return made_files.answer(messages)
    return documents.answer(messages, schema)


def main() -> None:
    """Serves until it is ended; says its address on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    args = parser.parse_args()
    service = Service(
        latency=args.latency,
        seed=0,
        faults=Faults.parse(""),
        token=None,
        behaviour=Behaviour(),
        answer=_answer,
        clock=time.time,
    )
    offered = application(service)
    offered.router.routes.extend(OpenAIBatches(service).routes())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(offered, http=Protocol, ws="none", lifespan="off", access_log=False, log_level="critical")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
