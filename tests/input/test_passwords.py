"""Passwords of encrypted files: named by their place, looked up late, and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from kimi_beam.errors import ConfigError
from kimi_beam.input.fields import Reading

SECRET = "päss wörd "


def test_a_password_is_read_where_it_is_used_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    monkeypatch.setenv("FILES_PASSWORD", SECRET)
    for place in (f"file:{tmp_path}/password", "env:FILES_PASSWORD"):
        reading = Reading(password_from=place)
        assert reading.options().password == SECRET
        for shown in (repr(reading), repr(reading.options()), repr(pickle.dumps(reading))):
            assert "wörd" not in shown
            assert "w\\xc3\\xb6rd" not in shown


@pytest.mark.parametrize("place", [SECRET, "", "env:", "file:", "gcp-secret:projects/p"])
def test_what_names_no_place_is_refused_without_being_repeated(place: str) -> None:
    with pytest.raises(ConfigError, match="a password is named by env:NAME or file:PATH") as refused:
        Reading(password_from=place)
    assert SECRET not in str(refused.value)


def test_a_password_that_is_not_there_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FILES_PASSWORD", raising=False)
    (tmp_path / "empty").write_text("\n")
    for place, message in (
        ("env:FILES_PASSWORD", "no password: the environment variable FILES_PASSWORD is not set"),
        (f"env:{SECRET}", "no password: the environment variable that env: names is not set"),
        (f"file:{tmp_path}/nowhere", "cannot read the password from .*nowhere.*: No such file"),
        (f"file:{SECRET}", "cannot read the password from the file: No such file"),
        (f"file:{tmp_path}/empty", "no password: the file is empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            Reading(password_from=place).options()


@pytest.mark.parametrize("name", ["nope", "rot13", "base64", "hex", "idna", "unicode_escape", "undefined", ""])
def test_an_unknown_encoding_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigError, match="no encoding has the name"):
        Reading(encoding=name)
    for known in ("cp1252", "Shift_JIS", "iso8859-2", "utf-16", "cp037"):
        assert Reading(encoding=known).encoding == known


def test_a_setting_with_a_value_that_it_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="pages is 'all': it is one of auto, text, image, both"):
        Reading(pages="all")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="hidden_text is 'show': it is one of drop, keep, dead-letter"):
        Reading(hidden_text="show")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="reader is a function"):
        Reading(reader="docling")  # type: ignore[arg-type]
