"""Python workers beside Flink TaskManagers, as the `boot` program of Beam's containers starts them.

A process for each that asks: Beam's pool of workers (LOOPBACK, EXTERNAL) knows them by names that two TaskManagers
share, so that the one that is done first ends the worker of the other, and the job fails or hangs.

What a TaskManager starts is a proxy of a worker, as `docker run` is: the worker is a fork of a server that has Beam
imported already, for a batch job starts workers for each of its stages. It ends with its proxy, however that ends.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
import traceback
from types import FrameType
from typing import NoReturn


def serve(port: int) -> NoReturn:
    """Forks a worker for each proxy that asks."""
    from apache_beam.runners.worker import sdk_worker_main  # noqa: F401

    import kimi_beam  # noqa: F401

    signal.signal(signal.SIGCHLD, _reap)
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _work(connection)
            connection.close()


def _reap(_: int, __: FrameType | None) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _work(connection: socket.socket) -> NoReturn:
    code = 1
    try:
        with connection.makefile() as said:
            asked = json.loads(said.readline() or "null")
        if asked is not None:  # else somebody looked whether the server is there
            log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if asked["group"]:
                with open(asked["group"], "w") as group:  # noqa: PTH123 - no pathlib for what starts so often
                    group.write(str(os.getpid()))
            threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
            _run(asked["arguments"])
            connection.sendall(b"0")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end_with(proxy: socket.socket) -> None:
    """Waits for the proxy's end."""
    proxy.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _run(arguments: list[str]) -> None:
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
    from apache_beam.runners.worker import sdk_worker_main
    from google.protobuf import json_format

    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    args, _ = parser.parse_known_args(arguments)
    metadata = [("worker_id", args.id)]
    with grpc.insecure_channel(args.provision_endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        info = stub.GetProvisionInfo(request, metadata=metadata, timeout=60).info
    os.environ.update(
        WORKER_ID=args.id,
        CONTROL_API_SERVICE_DESCRIPTOR=f'url: "{info.control_endpoint.url}"',
        LOGGING_API_SERVICE_DESCRIPTOR=f'url: "{info.logging_endpoint.url}"',
        PIPELINE_OPTIONS=json.dumps(json_format.MessageToDict(info.pipeline_options)),
        RUNNER_CAPABILITIES=" ".join(info.runner_capabilities),
    )
    sdk_worker_main.main([])


def stand_for_a_worker(port: int, log: str, arguments: list[str]) -> int:
    """Has a worker started and lives as long as it does."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        asked = {"log": log, "arguments": arguments, "group": os.environ.get("CPU_GROUP", "")}
        connection.sendall(json.dumps(asked).encode() + b"\n")
        return 0 if connection.recv(1) else 1


if __name__ == "__main__":
    role, number, *rest = sys.argv[1:]
    if role == "serve":
        serve(int(number))
    sys.exit(stand_for_a_worker(int(number), rest[0], rest[1:]))
