"""`WriteDataset`: a directory holds a complete run or none; the summary adds up and is written last."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream

import kimi_beam as kb
from kimi_beam.errors import ConfigError, ConservationError, KimiBeamError, OutputError
from kimi_beam.output import dataset, dead_letters, parquet, staging
from kimi_beam.output.staging import Target
from kimi_beam.report.summary import MEASURED_BY_THE_LAUNCHER, Summary
from kimi_beam.results import dead_letter_lines
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction, Provenance
from kimi_beam.types.failure import Failure

SCHEMA = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
MODEL = "@cf/moonshotai/kimi-k2.6"
NAMES = ["dead-letters-00000-of-00001.jsonl", "extractions-00000-of-00001.parquet", "summary.json"]


def extraction(i: int) -> Extraction:
    provenance = Provenance("in/a.txt", MODEL, None, "job", 1, Usage(1_000_000, 200_000, 30_000 + i), SCHEMA.hash, None)
    return Extraction(f"doc-{i}", {"n": i}, {}, provenance)


def letter(i: int) -> DeadLetter:
    code: Any = ["truncated", "refusal", "truncated", "not_json"][i % 4]
    usage = Usage() if i % 4 == 1 else Usage(500_000, 0, 1_000)
    return DeadLetter(
        Document(f"dead-{i}", "x"), Failure("infer", code, "no"), 1, "job", usage, MODEL, SCHEMA.hash, 0.0
    )


def _save(summary: Summary, directory: str) -> None:
    (Path(directory) / uuid.uuid4().hex).write_bytes(pickle.dumps(summary))


def write(
    directory: Path | str,
    rows: Sequence[int] = range(3),
    letters: Sequence[int] = range(2),
    *,
    overwrite: bool = False,
    options: Sequence[str] = (),
    seen: Path | None = None,
    row: Callable[[int], Extraction] = extraction,
    dead: Callable[[int], DeadLetter] = letter,
    came_in: int | None = None,
) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(list(options))) as pipeline:
        extractions = pipeline | "Rows" >> beam.Create(list(rows), reshuffle=False) | "Row" >> beam.Map(row)
        failed = pipeline | "Letters" >> beam.Create(list(letters), reshuffle=False) | "Letter" >> beam.Map(dead)
        documents = None
        if came_in is not None:
            documents = pipeline | "Documents" >> beam.Create(list(range(came_in)), reshuffle=False)
        summary = (extractions, failed) | kb.WriteDataset(
            str(directory), SCHEMA, model=MODEL, overwrite=overwrite, documents=documents
        )
        if seen is not None:
            seen.mkdir()
            summary | beam.Map(_save, str(seen))


def names(directory: Path) -> list[str]:
    """What a reader sees: all but hidden names."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def staged(directory: Path) -> list[str]:
    """Files that wait for a name."""
    return sorted(str(path) for path in directory.glob(".staging-*/**/*"))


def numbers(directory: Path) -> list[int]:
    found = [n for path in directory.glob("extractions-*.parquet") for n in pq.read_table(path).column("n").to_pylist()]
    return sorted(found)  # type: ignore[arg-type]


def dead_ids(directory: Path) -> list[str]:
    lines = [line for path in directory.glob("dead-letters-*.jsonl") for line in path.read_text().splitlines()]
    return sorted(json.loads(line)["document_id"] for line in lines)


def summary_of(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return content


# ------------------------------------------------------------------------------------------------ what is written


def test_a_run_is_rows_dead_letters_and_a_summary_that_adds_up(tmp_path: Path) -> None:
    out, seen = tmp_path / "out", tmp_path / "seen"
    write(out, range(5), range(7), seen=seen)
    assert sorted(path.name for path in out.iterdir()) == NAMES  # and nothing hidden beside them
    assert numbers(out) == [0, 1, 2, 3, 4]
    assert dead_ids(out) == [f"dead-{i}" for i in range(7)]
    prompt, cached = 5 * 1_000_000 + 5 * 500_000, 5 * 200_000
    completion = 5 * 30_000 + sum(range(5)) + 5 * 1_000
    summary = summary_of(out)
    assert len(summary.pop("run")) == 32
    assert summary == {
        "documents": 12,
        "extractions": 5,
        "dead_letters": {"not_json": 1, "refusal": 2, "truncated": 4},
        "usage": {"prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": completion},
        "cost_usd": round(((prompt - cached) * 0.95 + cached * 0.16 + completion * 4.0) / 1e6, 6),
        "cache_saved_usd": round(cached * (0.95 - 0.16) / 1e6, 6),
        "emulated": False,
        "would_have_cost_usd": None,
        "model": MODEL,
        "model_answered": {"not stated": 5},
        "schema_hash": SCHEMA.hash,
        **dict.fromkeys(MEASURED_BY_THE_LAUNCHER),
    }
    (one,) = [pickle.loads(path.read_bytes()) for path in seen.iterdir()]
    codes = {"not_json": 1, "refusal": 2, "truncated": 4}
    assert one == Summary(5, codes, Usage(prompt, cached, completion), answered_by={"": 5})


@pytest.mark.parametrize(("rows", "letters"), [(0, 0), (3, 0), (0, 3)])
def test_an_output_without_any_document_has_its_empty_file(tmp_path: Path, rows: int, letters: int) -> None:
    write(tmp_path, range(rows), range(letters))
    assert names(tmp_path) == NAMES
    assert numbers(tmp_path) == list(range(rows))
    assert dead_ids(tmp_path) == [f"dead-{i}" for i in range(letters)]
    assert pq.read_schema(tmp_path / NAMES[1]).field("n").type == "int64"
    summary = summary_of(tmp_path)
    assert (summary["documents"], summary["extractions"]) == (rows + letters, rows)
    assert sum(summary["dead_letters"].values()) == letters
    if not rows + letters:
        assert summary["usage"] == {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
        assert summary["cost_usd"] == 0


def test_the_summary_is_of_what_the_files_hold(tmp_path: Path) -> None:
    write(tmp_path, range(11_000), [], options=["--direct_num_workers=2"])
    assert len(list(tmp_path.glob("extractions-*.parquet"))) in (1, 2)
    assert numbers(tmp_path) == list(range(11_000))
    assert summary_of(tmp_path)["extractions"] == 11_000
    assert summary_of(tmp_path)["usage"]["completion_tokens"] == 11_000 * 30_000 + sum(range(11_000))


def test_the_cost_of_an_unknown_model_is_unknown(tmp_path: Path) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        both = [pipeline | name >> beam.Create([], reshuffle=False) for name in ("Rows", "Letters")]
        tuple(both) | kb.WriteDataset(str(tmp_path), SCHEMA, model="another")
    summary = summary_of(tmp_path)
    assert (summary["cost_usd"], summary["cache_saved_usd"], summary["model"]) == (None, None, "another")


@pytest.mark.parametrize("name", ["a/b/c", "my out é", "ends with a slash/", "./dotted/../out"])
def test_a_directory_of_any_name_is_created(tmp_path: Path, name: str) -> None:
    (tmp_path / "dotted").mkdir()
    for run in range(2):
        write(f"{tmp_path}/{name}", [run], overwrite=bool(run))
        assert names(tmp_path / name) == NAMES
        assert numbers(tmp_path / name) == [run]
    assert dataset.files_of(f"{tmp_path}/{name}", "extractions") == [str(Path(f"{tmp_path}/{name}") / NAMES[1])]


def test_a_relative_directory_and_the_working_directory_are_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("below", "."):
        write(name, [1])
        assert names(tmp_path / name) == sorted([*NAMES, *(["below"] if name == "." else [])])
        assert [Path(path).name for path in dataset.files_of(name, "summary")] == ["summary.json"]


def test_a_symlinked_directory_is_one_dataset_under_both_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", [1])
    with pytest.raises(OutputError):
        write(tmp_path / "real", [2])
    write(tmp_path / "real", [2], overwrite=True)
    assert names(tmp_path / "link") == NAMES
    assert numbers(tmp_path / "link") == [2]


# ------------------------------------------------------------------------------------------------ all or nothing


def _look(what: str, i: int, directory: str, to: str) -> None:
    with (Path(to) / f"{what}-{i}").open("w") as f:
        f.write("\n".join(names(Path(directory))))


def test_nothing_appears_before_everything_is_written(tmp_path: Path) -> None:
    out, notes = str(tmp_path / "out"), str(tmp_path)

    def row(i: int) -> Extraction:
        _look("row", i, out, notes)
        return extraction(i)

    def dead(i: int) -> DeadLetter:
        _look("letter", i, out, notes)
        return letter(i)

    write(out, range(20), range(20), row=row, dead=dead)
    assert names(Path(out)) == NAMES
    looks = [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    assert looks == [""] * 40


@pytest.mark.parametrize("failing", ["row", "dead"])
def test_a_run_that_dies_in_the_middle_leaves_nothing_of_a_dataset(tmp_path: Path, failing: str) -> None:
    def die(i: int) -> Any:
        if i == 17:
            raise RuntimeError("the machine is on fire")
        return extraction(i) if failing == "row" else letter(i)

    with pytest.raises(RuntimeError, match="the machine is on fire"):
        write(tmp_path / "out", range(20), range(20), **{failing: die})  # type: ignore[arg-type]
    assert names(tmp_path / "out") == []
    write(tmp_path / "out", range(20), range(20))  # no overwrite is asked for: there is no finished run
    assert (numbers(tmp_path / "out"), len(dead_ids(tmp_path / "out"))) == (list(range(20)), 20)


def test_an_overwriting_run_that_dies_leaves_the_finished_one(tmp_path: Path) -> None:
    write(tmp_path, range(3), range(2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def die(_: int) -> DeadLetter:
        raise RuntimeError("the machine is on fire")

    with pytest.raises(RuntimeError, match="the machine is on fire"):
        write(tmp_path, range(30), range(20), overwrite=True, dead=die)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("rows", "letters"), [(0, 0), (3, 2)])
def test_as_many_documents_left_as_came_in(tmp_path: Path, rows: int, letters: int) -> None:
    write(tmp_path, range(rows), range(letters), came_in=rows + letters)
    assert names(tmp_path) == NAMES
    assert summary_of(tmp_path)["documents"] == rows + letters


@pytest.mark.parametrize(("rows", "letters", "came_in"), [(3, 2, 6), (0, 0, 1), (1, 0, 0)])
def test_lost_or_doubled_documents_leave_no_dataset(tmp_path: Path, rows: int, letters: int, came_in: int) -> None:
    told = f"{came_in} documents came in and {rows + letters} left"
    with pytest.raises((ConservationError, RuntimeError), match=told):
        write(tmp_path, range(rows), range(letters), came_in=came_in)
    assert names(tmp_path) == []


def test_lost_documents_leave_the_finished_run_that_was_to_be_replaced(tmp_path: Path) -> None:
    write(tmp_path, [7], [])
    with pytest.raises((ConservationError, RuntimeError), match="4 documents came in and 5 left"):
        write(tmp_path, range(3), range(2), came_in=4, overwrite=True)
    assert (names(tmp_path), numbers(tmp_path)) == (NAMES, [7])
    assert summary_of(tmp_path)["documents"] == 1


def _stage(
    directory: Path,
    rows: Sequence[int],
    letters: Sequence[int],
    *,
    overwrite: bool = True,
    earlier: dataset.DatasetCommit | None = None,
) -> tuple[dataset.DatasetCommit, dict[str, list[Any]]]:
    """A commit and its argument, as the pipeline has them once everything is staged; or an earlier commit's again."""
    into = str(directory / f".staging-{uuid.uuid4().hex}")
    commit = earlier or dataset.DatasetCommit(
        rows=Target(str(directory / "extractions"), ".parquet", into),
        letters=Target(str(directory / "dead-letters"), ".jsonl", into),
        schema=SCHEMA,
        directory=str(directory),
        model=MODEL,
        price=None,
        overwrite=overwrite,
        emulated=False,
    )
    piece = [parquet.encode([extraction(i) for i in rows], SCHEMA)] if rows else []
    row_files = [staging.stage(piece, commit.rows, parquet.writer(SCHEMA))] if rows else []
    lines = [dead_letter_lines.encode(letter(i)) for i in letters]
    letter_files = [staging.stage(lines, commit.letters, dead_letters.write)] if letters else []
    return commit, {"rows": row_files, "letters": letter_files}


@pytest.mark.parametrize(("rows", "letters"), [(3, 2), (3, 0), (0, 0)])
def test_committing_again_changes_nothing(tmp_path: Path, rows: int, letters: int) -> None:
    commit, gathered = _stage(tmp_path, range(rows), range(letters))
    assert names(tmp_path) == []
    summary = commit.name_all(gathered)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    assert list(before) == NAMES
    for _ in range(2):
        assert commit.name_all(gathered) == summary
        assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
        assert staged(tmp_path) == []


def test_the_summary_comes_last_and_goes_first(tmp_path: Path) -> None:
    write(tmp_path, [7])
    commit, gathered = _stage(tmp_path, [1, 2], [3])
    Path(gathered["letters"][0].temporary).unlink()
    (tmp_path / NAMES[0]).unlink()
    with pytest.raises(FileNotFoundError, match="is gone"):
        commit.name_all(gathered)
    assert names(tmp_path) == [NAMES[1]]  # the rows are named, but nothing says that the run is finished
    assert numbers(tmp_path) == [1, 2]
    dataset.check_output(str(tmp_path), overwrite=False)


# ------------------------------------------------------------------------------------------------ the directory


def test_a_finished_run_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(OutputError, match=r"holds a finished run.*--overwrite"):
        kb.WriteDataset(str(tmp_path), SCHEMA, model=MODEL)
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


def test_overwriting_replaces_the_whole_run(tmp_path: Path) -> None:
    write(tmp_path, range(100), range(50))
    for name in ("extractions-00003-of-00007.parquet", "dead-letters-00000-of-00002.jsonl"):
        (tmp_path / name).write_bytes(b"of a run with other counts")
    (tmp_path / "notes.txt").write_bytes(b"the user's own")
    write(tmp_path, [5], [], overwrite=True)
    assert names(tmp_path) == sorted([*NAMES, "notes.txt"])
    assert (numbers(tmp_path), dead_ids(tmp_path)) == ([5], [])
    assert summary_of(tmp_path)["documents"] == 1


def test_files_of_a_killed_run_are_cleared_by_the_next(tmp_path: Path) -> None:
    left = [
        ".staging-0123/aa.parquet",
        ".staging-4567/bb.jsonl",
        ".staging-4567/cc.jsonl",
        "extractions-00000-of-00003.parquet",
        "extractions-00002-of-00003.parquet",
        "dead-letters-00000-of-00002.jsonl",
    ]
    for name in left:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half done")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".staging-young").mkdir()
    (tmp_path / ".staging-young" / "at work").write_bytes(b"another run's")
    write(tmp_path, [5], [6])
    assert names(tmp_path) == NAMES
    assert [name for name in left if (tmp_path / name).exists()] == []
    assert not (tmp_path / ".staging-0123").exists()
    assert (tmp_path / ".staging-young" / "at work").exists(), "the staging of a run that is at work was removed"
    assert (numbers(tmp_path), dead_ids(tmp_path)) == ([5], ["dead-6"])


def test_a_run_that_is_done_once_more_after_its_end_keeps_its_first_result(tmp_path: Path) -> None:
    commit, gathered = _stage(tmp_path, range(3), [1], overwrite=False)
    commit.name_all(gathered)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    _, again = _stage(tmp_path, range(3), [1], earlier=commit)
    commit.name_all(again)  # raises for ever where the runner restarts what failed
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    assert staged(tmp_path) == []


def test_a_run_that_finished_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    commit, gathered = _stage(tmp_path, range(3), [], overwrite=False)
    write(tmp_path, [7])
    with pytest.raises(KimiBeamError, match="another run has finished"):
        commit.name_all(gathered)
    assert numbers(tmp_path) == [7]


def test_other_writers_of_one_pipeline_may_stage_in_the_same_directory(tmp_path: Path) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        rows = pipeline | "Rows" >> beam.Create([extraction(i) for i in range(3)])
        letters = pipeline | "Letters" >> beam.Create([letter(9)])
        (rows, letters) | kb.WriteDataset(str(tmp_path), SCHEMA, model=MODEL)
        rows | kb.WriteParquet(str(tmp_path / "extra"), SCHEMA)
        letters | kb.WriteDeadLetters(str(tmp_path / "errors"))
    assert numbers(tmp_path) == [0, 1, 2]
    assert len(list(tmp_path.glob("extra-*.parquet"))) == len(list(tmp_path.glob("errors-*.jsonl"))) == 1


@pytest.mark.parametrize("name", ["run[12]", "a*", "what?"])
def test_a_directory_whose_name_would_match_others_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="would match other files"):
        kb.WriteDataset(str(tmp_path / name), SCHEMA, model=MODEL)
    assert list(tmp_path.iterdir()) == []


def test_unbounded_input_is_refused() -> None:
    pipeline = beam.Pipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(streaming=True))
    stream = pipeline | test_stream.TestStream()
    with tempfile.TemporaryDirectory() as directory, pytest.raises(ConfigError, match="for bounded input"):
        (stream, stream) | kb.WriteDataset(directory, SCHEMA, model=MODEL)


@pytest.mark.parametrize("below", ["", "below", "below/that"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_place_of_the_directory_is_reported_before_anything_runs(
    tmp_path: Path, below: str, overwrite: bool
) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    directory = os.path.join(tmp_path, "file", below)  # noqa: PTH118 - pathlib drops the last slash
    with pytest.raises(OutputError, match=r"cannot write to .*file"):
        kb.WriteDataset(directory, SCHEMA, model=MODEL, overwrite=overwrite)
    assert (tmp_path / "file").read_bytes() == b"in the way"
    assert len(list(tmp_path.iterdir())) == 1


def test_checking_a_directory_leaves_it_empty(tmp_path: Path) -> None:
    dataset.check_output(str(tmp_path / "new"), overwrite=False)
    assert list((tmp_path / "new").iterdir()) == []


def test_the_parts_of_a_run_come_in_their_order(tmp_path: Path) -> None:
    for i in (2, 0, 1):
        (tmp_path / f"extractions-0000{i}-of-00003.parquet").write_bytes(b"")
    (tmp_path / "summary.json").write_bytes(b"{}")
    assert [Path(path).name for path in dataset.files_of(str(tmp_path), "extractions")] == [
        f"extractions-0000{i}-of-00003.parquet" for i in range(3)
    ]
    assert dataset.files_of(str(tmp_path), "dead-letters") == []
    assert dataset.files_of(str(tmp_path / "nowhere"), "summary") == []
