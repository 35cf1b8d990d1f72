"""The process that reads files: takes one question after the other from its input, and answers each.

It is started by `kimi_beam.input.reading_process`, which replaces it when it ends. It imports neither Beam nor anything
else that takes long, and a reader only when the first file of its kind comes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

from kimi_beam.input.readers.content import Content, UnreadableError
from kimi_beam.input.readers.reader_messages import (
    LENGTH,
    READY,
    Found,
    Question,
    Unreadable,
    decode_question,
    encode,
    without_surrogates,
)

_LONGEST_MESSAGE = 300
_NO_MEMORY = encode(
    Unreadable(
        "reader_memory", "takes more memory than the process that reads files may have: make it smaller, or split it"
    )
)


def serve(memory_bytes: int) -> None:
    """Answers questions until the input ends, or no memory is left.

    Args:
        memory_bytes: The most memory that this process may take for data. Memory beyond it is refused to it.
    """
    questions, answers = _protocol_files()
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_DATA", memory_bytes)
    threading.Thread(target=_end_with_the_worker, args=(questions.fileno(),), daemon=True).start()
    answers.write(READY)
    answers.flush()
    while (length := questions.read(LENGTH.size)) and len(length) == LENGTH.size:
        try:
            answer = _answer(decode_question(questions.read(*LENGTH.unpack(length))))
        except MemoryError:
            answer = _NO_MEMORY
        answers.write(LENGTH.pack(len(answer)))
        answers.write(answer)
        answers.flush()
        if answer is _NO_MEMORY:
            return


def _protocol_files() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the worker, moved away from where a library would read or print.

    What is printed goes to the standard error, which the worker reads only when this process has died. It never waits
    for the worker to do so: what is too much for the pipe is lost.
    """
    questions, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    os.set_blocking(2, False)
    # Python's own would raise an error where the pipe is full.
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    return os.fdopen(questions, "rb"), os.fdopen(answers, "wb")


def _end_with_the_worker(questions: int) -> None:
    """Ends this process when the worker has closed its end of the pipe, even amid a file.

    Linux could kill it with its parent (``PR_SET_PDEATHSIG``), but does so when the thread ends that started it, and
    Beam's threads come and go.
    """
    poll = select.poll()
    poll.register(questions, 0)  # that the other end is closed is told whatever is asked for
    poll.poll()
    os._exit(0)


# ------------------------------------------------------------------------------------------------ one file


def _answer(question: Question) -> bytes:
    """The answer to one question. Whatever a reader raises is a reason why its file cannot be read.

    Raises:
        MemoryError: No memory is left.
    """
    _limit_cpu(question.seconds)
    try:
        content: Content = importlib.import_module(question.reader).read(question.content, question.options)
        try:
            return encode(Found.of(content, _resident_bytes()))
        except UnicodeEncodeError:
            return encode(Found.of(without_surrogates(content), _resident_bytes()))
    except MemoryError:
        raise
    except UnreadableError as e:
        return encode(Unreadable(e.code, _one_line(e.message)))
    except RecursionError:
        return encode(Unreadable("nested_too_deep", "is nested too deeply to be read"))
    except Exception as e:  # a bug of a reader, or of its library
        return encode(Unreadable("reader_failed", _one_line(f"cannot be read ({type(e).__name__}: {e})")))


def _one_line(message: str) -> str:
    return " ".join(message.encode(errors="replace").decode().split())[:_LONGEST_MESSAGE]


def _resident_bytes() -> int:
    """The memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


# ------------------------------------------------------------------------------------------------ limits


def _limit(name: str, most: int) -> None:
    """Sets a limit of this process. macOS lacks some, and does not take others."""
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _limit_cpu(seconds: float) -> None:
    """Has the kernel end this process after more CPU time, even where it runs no Python code any more."""
    _limit("RLIMIT_CPU", int(time.process_time() + seconds) + 2)
