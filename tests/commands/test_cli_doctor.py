"""`kimi-beam doctor`: each fault that can be made is found, told in a line, and costs nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import pytest
from harness import ACCOUNT
from running_cli import run

from kimi_beam.commands.check_service_once import check_service_once
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.service.workers_ai import WorkersAI

NAMES = ["versions", "output", "journal", "token", "account", "plan", "model", "queue", "gateway", "clock"]
K2_5 = "@cf/moonshotai/kimi-k2.5"


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "right-token")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def _checks(
    stack: ExitStack,
    capsys: pytest.CaptureFixture[str],
    *words: object,
    behaviour: Behaviour | None = None,
    root: str = "base-url",
) -> tuple[int, dict[str, dict[str, str]]]:
    """Runs the doctor against an emulator, which is asked for nothing that costs."""
    emulator = stack.enter_context(Emulator(token="right-token", behaviour=behaviour or Behaviour()))
    address = emulator.base_url if root == "base-url" else emulator.openai_url
    code, out, err = run("doctor", "--json", f"--{root}", address, *words, capsys=capsys)
    assert all("deprecated" in line for line in err.splitlines()), err
    shown = json.loads(out)
    assert shown["version"] == 1
    assert shown["ok"] is (code == 0)
    assert [check["name"] for check in shown["checks"]] == NAMES
    stats = emulator.stats()
    assert stats["completion_tokens"] == stats["prompt_tokens"] == 0
    for check in shown["checks"]:
        assert check["state"] in ("ok", "warn", "fail")
        assert check["state"] == "ok" or check["to_do"] or check["found"].startswith("not known"), check
    return code, {check["name"]: check for check in shown["checks"]}


def test_all_is_well_where_a_run_could_start(stack: ExitStack, capsys: pytest.CaptureFixture[str]) -> None:
    code, checks = _checks(stack, capsys, "--output", "out")
    assert code == 0
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("failed", "words", "behaviour"),
    [
        ("account", (), Behaviour(accounts=("another",))),
        ("plan", (), Behaviour(plan="free")),
        ("model", ("--model", "@cf/nobody/nothing"), None),
        ("queue", ("--model", K2_5), None),
        ("gateway", ("--gateway", "gone", "--api", "run"), Behaviour(gateways=("mine",))),
        ("gateway", ("--gateway", "mine", "--api", "run"), Behaviour(gateways=("mine",), gateway_token="needed")),
    ],
)
def test_what_the_service_turns_away_is_named_and_what_stands_behind_it_is_not_called_good(
    failed: str,
    words: tuple[str, ...],
    behaviour: Behaviour | None,
    stack: ExitStack,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, checks = _checks(stack, capsys, "--output", "out", *words, behaviour=behaviour)
    assert code == 1
    assert [name for name, check in checks.items() if check["state"] == "fail"] == [failed]
    for name in NAMES[NAMES.index(failed) + 1 : -1]:
        assert checks[name]["state"] == "warn", name
    assert checks["clock"]["state"] == "ok"


@pytest.mark.parametrize("token", ["wrong-token", ""])
def test_a_token_that_is_wrong_or_missing_fails(
    token: str, stack: ExitStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", token)
    code, checks = _checks(stack, capsys, "--token-from", "env:MINE", "--output", "out")
    assert code == 1
    assert [name for name, check in checks.items() if check["state"] == "fail"] == ["token"]
    assert "wrong-token" not in json.dumps(checks)


def test_a_model_without_a_queue_is_well_where_it_is_asked_synchronously(
    stack: ExitStack, capsys: pytest.CaptureFixture[str]
) -> None:
    code, checks = _checks(stack, capsys, "--model", K2_5, "--fallback-api", "run", "--output", "out")
    assert code == 0
    assert "synchronously" in checks["queue"]["found"]


def test_an_account_that_is_not_named_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID")
    code, out, _ = run("doctor", "--json", capsys=capsys)
    assert code == 1
    states = {check["name"]: check["state"] for check in json.loads(out)["checks"]}
    assert states["account"] == "fail"
    assert sorted(states) == sorted(NAMES)


def test_a_service_that_nobody_answers_for_fails_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("doctor", "--base-url", "http://127.0.0.1:9", "--output", "out", capsys=capsys)
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()] == ["ok"] * 3 + ["fail"] + ["warn"] * 6
    assert "cannot reach http://127.0.0.1:9" in out


def test_a_clock_that_is_wrong_is_noticed(stack: ExitStack) -> None:
    emulator = stack.enter_context(Emulator(token="right-token"))
    service = WorkersAI(ACCOUNT, token_from="env:CLOUDFLARE_API_TOKEN", base_url=emulator.base_url)
    for off, direction in ((3600, "ahead of"), (-3600, "behind")):
        *_, check = check_service_once(service, now=time.time() + off)
        assert (check.name, check.state) == ("clock", "warn")
        assert direction in check.found


def test_an_output_that_cannot_be_written_fails(stack: ExitStack, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    code, checks = _checks(stack, capsys, "--output", "file/out")
    assert code == 1
    assert checks["output"]["state"] == "fail"


def test_a_finished_run_in_the_output_is_told(stack: ExitStack, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/summary.json").write_text("{}")
    code, checks = _checks(stack, capsys, "--output", "out", "--no-journal")
    assert code == 0
    assert (checks["output"]["state"], checks["journal"]["state"]) == ("warn", "warn")


def test_options_of_the_file_are_those_that_are_checked(stack: ExitStack, capsys: pytest.CaptureFixture[str]) -> None:
    Path("kimi-beam.toml").write_text("[extract]\noutput = 'of-the-file'\nmodel = '@cf/nobody/nothing'\n")
    _, checks = _checks(stack, capsys)
    assert "of-the-file" in checks["output"]["found"]
    assert checks["model"]["state"] == "fail"


def test_another_server_is_asked_for_its_models(
    stack: ExitStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "right-token")  # Cloudflare's own token is sent to no other server
    words = ("--model", "served", "--output", "out", "--token-from", "env:MINE")
    served = Behaviour(openai_models=("served",))
    code, checks = _checks(stack, capsys, *words, behaviour=served, root="openai-url")
    assert code == 0, checks
    others = Behaviour(openai_models=("another",))
    _, checks = _checks(stack, capsys, *words, behaviour=others, root="openai-url")
    assert checks["model"]["state"] == "warn"
    assert "another" in checks["model"]["found"]


def test_a_library_that_is_too_old_fails(
    stack: ExitStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.1.0" if name == "apache-beam" else real(name))
    code, checks = _checks(stack, capsys, "--output", "out")
    assert code == 1
    assert checks["versions"]["state"] == "fail"
    assert "apache-beam 2.1.0" in checks["versions"]["found"]
