"""Private functions of Beam and Python that the command line needs: each test fails if one of them changes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from kimi_beam.commands.beam_options import directory_among, take_options
from kimi_beam.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "inputs", "options"),
    [
        (["a", "b"], ["a", "b"], []),
        (["a", "--runner", "PrismRunner", "b"], ["a", "b"], ["--runner", "PrismRunner"]),
        (["--direct_num_workers=2", "a"], ["a"], ["--direct_num_workers=2"]),
        (["--project", "a", "a"], ["a"], ["--project", "a"]),
        (["--streaming", "a"], ["a"], ["--streaming"]),
        (["-"], ["-"], []),
    ],
)
def test_inputs_are_separated_from_the_values_of_options(
    words: list[str], inputs: list[str], options: list[str]
) -> None:
    assert take_options(words, "extract") == (inputs, options)


def test_every_option_that_beam_declares_is_known() -> None:
    """Declared otherwise than by `_add_argparse_args` of a subclass, it would be refused as unknown, or be an input."""
    every = PipelineOptions([]).get_all_options()
    assert {"runner", "project", "direct_num_workers", "job_endpoint", "s3_region_name"} <= every.keys()
    unknown = []
    for name in every:
        try:
            take_options([f"--{name}"], "extract")
        except ConfigError as e:  # its value is missing: then it is known
            unknown += [name] if "unknown option" in str(e) else []
    assert len(unknown) < len(every) / 10, "more than those whose value has another name than the option"


def test_an_option_that_nobody_knows_is_refused_unless_a_job_server_may_know_it() -> None:
    with pytest.raises(ConfigError, match="unknown option --modle"):
        take_options(["a", "--modle", "x"], "extract")
    assert take_options(["a", "--modle=x", "--runner=PortableRunner"], "extract")[0] == ["a"]


def test_a_command_that_takes_one_directory_takes_one() -> None:
    assert directory_among(["--project=p", "out"], "audit") == "out"
    for words in ([], ["a", "b"]):
        with pytest.raises(ConfigError, match="name one DIR"):
            directory_among(words, "audit")


BEAMS_SERVER = """
import atexit, os, sys
from apache_beam.runners.portability.job_server import JobServer, StopOnExitJobServer

class Server(JobServer):
    def start(self):
        return "localhost:1"

    def stop(self):
        print("stopped", flush=True)

StopOnExitJobServer(Server()).start()
atexit._run_exitfuncs()
os._exit(0)
"""


def test_the_job_servers_that_beam_started_are_stopped_by_the_functions_of_atexit() -> None:
    done = subprocess.run([sys.executable, "-c", BEAMS_SERVER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
