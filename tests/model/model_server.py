"""A small real model behind OpenAI's protocol, in a process of its own: chat_server.mjs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patience import HANGS

_PROGRAM = Path(__file__).with_name("chat_server.mjs")


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A model that answers.

    Attributes:
        url: For ``--openai-url``.
        model: The name under which it lists itself.
    """

    url: str
    model: str
    _output: Path

    def exchanges(self) -> list[dict[str, Any]]:
        """What it was asked and has answered so far: ``request`` and ``answer`` of each, as they were sent."""
        return [json.loads(line) for line in self._output.read_text().splitlines()[1:]]


@contextmanager
def running_model(packages: Path, weights: Path, directory: Path) -> Iterator[ModelServer]:
    """Starts the server, waits until the model is loaded, and ends it.

    Args:
        packages: The directory that holds node_modules with node-llama-cpp.
        weights: The model, as GGUF.
        directory: Where what the server says is written.
    """
    output, errors = directory / "exchanges.jsonl", directory / "model.err"
    with output.open("wb") as out, errors.open("wb") as err:
        words = ["node", str(_PROGRAM), str(packages), str(weights)]
        server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=out, stderr=err)
    try:
        port = _port(server, output, errors)
        yield ModelServer(f"http://127.0.0.1:{port}/v1", weights.stem, output)
    finally:
        server.kill()
        server.communicate()


def _port(server: subprocess.Popen[bytes], output: Path, errors: Path) -> int:
    deadline = time.monotonic() + HANGS
    while not (line := output.read_text()).endswith("\n"):
        assert server.poll() is None, errors.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return int(line)
