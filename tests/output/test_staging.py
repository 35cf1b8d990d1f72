"""Staging and commit: files appear complete, together and once, even if a step is repeated or dies half-way."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_beam.errors import OutputError
from kimi_beam.files import whole_files
from kimi_beam.output import staging
from kimi_beam.output.staging import Commit, Stage, Staged, Target, commit, name_all, stage
from kimi_beam.report.summary import Summary


def write(f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
    count = 0
    for piece in pieces:
        f.write(piece)
        count += piece.count(b"\n")
    return Summary(extractions=count)


def write_half(f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
    for piece in pieces:
        f.write(piece[: len(piece) // 2])
        raise OSError("no space left on device")
    return Summary()


def run(pieces: Sequence[bytes], target: Target, *, files: int = 1, writer: staging.WriteFile = write) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        (
            pipeline
            | beam.Create(list(pieces), reshuffle=False).with_output_types(bytes)
            | Stage(target, writer, files)
            | Commit(target, writer)
        )


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below, hidden ones too; an empty directory ends with a slash and holds nothing."""
    found = {}
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[f"{name}/"] = b""
    return found


def visible(directory: Path) -> dict[str, bytes]:
    """What a reader sees: nothing of a staging directory."""
    return {name: content for name, content in tree(directory).items() if not name.startswith(".")}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    (tmp_path / "out").mkdir()
    return Target.of(str(tmp_path / "out" / "part"), ".txt")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# ------------------------------------------------------------------------------------------------ names


def test_a_target_stages_beside_its_files_in_a_directory_of_its_own(tmp_path: Path) -> None:
    prefix = str(tmp_path / "out" / "part")
    one, other = Target.of(prefix, ".txt"), Target.of(prefix, ".txt")
    assert one.name(2, 11) == f"{prefix}-00002-of-00011.txt"
    assert Path(one.staging).parent == tmp_path / "out"
    assert Path(one.staging).name.startswith(".staging-")
    assert one.staging != other.staging


def test_a_relative_prefix_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for prefix in ("bare", "below/part", "./dotted/part"):
        Path(prefix).parent.mkdir(exist_ok=True)
        run([b"a\n"], Target.of(prefix, ".txt"))
        run([b"b\n"], Target.of(prefix, ".txt"))
    assert tree(tmp_path) == {
        "bare-00000-of-00001.txt": b"b\n",
        "below/part-00000-of-00001.txt": b"b\n",
        "dotted/part-00000-of-00001.txt": b"b\n",
    }


def test_a_directory_is_made_and_may_have_spaces_and_unicode(tmp_path: Path) -> None:
    run([b"a\n"], Target.of(str(tmp_path / "my out é" / "below" / "a part"), ".txt"))
    assert tree(tmp_path) == {"my out é/below/a part-00000-of-00001.txt": b"a\n"}


def test_a_symlinked_directory_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for content in (b"a\n", b"b\n"):
        run([content], Target.of(str(tmp_path / "link" / "part"), ".txt"))
    assert tree(tmp_path / "real") == {"part-00000-of-00001.txt": b"b\n"}
    assert (tmp_path / "link").is_symlink()


# ------------------------------------------------------------------------------------------------ staging


def test_what_is_staged_has_no_final_name_yet(target: Target, out: Path) -> None:
    staged = stage([b"a\n", b"b\n"], target, write)
    assert staged.summary == Summary(extractions=2)
    assert list(tree(out).values()) == [b"a\nb\n"]
    assert Path(staged.temporary).parent == Path(target.staging)
    assert target.existing() == []


def test_a_failing_writer_leaves_no_file_of_the_set(target: Target, out: Path) -> None:
    with pytest.raises(OSError, match="no space left"):
        stage([b"whole\n"], target, write_half)
    assert visible(out) == {}
    with pytest.raises((OSError, RuntimeError), match="no space left"):
        run([b"whole\n"], target, writer=write_half)
    assert visible(out) == {}


def test_a_failing_writer_leaves_an_earlier_run_alone(target: Target, out: Path) -> None:
    run([b"earlier\n"], target)
    with pytest.raises((OSError, RuntimeError), match="no space left"):
        run([b"later\n"], Target.of(target.prefix, ".txt"), writer=write_half)
    assert visible(out) == {"part-00000-of-00001.txt": b"earlier\n"}


def test_only_the_attempt_that_was_reported_is_named(target: Target, out: Path) -> None:
    with pytest.raises(OSError, match="no space left"):
        stage([b"first attempt\n"], target, write_half)
    stage([b"attempt whose report was lost\n"], target, write)
    reported = stage([b"last attempt\n"], target, write)
    assert commit([reported], target, write) == [str(out / "part-00000-of-00001.txt")]
    assert tree(out) == {"part-00000-of-00001.txt": b"last attempt\n"}


# ------------------------------------------------------------------------------------------------ commit


@pytest.mark.parametrize("count", [0, 1, 3])
def test_committing_again_changes_nothing(target: Target, out: Path, count: int) -> None:
    staged = [stage([f"{i}\n".encode()], target, write) for i in range(count)]
    paths = commit(staged, target, write)
    before = tree(out)
    assert sorted(before.values()) == ([f"{i}\n".encode() for i in range(count)] or [b""])
    assert sorted(before) == [Path(path).name for path in paths]
    for _ in range(2):
        assert commit(staged[::-1], target, write) == paths  # the runner may hand them over in another order
        assert tree(out) == before


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_commit_that_died_in_the_middle_is_completed_by_the_next(target: Target, out: Path, done: int) -> None:
    staged = [stage([f"{i}\n".encode()], target, write) for i in range(3)]
    in_order = sorted(staged)
    for i, file in enumerate(in_order[:done]):
        whole_files.rename(file.temporary, target.name(i, 3), file.size)
    commit(staged, target, write)
    assert tree(out) == {f"part-0000{i}-of-00003.txt": tree_of(file, staged) for i, file in enumerate(in_order)}


def tree_of(file: Staged, staged: Sequence[Staged]) -> bytes:
    return f"{staged.index(file)}\n".encode()


@pytest.mark.parametrize(("earlier", "now"), [(5, 2), (2, 5), (3, 3), (4, 0)])
def test_all_files_of_an_earlier_run_are_removed(target: Target, out: Path, earlier: int, now: int) -> None:
    commit([stage([b"earlier\n"], target, write) for _ in range(earlier)], target, write)
    later = Target.of(target.prefix, target.suffix)
    commit([stage([b"now\n"], later, write) for _ in range(now)], later, write)
    count = max(1, now)
    content = b"now\n" if now else b""
    assert tree(out) == {f"part-0000{i}-of-0000{count}.txt": content for i in range(count)}


def test_other_files_of_the_directory_are_left_alone(target: Target, out: Path) -> None:
    others = ["part-00000-of-00002.jsonl", "other-00000-of-00002.txt", "part.txt", "a-part-00000-of-00001.txt"]
    others += ["part-one.txt", "below/part-00000-of-00002.txt", ".staging-of-another-run/x.txt"]
    for name in others:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"keep")
    run([b"now\n"], target)
    assert tree(out) == {"part-00000-of-00001.txt": b"now\n", **dict.fromkeys(others, b"keep")}


def test_a_staged_file_that_is_gone_is_an_error_and_no_success(target: Target, out: Path) -> None:
    staged = stage([b"a\n"], target, write)
    Path(staged.temporary).unlink()
    with pytest.raises(FileNotFoundError, match="is gone"):
        name_all([staged], target)
    assert list(out.glob("part*")) == []


# ------------------------------------------------------------------------------------------------ in a pipeline


def test_no_piece_at_all_gives_one_empty_file(target: Target, out: Path) -> None:
    run([], target, files=4)
    assert tree(out) == {"part-00000-of-00001.txt": b""}


def _piece(i: int) -> bytes:
    return f"piece {i}\n".encode()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 40), files=st.integers(1, 5))
def test_every_piece_is_in_exactly_one_of_the_files(tmp_path: Path, count: int, files: int) -> None:
    out = tmp_path / uuid.uuid4().hex
    run([_piece(i) for i in range(count)], Target.of(str(out / "part"), ".txt"), files=files)
    found = tree(out)
    assert 1 <= len(found) <= files
    assert sorted(found) == [f"part-0000{i}-of-0000{len(found)}.txt" for i in range(len(found))]
    lines = Counter(line for content in found.values() for line in content.splitlines(keepends=True))
    assert lines == Counter(_piece(i) for i in range(count))
    if count == 40:
        assert len(found) == files


def test_windowed_pieces_come_together_in_one_file(target: Target, out: Path) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        (
            pipeline
            | beam.Create(list(range(10)), reshuffle=False)
            | beam.Map(lambda i: TimestampedValue(_piece(i), i * 60)).with_output_types(bytes)
            | beam.WindowInto(FixedWindows(60))
            | staging.Window()
            | Stage(target, write, 1)
            | Commit(target, write)
        )
    (content,) = tree(out).values()
    assert sorted(content.splitlines(keepends=True)) == [_piece(i) for i in range(10)]


def test_the_paths_come_out_once_everything_has_its_name(target: Target, out: Path, tmp_path: Path) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        paths = (
            pipeline
            | beam.Create([_piece(i) for i in range(20)]).with_output_types(bytes)
            | Stage(target, write, 3)
            | Commit(target, write)
        )
        paths | beam.Map(_note, str(tmp_path / "seen"))
    names = [str(out / name) for name in sorted(tree(out))]
    assert len(names) == 3
    seen = [note.split("\n") for note in (tmp_path / "seen").read_text().split("\n\n")[:-1]]
    assert sorted(path for path, *_ in seen) == names
    assert all(existing == names for _, *existing in seen)


def _note(path: str, to: str) -> None:
    existing = sorted(str(one) for one in Path(path).parent.glob("part-*"))
    with Path(to).open("a") as f:
        f.write("\n".join([path, *existing]) + "\n\n")


# ------------------------------------------------------------------------------------------------ small tools


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "out" / "small"
    for content in (b"one", b"", b"three"):
        path.parent.mkdir(exist_ok=True)
        whole_files.write_whole(str(path), content)
        assert path.read_bytes() == content
    assert tree(tmp_path) == {"out/small": b"three"}


def test_making_and_removing_a_directory_may_be_repeated(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b")
    whole_files.make_directory(path)
    whole_files.make_directory(path)
    Path(path, "file").write_bytes(b"x")
    whole_files.remove_directory(path)
    whole_files.remove_directory(path)
    whole_files.remove([])
    assert tree(tmp_path) == {"a/": b""}


def test_files_that_only_look_alike_are_left_alone(tmp_path: Path) -> None:
    other = Target.of(str(tmp_path / "invoices-2024"), ".txt")
    commit([stage([b"2024\n"], other, write)], other, write)
    (tmp_path / "invoices-list-of-x.txt").write_bytes(b"the user's own")
    target = Target.of(str(tmp_path / "invoices"), ".txt")
    commit([stage([b"all\n"], target, write)], target, write)
    assert sorted(tree(tmp_path)) == [
        "invoices-00000-of-00001.txt",
        "invoices-2024-00000-of-00001.txt",
        "invoices-list-of-x.txt",
    ]


def test_an_old_file_is_not_taken_for_the_renamed_one(target: Target, out: Path) -> None:
    staged = stage([b"new content\n"], target, write)
    Path(target.name(0, 1)).write_bytes(b"old")
    Path(staged.temporary).unlink()
    with pytest.raises(FileNotFoundError, match="is gone"):
        commit([staged], target, write)


def test_two_commits_at_once_lose_no_file(target: Target, out: Path) -> None:
    for _ in range(20):
        staged = [stage([f"{i}\n".encode()], target, write) for i in range(20)]
        with ThreadPoolExecutor(2) as both:
            for outcome in [both.submit(staging.name_all, staged, target) for _ in range(2)]:
                outcome.result()
        assert len(list(out.glob("part-*"))) == 20


@pytest.mark.parametrize("prefix", ["", "out/", "/", "a*b", "x[1]"])
def test_a_prefix_that_names_no_file_or_many_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(OutputError):
        Target.of(prefix and f"{tmp_path}/{prefix}", ".txt")


# ------------------------------------------------------------------------------------------------ what dies half way


def test_staged_files_of_killed_runs_are_removed_once_they_are_old(tmp_path: Path) -> None:
    for name in (".staging-dead/part.parquet", ".staging-dead/another.parquet", ".staging-file", "extractions.parquet"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    whole_files.remove_abandoned(str(tmp_path), time.time() + 80_000)
    assert len(list(tmp_path.iterdir())) == 3, "it may be at work"
    whole_files.remove_abandoned(str(tmp_path), time.time() + 90_000)
    assert [p.name for p in tmp_path.iterdir()] == ["extractions.parquet"]


@pytest.mark.parametrize("young", ["first.parquet", "last.parquet"])
def test_a_staging_directory_is_as_old_as_its_newest_file(tmp_path: Path, young: str) -> None:
    """A run of more than a day has files that are older, and is still at work."""
    aside, now = tmp_path / ".staging-at-work", time.time()
    aside.mkdir()
    for name in ("first.parquet", "last.parquet"):
        (aside / name).write_bytes(b"x")
        changed = now - (10 if name == young else 100_000)
        os.utime(aside / name, (changed, changed))
    whole_files.remove_abandoned(str(tmp_path), now)
    assert len(list(aside.iterdir())) == 2
    whole_files.remove_abandoned(str(tmp_path), now + 90_000)
    assert not aside.exists()


def test_a_file_that_cannot_be_written_to_its_end_is_deleted(target: Target) -> None:
    """It would fill the disk that is full, and be taken for a result that only lacks its name."""

    def full(f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
        f.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=rf"No space left on device: '{target.staging}/"):
        stage([b"x"], target, full)
    assert list(Path(target.staging).iterdir()) == []
