"""The token: read where it lies and when it is needed, and never in a message, a repr or a pickle."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from apache_beam.utils.secret import RawSecret
from google.api_core.exceptions import PermissionDenied
from google.cloud import secretmanager

from kimi_beam.errors import ConfigError
from kimi_beam.service.credentials import TOKEN_VARIABLE, Secret, TokenSource, read_token, token_source

TOKEN = "cfut_0123456789-abcdefghijklmnop"


class Vault:
    """A secret manager's handle."""

    def __init__(self, secret: bytes | Exception) -> None:
        self._secret = secret

    def get_secret_bytes(self) -> bytes:
        if isinstance(self._secret, Exception):
            raise self._secret
        return self._secret


def test_the_token_is_read_from_the_variable_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    source = token_source(f"env:{TOKEN_VARIABLE}")
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert read_token(source) == TOKEN
    monkeypatch.setenv(TOKEN_VARIABLE, " rotated\n")
    assert read_token(source) == "rotated"


def test_the_token_is_read_from_the_file_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "with:colon"
    source = token_source(f"file:{file}")
    file.write_text(f"{TOKEN}\n")
    assert read_token(source) == TOKEN
    file.write_text("rotated")
    assert read_token(source) == "rotated"


def test_the_default_place_is_the_variable_of_cloudflares_own_tools() -> None:
    assert TokenSource().place == "env:CLOUDFLARE_API_TOKEN"


@pytest.mark.parametrize("place", [TOKEN, "", "env:", "file:", "env", ":x", f"token:{TOKEN}", f"ENV:{TOKEN}"])
def test_a_token_given_itself_is_refused_and_not_echoed(place: str) -> None:
    with pytest.raises(ConfigError) as e:
        token_source(place)
    assert TOKEN not in str(e.value)


@pytest.mark.parametrize("content", ["", " ", "\n"])
def test_a_missing_token_is_said_by_its_place_unless_it_is_optional(
    content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KIMI_BEAM_TEST_TOKEN", content)
    (tmp_path / "token").write_text(content)
    for place in ("env:KIMI_BEAM_TEST_TOKEN", f"file:{tmp_path / 'token'}"):
        with pytest.raises(ConfigError, match=place.partition(":")[2]):
            read_token(token_source(place))
        assert read_token(token_source(place, optional=True)) is None
    monkeypatch.delenv("KIMI_BEAM_TEST_TOKEN")
    assert read_token(token_source("env:KIMI_BEAM_TEST_TOKEN", optional=True)) is None


def test_a_file_that_cannot_be_read_is_an_error_even_where_a_token_is_optional(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + TOKEN.encode())
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (tmp_path / "binary", "UTF-8")):
        with pytest.raises(ConfigError, match=reason) as e:
            read_token(token_source(f"file:{path}", optional=True))
        assert TOKEN not in str(e.value)
        assert e.value.__suppress_context__, "a traceback would show what the file holds"


@pytest.mark.parametrize("bad", [f"{TOKEN}\nHost: evil", f"{TOKEN}é", f"{TOKEN}\x00", f"{TOKEN}\x7f"])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(bad: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(bad, encoding="utf-8")
    with pytest.raises(ConfigError) as e:
        read_token(token_source(f"file:{tmp_path / 'token'}"))
    assert TOKEN not in str(e.value)


def test_a_secret_managers_handle_is_asked_when_the_token_is_needed() -> None:
    vault = Vault(f"{TOKEN}\n".encode())
    assert isinstance(vault, Secret)
    source = token_source(vault)
    assert source is vault
    assert read_token(source) == TOKEN


@pytest.mark.parametrize("failure", [RuntimeError(f"403 for {TOKEN}"), KeyError(TOKEN), OSError(TOKEN)])
def test_whatever_a_secret_manager_raises_is_one_line_without_its_words(failure: Exception) -> None:
    with pytest.raises(ConfigError, match=f"Vault: {type(failure).__name__}") as e:
        read_token(token_source(Vault(failure)))
    assert TOKEN not in str(e.value)
    assert e.value.__suppress_context__


def test_a_secret_that_holds_the_token_itself_would_travel_and_is_refused() -> None:
    with pytest.raises(ConfigError, match="travel") as e:
        token_source(RawSecret(TOKEN))
    assert TOKEN not in str(e.value)


@pytest.mark.parametrize("wrong", [None, 5, b"env:X", ["env:X"], Path("env:X")])
def test_what_is_neither_a_place_nor_a_handle_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError):
        token_source(wrong)  # type: ignore[arg-type]


def test_neither_repr_nor_pickle_holds_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIMI_BEAM_TEST_TOKEN", TOKEN)
    source = token_source("env:KIMI_BEAM_TEST_TOKEN")
    assert read_token(source) == TOKEN
    assert TOKEN not in repr(source)
    assert TOKEN.encode() not in pickle.dumps(source)
    assert pickle.loads(pickle.dumps(source)) == source


# ------------------------------------------------------------------------------------------------ Google's secrets

VERSION = "projects/p/secrets/cloudflare/versions/3"


class Manager:
    """Google's client of its secret manager, as Beam calls it."""

    found: Exception | bytes = b""

    def access_secret_version(self, request: dict[str, str]) -> SimpleNamespace:
        assert request == {"name": VERSION}
        if isinstance(self.found, Exception):
            raise self.found
        return SimpleNamespace(payload=SimpleNamespace(data=self.found))


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> type[Manager]:
    monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", Manager)
    monkeypatch.setattr(Manager, "found", f"{TOKEN}\n".encode())
    return Manager


def test_the_token_is_read_from_googles_secret_manager_as_it_is_now(manager: type[Manager]) -> None:
    source = token_source(f"gcp-secret:{VERSION}")
    assert read_token(source) == TOKEN
    manager.found = b"rotated"
    assert read_token(pickle.loads(pickle.dumps(source))) == "rotated", "it was kept"


@pytest.mark.parametrize("found", [PermissionDenied(TOKEN), b"", b"\xff"])  # type: ignore[no-untyped-call]
def test_a_secret_that_cannot_be_read_is_said_in_one_line(found: Exception | bytes, manager: type[Manager]) -> None:
    manager.found = found
    with pytest.raises(ConfigError) as e:
        read_token(token_source(f"gcp-secret:{VERSION}"))
    assert VERSION in str(e.value)
    assert TOKEN not in str(e.value)
    assert "\n" not in str(e.value)


def test_without_googles_client_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.secretmanager", None)
    monkeypatch.delattr("google.cloud.secretmanager")
    with pytest.raises(ConfigError, match=r"pip install 'kimi-beam\[gcp\]'"):
        read_token(token_source(f"gcp-secret:{VERSION}"))


@pytest.mark.parametrize("version", ["cloudflare", "projects/p/secrets/s", f"{VERSION}/more", TOKEN])
def test_a_secret_is_named_by_its_version(version: str) -> None:
    with pytest.raises(ConfigError, match="versions/latest") as e:
        token_source(f"gcp-secret:{version}")
    assert TOKEN not in str(e.value)
