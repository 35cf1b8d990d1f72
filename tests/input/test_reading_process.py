"""Files are read in processes of their own: what ends one costs its own file, no neighbour and no worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.input import reading_process
from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.reader_messages import LENGTH, MAX_ANSWER_BYTES, Found, decode_answer, encode
from kimi_beam.input.reading_process import ReadingLimits, ReadingProcessError, read_in_child
from kimi_beam.types.failure import Code

READER = "misbehaving_reader"
LIMITS = ReadingLimits(seconds=60.0)


@pytest.fixture(autouse=True, scope="module")
def ended_processes() -> Iterator[None]:
    yield
    reading_process.end_all()


def read(order: str, limits: ReadingLimits = LIMITS, options: ReadOptions = DEFAULT_OPTIONS) -> Content:
    return read_in_child(READER, order.encode(), options, limits)


def process_of(order: str, limits: ReadingLimits = LIMITS) -> int:
    return int(read(order, limits).metadata["process"])


def trouble(order: str, limits: ReadingLimits = LIMITS) -> tuple[Code, str]:
    with pytest.raises(UnreadableError) as raised:
        read(order, limits)
    assert "\n" not in raised.value.message
    return raised.value.code, raised.value.message


def is_running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def wait_for_end(process: int) -> None:
    end = time.monotonic() + 30
    while is_running(process):
        assert time.monotonic() < end, "the process outlives the worker that started it"
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------ what ends a process


@pytest.mark.parametrize(
    ("order", "code", "said"),
    [
        ("abort", "reader_crashed", "SIGABRT"),
        ("segfault", "reader_crashed", "SIGSEGV"),
        ("exit", "reader_crashed", "exit code 0"),
        ("close", "reader_crashed", "ended the process"),
        ("eat", "reader_memory", "more memory"),
        ("memory-error", "reader_memory", "more memory"),
    ],
)
def test_a_file_that_ends_its_process_costs_no_neighbour(order: str, code: str, said: str) -> None:
    process = process_of("before")
    found, message = trouble(order)
    assert (found, said in message) == (code, True), message
    assert not is_running(process), "a process in disorder would read the next file"
    assert read("after").pages[0].text == "after"


@pytest.mark.parametrize(("large", "code"), [("", "reader_memory"), ("large", "reader_crashed")])
def test_a_library_that_aborts_for_want_of_memory_is_told_apart_if_the_worker_is_small(large: str, code: str) -> None:
    # A shell stands between, because the kernel counts the memory of whatever starts a process as its own peak.
    shell = ("sh", "-c", '"$@"; exit $?', "sh")
    words = (*shell, sys.executable, "-c", EATER, large, str(ROOT / "tests"))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [code, "reader_crashed"], "what a worker holds is taken for what its process held"


@pytest.mark.parametrize("order", ["hang", "sleep"])
def test_a_file_that_takes_too_long_ends_its_process_alone(order: str) -> None:
    limits = ReadingLimits(seconds=1.0)
    process = process_of("before", limits)
    begun = time.monotonic()
    assert trouble(order, limits)[0] == "reader_timeout"
    assert time.monotonic() - begun < 30, "it was asked once more, and the time was spent twice"
    assert not is_running(process)
    assert read("after", limits).pages[0].text == "after"


def test_a_large_file_such_as_a_scan_of_many_pages_has_more_time() -> None:
    limits = ReadingLimits(seconds=1.0, seconds_a_megabyte=60.0)
    assert trouble("nap", limits)[0] == "reader_timeout"
    assert read("nap".ljust(1 << 20), limits).pages[0].text.startswith("nap ")


def test_a_file_is_not_blamed_for_the_disorder_that_another_one_left() -> None:
    first = process_of("disorder")
    content = read("sensitive")
    assert content.pages[0].text == "sensitive"
    assert content.metadata["process"] != first
    assert not is_running(first)


def test_a_file_is_not_blamed_for_the_end_of_a_process_that_was_killed_from_outside(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    limits = ReadingLimits(seconds=58.0)  # a process that has read nothing yet
    assert read(f"kill {killed}", limits).pages[0].text.startswith("kill")
    assert killed.exists(), "no process was killed"
    assert trouble("kill", limits)[0] == "reader_crashed"


def test_a_process_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    path, kill = repr(str(started)), "import os; os.kill(os.getpid(), 9)"
    once = f"import os\nif not os.path.exists({path}):\n    open({path}, 'x')\n    {kill}\n"
    monkeypatch.setattr(reading_process, "_START", once + reading_process._START)
    assert read("one", ReadingLimits(seconds=57.0)).pages[0].text == "one"
    assert started.exists(), "no process was killed"
    monkeypatch.setattr(reading_process, "_START", kill)
    with pytest.raises(ReadingProcessError, match="it says nothing"):
        read("one", ReadingLimits(seconds=56.0))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("fail", ("reader_failed", "cannot be read (RuntimeError: a bug of the reader)")),
        ("refuse is encrypted", ("encrypted", "is encrypted")),
        ("nest", ("nested_too_deep", "is nested too deeply to be read")),
    ],
)
def test_what_a_reader_raises_is_said_and_its_process_reads_on(order: str, expected: tuple[str, str]) -> None:
    process = process_of("before")
    assert trouble(order) == expected
    assert process_of("after") == process


def test_a_process_that_holds_much_memory_is_replaced_before_the_next_file() -> None:
    limits = ReadingLimits(seconds=60.0, kept_bytes=1 << 20)  # each process holds more than that
    assert process_of("one", limits) != process_of("two", limits)


def test_a_process_that_cannot_start_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ReadingLimits(seconds=59.0)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ReadingProcessError, match="/nowhere/python"):
        read("one", limits)
    monkeypatch.undo()
    monkeypatch.setattr(reading_process, "_START", "import no_such_module")
    with pytest.raises(ReadingProcessError, match="No module named 'no_such_module'"):
        read("one", limits)
    monkeypatch.undo()
    assert read("one", limits).pages[0].text == "one"


# ------------------------------------------------------------------------------------------------ what is said


def test_what_a_library_prints_is_no_part_of_an_answer() -> None:
    process = process_of("before")
    assert read("print a lot").pages[0].text == "print a lot"
    assert process_of("after") == process


def test_a_file_and_an_answer_larger_than_a_pipe_arrive_whole() -> None:
    long = "long " * 1_000_000
    assert read(long).pages[0].text == long
    assert read("grow 20000000").pages[0].text == "x" * 20_000_000


def test_half_a_surrogate_pair_is_replaced_where_it_stands() -> None:
    content = read("halves")
    assert content.pages[0].text == "a\ufffdb\ufffd\U0001f9fe", "boxes are counted by characters"
    assert (content.metadata, content.hidden[0].text) == ({"title": "\ufffd", "n": [{"\ufffd": 1}]}, "\ufffd")


def test_a_process_gets_the_password_and_none_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ReadingLimits(seconds=58.0)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "CANARY")
    options = ReadOptions(password="KEY")
    assert read("one", limits, options).metadata["password"] == "KEY"
    content = read("environment", limits, options)
    assert "CANARY" not in content.pages[0].text
    assert "KEY" not in str(content.metadata["path"])
    assert not {"apache_beam", "pyarrow", "pydantic"} & set(content.metadata["modules"]), "it would start slowly"


RUBBISH = [
    b"short",
    LENGTH.pack(MAX_ANSWER_BYTES + 1),
    LENGTH.pack(5) + b"wrong",
    LENGTH.pack(1) + b"\xc0",
    LENGTH.pack(9) + b"cos\nsystem",
    LENGTH.pack(22) + encode(["Unreadable", "no_such_code", ""])[:22],
]


@pytest.mark.parametrize("written", RUBBISH)
def test_an_answer_that_a_hostile_file_has_written_is_not_believed(written: bytes) -> None:
    assert trouble(f"answer {written.hex()}")[0] in ("reader_crashed", "too_large")
    assert read("after").pages[0].text == "after"


@given(st.binary(max_size=200) | st.recursive(st.integers(-5, 1 << 40) | st.text() | st.binary(), st.lists).map(encode))
def test_no_bytes_become_anything_but_an_answer(frame: bytes) -> None:
    try:
        answer: Any = decode_answer(frame)
    except msgspec.MsgspecError:
        return
    assert encode(answer)


@pytest.mark.parametrize("metadata", [b"[]", b"nothing", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff"])
def test_metadata_that_are_no_object_of_json_are_refused(metadata: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        reading_process.content_of(Found((), metadata, (), (), 0))


# ------------------------------------------------------------------------------------------------ workers


def test_many_threads_share_a_few_processes_and_each_gets_its_own_answer() -> None:
    limits = ReadingLimits(seconds=57.0, processes=2)
    orders = [f"abort {n}" if n % 10 == 0 else f"file {n}" for n in range(60)]

    def outcome(order: str) -> tuple[str, int]:
        try:
            content = read(order, limits)
        except UnreadableError as e:
            return e.code, 0
        return content.pages[0].text, content.metadata["process"]

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, orders))
    assert [text for text, _ in outcomes] == [o if o.startswith("file") else "reader_crashed" for o in orders]
    assert len({process for _, process in outcomes if process}) <= 2 + 6 + 6, (
        "two at a time, and two for each that ended one"
    )


def test_a_fork_of_a_worker_reads_in_processes_of_its_own() -> None:
    limits = ReadingLimits(seconds=56.0)
    ours = process_of("before", limits)
    answers, answered = os.pipe()
    if (fork := os.fork()) == 0:
        try:
            os.write(answered, str(process_of("in the fork", limits)).encode())
        finally:
            reading_process.end_all()
            os._exit(0)
    os.close(answered)
    with os.fdopen(answers, "rb") as f:
        theirs = int(f.read())
    os.waitpid(fork, 0)
    assert theirs != ours
    assert process_of("after", limits) == ours, "the fork has ended a process of its parent"
    wait_for_end(theirs)


WORKER = """
import sys, threading, time
sys.path[:0] = sys.argv[2:]
from kimi_beam.input.reading_process import read_in_child
from kimi_beam.input.readers.content import DEFAULT_OPTIONS
process = read_in_child("misbehaving_reader", b"one", DEFAULT_OPTIONS).metadata["process"]
if sys.argv[1] == "killed":
    threading.Thread(target=read_in_child, args=("misbehaving_reader", b"hang", DEFAULT_OPTIONS), daemon=True).start()
    time.sleep(0.2)
print(process, flush=True)
if sys.argv[1] == "killed":
    time.sleep(60)
"""


EATER = """
import sys
sys.path[:0] = sys.argv[2:]
from kimi_beam.input.reading_process import read_in_child
from kimi_beam.input.readers.content import DEFAULT_OPTIONS, UnreadableError
held = bytearray(b"x") * (400 << 20) if sys.argv[1] else b""
for order in (b"eat-in-c", b"abort"):
    try:
        read_in_child("misbehaving_reader", order, DEFAULT_OPTIONS)
    except UnreadableError as e:
        print(e.code)
"""


@pytest.mark.parametrize("ending", ["killed", "of itself"])
def test_no_process_outlives_its_worker(ending: str) -> None:
    command = [sys.executable, "-c", WORKER, ending, str(ROOT / "tests")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        process = int(worker.stdout.readline())
        if ending == "killed":
            assert is_running(process)
            worker.kill()
        worker.wait()
    wait_for_end(process)
