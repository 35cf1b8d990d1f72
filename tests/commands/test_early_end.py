"""A run ends when it is told to, and when its runner waits for a worker process that is dead."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from patience import HANGS

RUN = """
import io, os, signal, sys, threading
from kimi_beam.commands import early_end

class Run:
    is_local = is_in_process = True
    def clear(self): os.write(1, b"cleared ")
    def release(self): os.write(1, b"released")

class Stderr(io.RawIOBase):
    def writable(self):
        return True
    def write(self, content):
        signal.raise_signal(signal.SIGTERM)  # comes while this line is written
        return os.write(2, content)

early_end._NOTICED_WITHIN = 0.05
run = Run()
with early_end.interruptible(run, "out", journal=False), early_end.ending_without_workers(run):
    {work}
os.write(1, b"went on")
"""


def end_of(work: str) -> tuple[int, str, str]:
    words = [sys.executable, "-c", RUN.replace("{work}", work)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=HANGS, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_amid_the_words_about_the_first_is_no_failure_of_the_job(number: int) -> None:
    stderr = "sys.stderr = io.TextIOWrapper(io.BufferedWriter(Stderr()), line_buffering=True)"
    code, out, err = end_of(f"{stderr}; signal.raise_signal({number})")
    assert (code, out) == (128 + number, "cleared released"), err
    assert "interrupted: " in err


def test_a_signal_amid_another_line_ends_the_run_all_the_same() -> None:
    stderr = "sys.stderr = io.TextIOWrapper(io.BufferedWriter(Stderr()), line_buffering=True)"
    code, out, err = end_of(f"{stderr}; print('progress', file=sys.stderr)")
    assert (code, out) == (128 + signal.SIGTERM, "cleared released"), err


BEAMS_THREAD = "threading.Thread(name='run_worker', target=lambda: {}['exited with return code 137']).start()"


def test_a_worker_process_that_dies_unnoticed_fails_the_job_and_does_not_hang_it() -> None:
    code, out, err = end_of(f"{BEAMS_THREAD}; threading.Event().wait()")
    assert (code, out) == (1, "cleared released"), err
    assert "kimi-beam: the job failed: a worker process has died: " in err
    assert "return code 137" in err


def test_a_worker_process_whose_end_the_runner_notices_is_its_own_affair() -> None:
    code, out, err = end_of(f"early_end._NOTICED_WITHIN = 60.0; {BEAMS_THREAD}")
    assert (code, out) == (0, "went on"), err
