"""A Flink cluster on this machine: JobManager, TaskManagers, each with Python workers, and Beam's job server.

Each is a process of its own, as in a real cluster, on ports that were free, and ends by its process group: also on
Ctrl-C and on a kind kill (`make test-flink` turns it into an exit), and with its parent where `setpriv` is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_PATIENCE = 120.0
"""Seconds until a process must have come up: a cold machine reads 400 MB of jars first."""

# What Flink's own start scripts compute and set; the Python package of its jars comes without them.
_CONFIG = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 1g
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
rest.bind-port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 1
taskmanager.cpu.cores: 1
taskmanager.memory.framework.heap.size: 128mb
taskmanager.memory.framework.off-heap.size: 128mb
taskmanager.memory.task.heap.size: 512mb
taskmanager.memory.task.off-heap.size: 64mb
taskmanager.memory.network.min: 256mb
taskmanager.memory.network.max: 256mb
taskmanager.memory.managed.size: 128mb
taskmanager.memory.jvm-metaspace.size: 256mb
taskmanager.memory.jvm-overhead.min: 192mb
taskmanager.memory.jvm-overhead.max: 192mb
parallelism.default: {task_managers}
execution.checkpointing.dir: file://{directory}/checkpoints
state.checkpoints.dir: file://{directory}/checkpoints
io.tmp.dirs: {directory}/tmp
heartbeat.interval: 2000
heartbeat.timeout: 20000
classloader.resolve-order: parent-first
classloader.check-leaked-classloader: false
"""
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""
_OPENED = (
    *("java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "sun.nio.ch", "java.text", "java.time"),
    *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"),
)
_JAVA = (
    "java",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
)


class FlinkCluster:
    """A cluster that runs jobs one after another.

    Args:
        jars: The directory that holds Flink's own jars.
        job_server: Beam's job server, as one jar.
        directory: For configuration, logs and checkpoints.
        python_path: Where the workers find the modules of the tests.
        task_managers: How many there are, each with one slot.
        java: Further options of the virtual machines.
        groups: By the name of a TaskManager: the file by which it and its Python workers join a group of processes.
    """

    def __init__(
        self,
        jars: Path,
        job_server: Path,
        directory: Path,
        python_path: Sequence[Path],
        task_managers: int = 2,
        java: Sequence[str] = (),
        groups: Mapping[str, Path] | None = None,
    ) -> None:
        self._jars, self._job_server, self._directory = jars, job_server, directory
        self._task_managers, self._java = task_managers, java
        self._python_path, self._groups = python_path, groups or {}
        self._rest, self._rpc, self._workers, *self._ports = free_ports(6)
        self._processes: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []

    def __enter__(self) -> FlinkCluster:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def options(self) -> list[str]:
        """Beam's options to run a job here, over all TaskManagers and with Python workers of their own."""
        worker = json.dumps({"command": str(self._directory / "worker")})
        return [
            *(
                "--runner=PortableRunner",
                f"--job_endpoint=127.0.0.1:{self._ports[0]}",
                f"--parallelism={self._task_managers}",
            ),
            *("--environment_type=PROCESS", f"--environment_config={worker}"),
            "--environment_cache_millis=5000",  # else each stage starts workers of its own
        ]

    @property
    def sessions(self) -> set[int]:
        """The sessions of the operating system that its processes are in, the workers among them."""
        return {process.pid for _, process, _ in self._processes}

    def busy_task_managers(self) -> set[str]:
        """The TaskManagers that have worked for the last job."""
        newest = max(self._ask("/jobs/overview")["jobs"], key=lambda job: job["start-time"])
        vertices = self._ask(f"/jobs/{newest['jid']}")["vertices"]
        return {
            worker["taskmanager-id"]
            for vertex in vertices
            for worker in self._ask(f"/jobs/{newest['jid']}/vertices/{vertex['id']}/taskmanagers")["taskmanagers"]
        }

    def replace_task_manager(self, number: int) -> None:
        """Kills one with its Python workers, as a machine that is gone, and starts another."""
        name = f"task-manager-{number}"
        index = next(i for i, (known, _, _) in enumerate(self._processes) if known == name)
        _, process, log = self._processes.pop(index)
        _signal_group(process, signal.SIGKILL)
        process.wait()
        log.close()
        self._task_manager(name)

    def stop_with_savepoint(self) -> str:
        """Stops the job that runs, as one does before an upgrade; gives the path of its savepoint."""
        (job,) = self._running()
        asked = self._ask(f"/jobs/{job}/stop", {"targetDirectory": f"file://{self._directory}/savepoints"})
        found: dict[str, object] = {}

        def made() -> bool:
            told = self._ask(f"/jobs/{job}/savepoints/{asked['request-id']}")
            found.update(told.get("operation") or {})
            return told["status"]["id"] == "COMPLETED" and not self._running()

        self._wait("the savepoint", made)
        assert "location" in found, found
        return str(found["location"])

    def checkpoints(self) -> int:
        """How many the job that runs has completed."""
        (job,) = self._running()
        return int(self._ask(f"/jobs/{job}/checkpoints")["counts"]["completed"])

    def cancel(self) -> None:
        """Ends the job that runs, if one does."""
        for job in self._running():
            self._ask(f"/jobs/{job}", method="PATCH")
        self._wait("the end of the job", lambda: not self._running())

    def _running(self) -> list[str]:
        over = ("FINISHED", "CANCELED", "FAILED")
        return [job["jid"] for job in self._ask("/jobs/overview")["jobs"] if job["state"] not in over]

    def logs(self) -> str:
        """The ends of all logs."""
        ends = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-3_000:]}" for path in self._directory.glob("*.log")
        ]
        return "\n".join(ends)

    def stop(self) -> None:
        """Ends every process, kindly at first."""
        for _, process, _ in reversed(self._processes):
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + 60
        for _, process, log in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            # The group, not the process: a killed TaskManager leaves its workers behind.
            _signal_group(process, signal.SIGKILL)
            process.wait()
            log.close()
        self._processes.clear()

    def _start(self) -> None:
        (self._directory / "tmp").mkdir(parents=True)
        (self._directory / "config.yaml").write_text(
            _CONFIG.format(rpc=self._rpc, rest=self._rest, directory=self._directory, task_managers=self._task_managers)
        )
        (self._directory / "log4j.properties").write_text(_LOGGING)
        worker = self._directory / "worker"
        program = Path(__file__).with_name("worker_process.py")
        # Without what a site adds: it is started as often as a worker is, and needs nothing.
        words = f'exec "{sys.executable}" -S -E "{program}" ask {self._workers} "$0-$$.log" "$@"'
        worker.write_text(f"#!/bin/sh\n{words}\n")
        worker.chmod(0o755)
        self._run("workers", [sys.executable, program, "serve", self._workers])
        job, artifacts, expansion = self._ports
        self._flink("job-manager", "700m", "runtime.entrypoint.StandaloneSessionClusterEntrypoint")
        for number in range(self._task_managers):
            self._task_manager(f"task-manager-{number}")
        self._wait("Flink", lambda: self._ask("/overview")["taskmanagers"] == self._task_managers)
        self._run(
            "job-server",
            [
                *("java", *self._java, "-Xmx512m", "-jar", self._job_server),
                *("--flink-master", f"http://127.0.0.1:{self._rest}"),
                *("--job-host", "127.0.0.1", "--job-port", job, "--artifact-port", artifacts),
                *("--expansion-port", expansion, "--artifacts-dir", self._directory / "artifacts"),
            ],
        )
        self._wait("the job server", lambda: _answers(job))
        self._wait("the server of workers", lambda: _answers(self._workers))

    def _task_manager(self, name: str) -> None:
        self._flink(name, "640m", "runtime.taskexecutor.TaskManagerRunner")

    def _flink(self, name: str, heap: str, entry: str) -> None:
        self._run(
            name,
            [
                *(*_JAVA, *self._java, f"-Xmx{heap}"),
                f"-Dlog4j.configurationFile={self._directory / 'log4j.properties'}",
                *("-XX:MaxDirectMemorySize=512m", "-cp", f"{self._jars}/*", f"org.apache.flink.{entry}"),
                *("--configDir", self._directory),
            ],
        )

    def _run(self, name: str, command: Sequence[object]) -> None:
        guard = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        path = os.pathsep.join(map(str, self._python_path))
        env = {**os.environ, "PYTHONPATH": path}
        if group := self._groups.get(name):
            env["CPU_GROUP"] = str(group)
            guard = ("sh", "-c", 'echo $$ > "$CPU_GROUP" && exec "$0" "$@"', *guard)
        log = (self._directory / f"{name}.log").open("wb")
        process = subprocess.Popen(
            [str(word) for word in (*guard, *command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # Ctrl-C is for the tests: they end what they have started
        )
        self._processes.append((name, process, log))

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError):
                if ready():
                    return
            dead = [f"{name} ended with {p.returncode}" for name, p, _ in self._processes if p.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come up: {', '.join(dead) or 'in time'}\n{self.logs()}")
            time.sleep(0.2)

    def _ask(self, path: str, said: object = None, method: str | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._rest}{path}",
            None if said is None else json.dumps(said).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.load(reply)  # type: ignore[no-any-return]


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held until the last is found, so that no two are the same."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
