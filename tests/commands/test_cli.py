"""The command line as a user sees it: exit codes, stdout and stderr, and no payment by mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import read_dataset, receipts
from patience import HANGS
from running_cli import PROGRAM, SCHEMA, environment, mistake, run

from kimi_beam.commands import console
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.report import metrics


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(token="right-token") as running:
        yield running


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"id": d.id, "text": d.text, "page": 3}) + "\n" for d in receipts(20)))
    return path


def test_a_run_writes_the_dataset_and_says_what_it_came_to(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_dir = tmp_path / "out"
    code, out, err = run(
        "extract", inputs, "--schema", SCHEMA, "--emulator", "--output", out_dir, "--preview", 2, capsys=capsys
    )
    assert code == 0, err
    assert "not Kimi" in err
    assert "documents" in out
    assert str(out_dir / "summary.json") in out
    outcome = read_dataset(out_dir)
    assert len(outcome.rows) == 20
    assert json.loads(outcome.rows[0]["_metadata"]) == {"page": 3}
    expected = {
        "documents", "extractions", "dead_letters", "usage", "cost_usd", "cache_saved_usd", "model", "schema_hash",
        "emulated", "would_have_cost_usd", "model_answered", "documents_maybe_paid_twice", "rows_with_unnamed_keys",
        "batches", "submits", "polls", "event_pulls", "requests", "unknown_submits", "resubmits", "wall_s",
        "journal", "run", "mismatched_items", "parts", "repairs", "free_repairs", "pictures", "pictures_sent",
        "skipped_files", "skipped_names",
    }  # fmt: skip
    assert set(outcome.summary) == expected | {*metrics.ALL, *metrics.DISTRIBUTIONS}
    assert (outcome.summary["batches"], outcome.summary["submits"], outcome.summary["unknown_submits"]) == (1, 1, 0)
    assert outcome.summary["wall_s"] > 0
    assert sorted(p.name.partition("-0")[0] for p in out_dir.iterdir()) == [
        "dead-letters",
        "extractions",
        "summary.json",
    ]


def test_the_same_run_twice_is_refused_until_it_may_overwrite(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("extract", inputs, "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    assert run(*arguments, capsys=capsys)[0] == 0
    assert "--overwrite" in mistake(*arguments, capsys=capsys)
    assert run(*arguments, "--overwrite", "--limit", 5, capsys=capsys)[0] == 0
    assert len(read_dataset(tmp_path / "out").rows) == 5


def test_an_empty_input_still_leaves_a_typed_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text("")
    code, _, err = run(
        "extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out", capsys=capsys
    )
    assert code == 0, err
    outcome = read_dataset(tmp_path / "out")
    assert (outcome.rows, outcome.letters, outcome.summary["documents"]) == ([], [], 0)


def test_an_empty_run_replaces_a_finished_one_too(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("extract", inputs, "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    assert run(*arguments, capsys=capsys)[0] == 0
    assert run(*arguments, "--overwrite", "--limit", 0, capsys=capsys)[0] == 0
    outcome = read_dataset(tmp_path / "out")
    assert (outcome.rows, outcome.summary["documents"]) == ([], 0), "the run before is reported as this one"


def test_a_job_whose_items_are_all_missing_ends(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(faults="missing_item=1") as emulator:
        arguments = ("--schema", SCHEMA, "--base-url", emulator.base_url, "--output", tmp_path / "out")
        code, _, err = run("extract", inputs, *arguments, "--poll-interval", "0.05:0.1", capsys=capsys)
    assert code == 0, err
    assert read_dataset(tmp_path / "out").codes == {"missing_item": 20}


def test_a_deadline_gives_up_a_job_that_never_ends_and_says_why(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(faults="failed_job=1") as emulator:
        arguments = ("--schema", SCHEMA, "--base-url", emulator.base_url, "--output", tmp_path / "out")
        rest = ("--poll-interval", "0.05:0.1", "--deadline", "0.5")
        assert run("extract", inputs, *arguments, *rest, capsys=capsys)[0] == 0
    letters = read_dataset(tmp_path / "out").letters
    assert {letter["code"] for letter in letters} == {"deadline"}
    assert "5001" in letters[0]["message"]
    assert letters[0]["request_id"]


@pytest.mark.parametrize("source", ["raise RuntimeError('no')", "class Broken(:", "Model = 3"])
def test_a_schema_module_that_cannot_be_imported_is_the_users_mistake(
    source: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    rest = ("--emulator", "--output", tmp_path / "o")
    assert "broken_module:Model" in mistake("extract", inputs, "--schema", "broken_module:Model", *rest, capsys=capsys)


def test_too_many_dead_letters_are_exit_3_after_everything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "TOTAL: 1.00"}\n{"id": "b", "text": ""}\n')
    arguments = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--emulator", "--output", tmp_path / "out")
    for bound, code in (("0", 3), ("1", 0), ("49%", 3), ("50%", 0)):
        assert run(*arguments, "--overwrite", "--max-dead-letters", bound, capsys=capsys)[0] == code, bound
        assert read_dataset(tmp_path / "out").summary["documents"] == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"type": "strnig"}', "not a valid JSON Schema"),
        ("{", "is not JSON"),
        ("[1]", "not an object"),
        (None, "No such"),
    ],
)
def test_a_schema_that_is_none_is_refused(
    content: str | None, says: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_text(content)
    assert says in mistake("extract", inputs, "--schema", path, "--emulator", "--output", tmp_path / "o", capsys=capsys)


def test_input_that_matches_nothing_or_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ("--schema", SCHEMA, "--emulator", "--output", tmp_path / "o")
    assert "no file matches" in mistake("extract", tmp_path / "*.txt", *rest, capsys=capsys)
    (tmp_path / "scan.psd").write_bytes(b"8BPS")
    assert "scan.psd" in mistake("extract", tmp_path / "*.psd", *rest, capsys=capsys)
    assert "no input" in mistake("extract", *rest, capsys=capsys)


def test_an_output_that_cannot_be_written_is_refused(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    err = mistake(
        "extract", inputs, "--schema", SCHEMA, "--emulator", "--output", tmp_path / "file" / "out", capsys=capsys
    )
    assert "cannot write to" in err


def test_without_credentials_it_never_falls_back_to_the_emulator(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    err = mistake("extract", inputs, "--schema", SCHEMA, "--output", tmp_path / "o", capsys=capsys)
    assert "CLOUDFLARE_ACCOUNT_ID" in err
    assert "--emulator" in err


@pytest.mark.parametrize(
    ("token", "extra", "says"),
    [
        ("wrong-token", (), "10000"),
        ("right-token", ("--model", "@cf/moonshotai/kimi-k2.5"), "no batch queue: choose --api run"),
        ("right-token", ("--model", "@cf/no/such-model"), "5007"),
        ("right-token", ("--token-from", "env:NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
    ],
)
def test_refusals_of_the_service_are_found_before_anything_is_paid_for(
    token: str,
    extra: tuple[str, ...],
    says: str,
    emulator: Emulator,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", token)
    emulator.reset()
    arguments = ("extract", inputs, "--schema", SCHEMA, "--base-url", emulator.base_url, "--output", tmp_path / "o")
    err = mistake(*arguments, *extra, capsys=capsys)
    assert says in err
    assert token not in err
    assert emulator.stats()["items"] == 0


def test_a_service_that_is_not_there_is_the_users_mistake(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://127.0.0.1:9/client/v4"
    err = mistake("extract", inputs, "--schema", SCHEMA, "--base-url", url, "--output", tmp_path / "o", capsys=capsys)
    assert "cannot reach" in err


@pytest.mark.parametrize("option", ["--instrutcions=x", "--poll-interval=5:1", "--max-dead-letters=-1", "--limit=x"])
def test_an_option_that_nobody_knows_or_that_makes_no_sense_is_refused(
    option: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(
        "extract", inputs, "--schema", SCHEMA, "--emulator", "--output", tmp_path / "o", option, capsys=capsys
    )
    assert code == 2
    assert option.partition("=")[0] in err


def test_beams_options_pass_through_wherever_they_stand(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(
        "extract", "--runner", "FnApiRunner", "--direct_num_workers", "2", inputs, "--schema", SCHEMA, "--emulator",
        "--output", tmp_path / "out", capsys=capsys,
    )  # fmt: skip
    assert code == 0, err
    assert len(read_dataset(tmp_path / "out").rows) == 20


def test_an_account_that_is_turned_away_in_the_middle_fails_the_job_in_one_line(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(token="right-token") as emulator:
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "wrong-token")
        code, out, err = run(
            "extract", inputs, "--schema", SCHEMA, "--base-url", emulator.base_url, "--output", tmp_path / "out",
            "--no-preflight", capsys=capsys,
        )  # fmt: skip
    assert code == 1
    assert out == ""
    assert "10000" in err
    assert len(err.splitlines()) == 1, err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["_journal"], "a failed run left files"


def test_the_documents_text_goes_out_unescaped_and_metadata_only_where_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'Quote " back\\slash <b>&amp; ``` ü 漢\u2028 end'
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "text": text, "secret": "s3cret", "shown": "yes"}))
    sent: list[str] = []

    def answer(messages: list[dict[str, str]], _: object) -> str:
        sent.append(messages[-1]["content"])
        return '{"company": null, "date": null, "address": null, "total": null}'

    with Emulator(answer=answer) as emulator:
        arguments = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--base-url", emulator.base_url)
        run(*arguments, "--output", tmp_path / "a", capsys=capsys)
        run(*arguments, "--output", tmp_path / "b", "--prompt-metadata", "shown", capsys=capsys)
    plain, named = sent
    assert text in plain
    assert "yes" not in plain
    assert text in named
    assert '"shown":"yes"' in named
    assert "s3cret" not in plain + named


def test_a_service_that_is_slow_to_start_answering_is_not_given_up_by_the_preflight(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(seed=5, faults="error_502_bare=0.4,rate_limit=0.2:0", behaviour=Behaviour()) as emulator:
        arguments = ("--schema", SCHEMA, "--base-url", emulator.base_url, "--output", tmp_path / "out")
        code, _, err = run("extract", inputs, *arguments, "--poll-interval", "0.05:0.2", capsys=capsys)
    assert code == 0, err
    assert read_dataset(tmp_path / "out").summary["documents"] == 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_says_how_many_batches_are_in_flight_and_leaves_no_half_output(
    number: signal.Signals, inputs: Path, tmp_path: Path
) -> None:
    with Emulator(faults="never_ends=1") as emulator:
        process = subprocess.Popen(
            [*PROGRAM, "extract", inputs, "--schema", SCHEMA,
             "--base-url", emulator.base_url, "--output", tmp_path / "o"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(CLOUDFLARE_API_TOKEN="t0ken"),
        )  # fmt: skip
        while emulator.stats()["polls"] < 2:  # the first is the preflight's
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + number
    assert out == ""
    assert "1 batch is in flight" in err
    assert "Traceback" not in err
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["_journal"], "an interrupted run left files"


def test_a_real_process_keeps_stdout_for_the_result_and_the_token_to_itself(inputs: Path, tmp_path: Path) -> None:
    with Emulator() as emulator:
        done = subprocess.run(
            [*PROGRAM, "extract", inputs, "--schema", SCHEMA, "--verbose",
             "--base-url", emulator.base_url, "--output", tmp_path / "o"],
            capture_output=True, text=True, env=environment(CLOUDFLARE_API_TOKEN="t0ken-of-mine"), check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "documents" in done.stdout
    files = [p for p in (tmp_path / "o").rglob("*") if p.is_file()]
    assert any("_journal" in p.parts for p in files)
    everything = done.stdout + done.stderr + "".join(p.read_bytes().decode("latin-1") for p in files)
    assert "t0ken-of-mine" not in everything


def test_a_reader_that_has_seen_enough_is_no_failure(inputs: Path, tmp_path: Path) -> None:
    command = [*PROGRAM, "extract", str(inputs), "--schema", str(SCHEMA), "--emulator", "--output", str(tmp_path / "o")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert "Traceback" not in err
    assert len(read_dataset(tmp_path / "o").rows) == 20


@pytest.mark.parametrize("arguments", [["models"], ["schema", "show", str(SCHEMA)], ["extract", "--help"]])
def test_a_reader_that_has_gone_is_no_failure_of_any_command(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*PROGRAM, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_messages_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("the service said \x1b[31mred\x07\x9b\nand more \u202e")
    assert capsys.readouterr().err == "kimi-beam: the service said \\x1b[31mred\\x07\\x9b\\nand more \\u202e\n"


def test_help_teaches_and_needs_no_beam() -> None:
    code = """
import sys
from kimi_beam import cli
try:
    cli.main(sys.argv[1:])
finally:
    print(any(name in sys.modules for name in ('apache_beam', 'pyarrow')))
"""
    for arguments in (["--help"], ["extract", "--help"], ["read", "--help"], ["emulate", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("False\n"), "--help waits for apache_beam or pyarrow"
    shown = subprocess.run([*PROGRAM, "extract", "--help"], capture_output=True, text=True).stdout
    groups = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups[:4] == ["options:", "input and output:", "how documents are read:", "what is asked:"]
    assert "Examples" in subprocess.run([*PROGRAM, "extract", "--help"], capture_output=True, text=True).stdout


def test_worker_processes_do_not_talk_on_the_users_screen(inputs: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "extract", inputs, "--schema", SCHEMA, "--emulator", "--output", tmp_path / "o",
         "--direct_num_workers=2", "--direct_running_mode=multi_processing"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("kimi-beam: ")] == []
    assert len(read_dataset(tmp_path / "o").rows) == 20


@pytest.mark.parametrize("words", [("journal", "ls"), ("audit",), ("journal", "gc", "--ttl", "1d")])
def test_a_command_takes_one_directory_and_no_option_that_nobody_knows(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no directory; name one DIR" in mistake(*words, capsys=capsys)
    assert "more than one directory: a b" in mistake(*words, "a", "b", capsys=capsys)
    told = mistake(*words, "a", "--s4_endpoint_url", "http://x", capsys=capsys)
    assert "unknown option --s4_endpoint_url" in told


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--encoding", "cp9999", "no encoding has the name 'cp9999'"),
        ("--encoding", "base64", "no encoding has the name 'base64'"),
        ("--password-from", "hunter2", "a password is named by env:NAME or file:PATH"),
        ("--password-from", "env:NO_SUCH_PASSWORD", "the environment variable NO_SUCH_PASSWORD is not set"),
        ("--password-from", "file:/nowhere/password", "cannot read the password from '/nowhere/password'"),
        ("--text-field", "body", "has no column 'body'; it has 'id', 'text'"),
        ("--id-field", "key", "has no column 'key'; it has 'id', 'text'"),
    ],
)
def test_a_mistake_about_reading_is_found_before_anything_is_sent(
    option: str, value: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("id,text\na,x\n")
    rest = ("--schema", SCHEMA, "--emulator", "--output", tmp_path / "out", option, value)
    err = mistake("extract", tmp_path / "a.csv", *rest, capsys=capsys)
    assert says in err
    assert "hunter2" not in err
