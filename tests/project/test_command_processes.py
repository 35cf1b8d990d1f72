from __future__ import annotations

from command_processes import _processes

_CODE = "import sys; sys.exit(not {'apache_beam', 'kimi_beam.transforms.dispatch'} <= set(sys.modules))"


def test_a_command_begins_with_beam_loaded() -> None:
    process = _processes.Process(target=exec, args=(_CODE,))
    process.start()
    process.join()
    assert process.exitcode == 0, "each command imports Beam anew, which takes longer than its run"
