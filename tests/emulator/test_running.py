"""The emulator is started and stopped, in a thread and as a process."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from patience import HANGS

from kimi_beam.emulator import Emulator, command

URL = r"http://127.0.0.1:%d/client/v4"
PROGRAM = [sys.executable, "-m", "kimi_beam.emulator"]
BODY = {"messages": [{"role": "user", "content": "hello"}]}
PATH = "/accounts/a/ai/run/@cf/moonshotai/kimi-k2.6"


def ask(url: str) -> httpx.Response:
    return httpx.post(url + PATH, json=BODY, headers={"Authorization": "Bearer t"}, trust_env=False, timeout=HANGS)


def test_it_stops_with_connections_open_and_requests_under_way() -> None:
    with Emulator(latency=600) as emulator:
        port = httpx.URL(emulator.base_url).port
        assert port
        idle = socket.create_connection(("127.0.0.1", port))
        failed = threading.Event()

        def wait() -> None:
            try:
                ask(emulator.base_url)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                failed.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not emulator.stats()["runs"]:
            time.sleep(0.005)
        start = time.monotonic()
    assert time.monotonic() - start < 60, "it waited for what was under way"
    waiting.join()
    assert failed.is_set()
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert emulator.stats()["runs"] == 1


def test_many_emulators_live_side_by_side() -> None:
    with Emulator() as one, Emulator() as two:
        assert one.base_url != two.base_url
        assert ask(one.base_url).status_code == ask(two.base_url).status_code == 200
        assert (one.stats()["runs"], two.stats()["runs"]) == (1, 1)
        one.reset()
        assert (one.stats()["runs"], two.stats()["runs"]) == (0, 1)


def test_a_taken_port_is_an_error_of_the_system() -> None:
    with Emulator() as one:
        port = httpx.URL(one.base_url).port
        assert port
        with pytest.raises(OSError):
            Emulator(port=port).start()


def test_it_lives_once_and_has_no_address_before() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError):
        _ = emulator.base_url
    emulator.stop()
    with emulator, pytest.raises(RuntimeError):
        emulator.start()
    emulator.stop()


def test_importing_the_command_line_does_not_load_the_web_server() -> None:
    code = "import sys, kimi_beam.emulator.command; sys.exit('uvicorn' in sys.modules or 'starlette' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_else_of_the_project_is_imported() -> None:
    code = (
        "import sys, kimi_beam; before = set(sys.modules)\n"
        "import kimi_beam.emulator.running, kimi_beam.emulator.command\n"
        "added = {n for n in set(sys.modules) - before if n.startswith('kimi_beam')}\n"
        "sys.exit(any(not n.startswith('kimi_beam.emulator') for n in added))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([*PROGRAM, *arguments], stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_prints_its_url_and_ends_quietly(number: Any) -> None:
    with program("--seed", "3", "--faults", "fenced=1", "--token", "t") as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert ask(url).json()["result"]["choices"][0]["message"]["content"].startswith("```json")
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)):
            process.send_signal(number)
            out, err = process.communicate(timeout=HANGS)
    assert process.returncode == 0
    assert out == ""
    assert "Traceback" not in err
    assert "a rule-based stand-in, not Kimi" in err
    assert "No request leaves this machine" in err
    assert url in err


def test_verbose_is_a_line_a_request_without_tokens_or_documents() -> None:
    with program("--verbose", "--faults", "drop_after_accept=1") as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        with pytest.raises(httpx.RemoteProtocolError):
            ask(url)
        for body in ({"requests": [BODY, BODY]}, {"request_id": "abc"}):
            headers = {"Authorization": "Bearer secret-token"}
            with contextlib.suppress(httpx.RemoteProtocolError):
                where = f"{url}{PATH}?queueRequest=true&token=secret-query"
                httpx.post(where, json=body, headers=headers, trust_env=False, timeout=HANGS)
        httpx.get(url + "/a%1b%5b31m%20path", trust_env=False, timeout=HANGS)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS)
    lines = err.splitlines()[3:]
    assert out == ""
    path = re.sub(r"\d+", "N", f"/client/v4{PATH}")
    assert [re.sub(r"\d+", "N", line) for line in lines] == [
        f"N:N:N POST {path}, N bytes: no reply, and the connection was cut in N ms",
        f"N:N:N POST {path} (submit), N bytes: no reply, and the connection was cut in N ms",
        f"N:N:N POST {path} (poll), N bytes: N, N bytes in N ms",
        "N:N:N GET /client/vN/a?[Nm?path, N bytes: N, N bytes in N ms",
    ]
    assert "secret" not in err
    assert "hello" not in err


def test_faults_that_are_not_understood_end_it_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with program("--faults", "bogus=1") as process:
        out, err = process.communicate(timeout=HANGS)
    assert (process.returncode, out) == (2, "")
    assert err.count("\n") == 1
    assert "never_ends" in err
    assert "bogus" in err


def test_a_taken_port_ends_it_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with Emulator() as emulator:
        port = httpx.URL(emulator.base_url).port
        assert command.run(parser.parse_args(["--port", str(port)])) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(port) in err


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--latency", "-1"], ["--seed", "x"], ["--port", "x"]])
def test_wrong_arguments(arguments: Any, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(arguments)
    assert caught.value.code == 2


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_serving_leaves_the_handlers_of_signals_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    command.serve()
    timer.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
