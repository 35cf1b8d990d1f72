"""The progress of a run in a terminal, in a file, and as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest
from conftest import ROOT
from running_cli import PROGRAM, SCHEMA, environment, mistake, run
from terminal_screen import Terminal, lines_of

from kimi_beam.commands import console, watching
from kimi_beam.commands.live_panel import LivePanel
from kimi_beam.commands.watching import Sparse, mode_of
from kimi_beam.emulator import Emulator
from kimi_beam.report import metrics
from kimi_beam.report.pace import Outlook
from kimi_beam.report.progress import Snapshot
from kimi_beam.report.progress_figures import dollars_of, figures
from kimi_beam.service.models import DEFAULT_MODEL

TITLE = "─ kimi-beam extract ─"


def found(**changes: Any) -> dict[str, Any]:
    counters = {metrics.DOCUMENTS: 10, metrics.EXTRACTIONS: 4}
    progress = Snapshot(**{"counters": counters, **changes})
    return figures(progress, Outlook(), elapsed=1.0, now=1.0, dollars=dollars_of(DEFAULT_MODEL, None, emulated=False))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(latency=1.5) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, emulator: Emulator) -> list[str]:
    """A run of some seconds, of which two documents fail and whose answers contradict themselves."""
    documents = [{"id": str(n), "text": f"ACME\nTOTAL {n}.00" if n > 1 else " "} for n in range(60)]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in documents))
    given = ("--schema", SCHEMA, "--output", tmp_path / "out", "--base-url", emulator.base_url)
    return [*PROGRAM, "extract", *map(str, (tmp_path / "in.jsonl", *given)), "--poll-interval", "0.1:0.3"]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_holds_one_panel_in_the_end_below_all_lines(command: list[str], columns: int) -> None:
    with Terminal(command, columns, environment=environment()) as terminal:
        terminal.wait_for(lambda shown: "60 documents" in shown and "1 batch" in shown)
        assert terminal.wait() == 0, terminal.lines
        lines = terminal.lines
    text = "\n".join(lines)
    assert text.count(TITLE) == text.count("╰─") == 1, text
    said = [number for number, line in enumerate(lines) if line.startswith("kimi-beam: ")]
    assert len(said) == 1, text
    assert said[0] < text[: text.index(TITLE)].count("\n") + 1
    assert re.search(r"│ rows +58 ", text), text
    assert re.search(r"│ dead letters +2: empty_document 2 ", text), text
    assert "│ speed" in text
    assert "all settled" in text
    assert re.search(r"^extractions +58$", text, re.M), "the summary stands below the panel"
    assert not terminal.screen.cursor.hidden


def test_ctrl_c_leaves_the_panel_and_says_below_it_what_is_in_flight(tmp_path: Path, command: list[str]) -> None:
    with Emulator(latency=300) as slow:
        url = command.index("--base-url") + 1
        command[url] = slow.base_url
        with Terminal(command, 100, environment=environment()) as terminal:
            terminal.wait_for(lambda shown: re.search(r"in flight +1 batch, 58 documents", shown) is not None)
            terminal.press_ctrl_c()
            assert terminal.wait() == 130
            text = "\n".join(terminal.lines)
    assert text.count(TITLE) == text.count("╰─") == 1, text
    below = text[text.index("╰─") :]
    assert "\nkimi-beam: interrupted: 1 batch is in flight" in below, text
    assert "thesamecommandgoesonfromhereandpaysfornothingtwice" in "".join(below.split()), "lines are wrapped anywhere"
    assert not terminal.screen.cursor.hidden
    assert terminal.screen.cursor.x == 0


def test_in_a_terminal_that_cannot_move_its_cursor_no_escape_sequence_is_written(command: list[str]) -> None:
    with Terminal(command, 80, environment=environment(), name="dumb") as terminal:
        assert terminal.wait() == 0
        text = "\n".join(terminal.lines)
    assert b"\x1b" not in terminal.written
    assert re.search(r"^extractions +58$", text, re.M), text


def test_what_is_redirected_has_no_escape_sequence(command: list[str]) -> None:
    done = subprocess.run(
        command, env=environment(TERM="xterm-256color", FORCE_COLOR="1"), capture_output=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr


def test_a_run_goes_on_when_nobody_reads_its_stderr(tmp_path: Path, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    options = ("--progress", "json")
    done = subprocess.run(
        [*command, *options], env=environment(), stdout=subprocess.PIPE, stderr=writer, check=False, cwd=ROOT
    )
    os.close(writer)
    assert done.returncode == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_bytes())["extractions"] == 58


def test_progress_as_json_has_the_names_and_numbers_of_the_summary(tmp_path: Path, command: list[str]) -> None:
    done = subprocess.run(
        [*command, "--progress", "json"], env=environment(), capture_output=True, check=False, cwd=ROOT, text=True
    )
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    summary = json.loads((tmp_path / "out" / "summary.json").read_bytes())
    assert [one["done"] for one in objects].count(True) == 1
    last = objects[-1]
    assert last["done"]
    shared = (last.keys() & summary.keys()) - {"wall_s", metrics.QUEUE_SECONDS}
    assert {*metrics.DISTRIBUTIONS, "usage", "dead_letters", "batches", "submits", "would_have_cost_usd"} - shared == {
        metrics.QUEUE_SECONDS
    }
    assert {name: last[name] for name in shared} == {name: summary[name] for name in shared}
    assert last[metrics.QUEUE_SECONDS]["sum"] == pytest.approx(summary[metrics.QUEUE_SECONDS]["sum"], abs=0.5)
    assert last["projected"]["would_have_cost_usd"] == pytest.approx(summary["would_have_cost_usd"])


def test_a_panel_is_refused_where_it_cannot_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("TOTAL 1")
    given = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", "--emulator")
    assert "stderr is no terminal" in mistake(*given, "--progress", "panel", capsys=capsys)
    assert "--verbose" in mistake(*given, "--progress", "panel", "--verbose", capsys=capsys)
    assert mode_of("auto", verbose=False) == mode_of("auto", verbose=True) == "lines"


def test_without_the_extra_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert mode_of("auto", verbose=False) == "panel"
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert mode_of("auto", verbose=False) == "lines"
    with pytest.raises(Exception, match=r"kimi-beam\[terminal\]"):
        mode_of("panel", verbose=False)


def test_none_says_nothing_of_the_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("TOTAL 1")
    given = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", "--emulator")
    code, _, err = run(*given, "--progress", "none", capsys=capsys)
    assert code == 0
    assert len(err.splitlines()) == 1, "the emulator's notice alone"


def by_request(url: str) -> tuple[str, ...]:
    return "--base-url", url, "--api", "run", "--max-concurrency", "20", "--requests-per-minute", "0"


def by_queue(url: str) -> tuple[str, ...]:
    return "--base-url", url, "--max-in-flight", "1", "--poll-interval", "0.05:0.1"


@pytest.mark.parametrize(("latency", "options"), [(0.08, by_request), (0.8, by_queue)])
def test_after_a_fifth_of_2000_documents_dollars_and_time_are_within_a_tenth_of_those_of_the_end(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    latency: float,
    options: Callable[[str], tuple[str, ...]],
) -> None:
    monkeypatch.setattr(watching, "FRAME", 0.2)
    monkeypatch.setattr(watching, "LINE", 0.2)
    texts = [f"ACME\nTOTAL {n}.00\n" + "Item 1.00\n" * (n * 7 % 23) for n in range(2_000)]
    (tmp_path / "in.jsonl").write_text(
        "".join(f"{json.dumps({'id': str(n), 'text': t})}\n" for n, t in enumerate(texts))
    )
    given = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--output", tmp_path / "out", "--progress", "json")
    with Emulator(latency=latency) as running:
        code, _, err = run(*given, "--no-journal", *options(running.base_url), capsys=capsys)
    assert code == 0, err
    shown = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    summary = json.loads((tmp_path / "out" / "summary.json").read_bytes())
    early = [one for one in shown if 400 <= one["extractions"] <= 1_000]
    assert len(early) >= 3, "the run was too fast to be looked at"
    # The middle one, as another program of this machine may disturb any single moment.
    ends = sorted(one["wall_s"] + one["seconds_left"] for one in early)
    assert ends[len(ends) // 2] == pytest.approx(summary["wall_s"], rel=0.1)
    cost = summary["would_have_cost_usd"]
    assert all(one["projected"]["would_have_cost_usd"] == pytest.approx(cost, rel=0.1) for one in early)


# ------------------------------------------------------------------------------------------------ by a clock


def test_a_line_comes_every_minute_also_if_nothing_changes() -> None:
    now, shown = 0.0, list[float]()
    show = Sparse(lambda _found, _is_last: shown.append(now), lambda: now)
    for second in range(1, 601):
        now = float(second)
        show(found(counters={}), False)
    gaps = [later - earlier for earlier, later in zip([0.0, *shown], [*shown, 600.0], strict=True)]
    assert max(gaps) <= 60
    assert len(shown) == 10


def test_a_line_comes_soon_after_a_change_and_not_more_often() -> None:
    now, shown = 0.0, list[float]()
    show = Sparse(lambda _found, _is_last: shown.append(now), lambda: now)
    for second in range(1, 31):
        now = float(second)
        show(found(counters={metrics.DOCUMENTS: 10, metrics.EXTRACTIONS: second}), False)
    assert shown == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]


# ------------------------------------------------------------------------------------------------ on a screen


class Screen:
    """A panel on a screen whose size changes."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=1_000)
        self._stream = pyte.Stream(self.screen)
        self.panel = LivePanel("kimi-beam extract", self.size, self.write)

    def size(self) -> os.terminal_size:
        return os.terminal_size((self.screen.columns, self.screen.lines))

    def write(self, text: str) -> None:
        self._stream.feed(text.replace("\n", "\r\n"))

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display if line.strip())


@pytest.mark.parametrize("columns", [13, 20, 40, 80, 120, 300])
def test_lines_and_frames_in_any_order_leave_one_panel_below_each_line_once(columns: int) -> None:
    on = Screen(columns, rows=200)
    for number in range(40):
        if number % 3:
            on.panel.write_above(f"line {number}.")
        on.panel.show(found(dead_letters={"truncated": number}, trouble="x" * (number * 3 % 100)))
    on.panel.close()
    on.write("end")
    text = "\n".join(lines_of(on.screen))
    assert text.count("╭─") == text.count("╰─") == 1, text
    assert [text.count(f"line {number}.") for number in range(40)] == [number % 3 > 0 for number in range(40)]
    assert text.index("line 38.") < text.index("╭─") < text.index("end")


@pytest.mark.parametrize("narrow", [30, 60, 78])
def test_a_terminal_that_becomes_narrower_holds_one_panel_and_the_last_lines(narrow: int) -> None:
    on = Screen(120, rows=40)
    on.panel.write_above("the first line.")
    on.panel.show(found())
    on.screen.resize(columns=narrow)
    on.panel.show(found())
    on.panel.write_above("the second line.")
    on.screen.resize(columns=120)
    on.panel.show(found())
    assert on.text.count("╭─") == on.text.count("╰─") == 1, on.text
    assert on.text.count("the first line.") == on.text.count("the second line.") == 1


@pytest.mark.parametrize("rows", [3, 8, 13])
def test_a_terminal_that_is_lower_than_the_panel_shows_its_upper_part_once(rows: int) -> None:
    on = Screen(80, rows)
    for _ in range(5):
        on.panel.show(found())
        on.panel.write_above("a line")
    assert "\n".join(lines_of(on.screen)).count("╭─") == 1


def test_what_the_service_says_cannot_control_the_terminal_through_the_panel() -> None:
    written: list[str] = []
    panel = LivePanel("t", lambda: os.terminal_size((80, 24)), written.append)
    panel.show(found(trouble="\x1b[2J[bold]x[/bold]\x07"))
    text = "".join(written)
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert r"\x1b[2J[bold]x[/bold]\x07" in text


def test_a_display_that_is_closed_draws_no_more() -> None:
    written: list[str] = []
    panel = LivePanel("t", lambda: os.terminal_size((80, 24)), written.append)
    console.set_display(panel)
    console.redraw(lambda: panel.show(found()))
    console.close_display()
    before = len(written)
    console.redraw(lambda: panel.show(found()))
    assert len(written) == before > 0


def test_no_color_leaves_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    on = Screen(80)
    on.panel.show(found())
    colours = {cell.fg for line in on.screen.buffer.values() for cell in line.values()}
    assert colours <= {"default"}
