"""The command line of the emulator: ``python -m kimi_beam.emulator`` and ``kimi-beam emulate``.

Importing this module is cheap: the web server is loaded when the command runs.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from kimi_beam.emulator import NotInstalledError
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import FAULTS, Faults, FaultsError

_BANNER = """\
kimi-beam emulator: a rule-based stand-in, not Kimi. No request leaves this machine.
To use it: kimi-beam extract … --base-url {url} with any account id and {token}.
As an OpenAI-compatible server: {root}/v1. Counters: {root}/stats. Stop with Ctrl-C.{verbose}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the emulator's arguments on a parser."""
    parser.add_argument("--port", type=_port, default=0, help="TCP port on 127.0.0.1 (default: 0, a free one)")
    parser.add_argument("--latency", type=_seconds, default=0.0, help="seconds until a job is done (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="decides faults and the order of items (default: 0)")
    parser.add_argument(
        "--faults",
        default="",
        metavar="NAME=PROBABILITY[:ARG],…",
        help=f"what to do wrong how often; NAME is one of all, wrong_leaf, {', '.join(FAULTS)}",
    )
    parser.add_argument("--token", default=None, help="the only API token to accept (default: any)")
    events = "id of a Cloudflare Queue that is told of jobs; a pull consumer gets it (default: none)"
    parser.add_argument("--events-queue", metavar="QUEUE_ID", help=events)
    each = "a line on stderr for each request: path, bytes, status, milliseconds; never tokens or documents"
    parser.add_argument("--json", action="store_true", help="print the base URL in a JSON object")
    parser.add_argument("--verbose", action="store_true", help=each)


def run(args: argparse.Namespace, heard: Callable[[str], None] | None = None) -> int:
    """Serve until interrupted; return the exit code.

    Args:
        args: The command's arguments.
        heard: Is told why it cannot serve, beside what stands on standard error.

    Returns:
        0 after an interrupt; 1 if the port is taken; 2 if the faults are not understood or no web server is installed.
    """
    try:
        faults = Faults.parse(args.faults)
    except FaultsError as error:
        return _refuse(str(error), 2, heard)
    try:
        serve(
            port=args.port,
            latency=args.latency,
            seed=args.seed,
            faults=faults,
            token=args.token,
            events_queue=args.events_queue,
            verbose=args.verbose,
            as_json=args.json,
        )
    except NotInstalledError as error:
        return _refuse(f"kimi-beam emulator: {error}", 2, heard)
    except OSError as error:
        message = f"kimi-beam emulator: cannot listen on port {args.port}: {error.strerror}"
        return _refuse(message, 1, heard)
    return 0


def _refuse(message: str, code: int, heard: Callable[[str], None] | None) -> int:
    _say(message)
    if heard is not None:
        heard(message)
    return code


def serve(
    *,
    port: int = 0,
    latency: float = 0.0,
    seed: int = 0,
    faults: str | Faults = "",
    token: str | None = None,
    events_queue: str | None = None,
    verbose: bool = False,
    as_json: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM. Call it in the main thread: only there does Python handle signals.

    The only line on standard output is the base URL, so that a parent process can read it; it is printed when requests
    are answered. Messages for a person go to standard error.

    Args:
        port: TCP port on 127.0.0.1; 0 picks a free one.
        latency: Seconds until a job is done.
        seed: Decides faults and the order of items.
        faults: A specification for `Faults.parse`, or `Faults`.
        token: The only API token accepted; None accepts any.
        events_queue: Id of a Cloudflare Queue that gets the events of jobs; None: there are no events.
        verbose: Whether a line is written to standard error for each request.
        as_json: Whether the base URL is printed in a JSON object.

    Raises:
        OSError: The port is taken.
        FaultsError: The faults are not understood.
        NotInstalledError: The web server is not installed.
    """
    from kimi_beam.emulator import Emulator  # through the package, whose error names the extra that is missing

    interrupted = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.set()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        behaviour = Behaviour(event_queues=(events_queue,) if events_queue is not None else ())
        log = _say if verbose else None
        with Emulator(port, latency, seed, faults, token, behaviour, log=log) as emulator:
            url = emulator.base_url
            needs = "any token" if token is None else "the token you gave"
            more = "" if verbose else " A line for each request: --verbose."
            root = url.removesuffix("/client/v4")
            sys.stderr.write(_BANNER.format(url=url, root=root, token=needs, verbose=more))
            sys.stderr.flush()
            sys.stdout.write((json.dumps({"version": 1, "base_url": url}) if as_json else url) + "\n")
            sys.stdout.flush()
            while not interrupted.wait(1.0):  # an unlimited wait cannot be interrupted on every platform
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 2**16):
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("a latency is a number of seconds, at least 0")
    return seconds
