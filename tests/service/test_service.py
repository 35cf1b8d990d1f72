"""Where requests go and what they carry: every URL and header of the contract, and no token where none belongs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from kimi_beam.errors import ConfigError
from kimi_beam.service.credentials import ACCOUNT_VARIABLE, TOKEN_VARIABLE
from kimi_beam.service.gateway import Gateway
from kimi_beam.service.workers_ai import CLOUDFLARE, WorkersAI
from kimi_beam.wire.service_errors import ServiceError

ACCOUNT = "0123456789abcdef0123456789abcdef"
MODEL = "@cf/moonshotai/kimi-k2.6"
ROOT = f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai"
OLDER = f"https://gateway.ai.cloudflare.com/v1/{ACCOUNT}/my-gw/workers-ai"
TOKEN, GATEWAY_TOKEN = "cfut_the-token-itself", "cfgw_the-gateways-own"


def service(**more: Any) -> WorkersAI:
    return WorkersAI(ACCOUNT, **more)


# ------------------------------------------------------------------------------------------------ URLs


@pytest.mark.parametrize("gateway", [None, "my-gw", Gateway("my-gw"), Gateway("default")])
def test_without_a_gateway_and_with_one_in_a_header_the_urls_are_cloudflares(gateway: Any) -> None:
    where = service(gateway=gateway)
    assert where.run_url == f"{ROOT}/run/{MODEL}"  # the model unescaped
    assert where.queue_url == f"{ROOT}/run/{MODEL}?queueRequest=true"
    assert where.chat_url == f"{ROOT}/v1/chat/completions"
    assert where.root == CLOUDFLARE


def test_the_older_form_of_a_gateway_stands_in_the_url() -> None:
    where = service(gateway=Gateway("my-gw", in_url=True))
    assert where.run_url == f"{OLDER}/{MODEL}"
    assert where.queue_url == f"{OLDER}/{MODEL}?queueRequest=true"
    assert where.chat_url == f"{OLDER}/v1/chat/completions"
    assert where.root == "https://gateway.ai.cloudflare.com/v1"
    own = service(gateway=Gateway("my-gw", in_url=True, host="http://127.0.0.1:1/v1/"))
    assert own.run_url == f"http://127.0.0.1:1/v1/{ACCOUNT}/my-gw/workers-ai/{MODEL}"


@pytest.mark.parametrize("base", ["http://127.0.0.1:8787/client/v4", "http://127.0.0.1:8787/client/v4/"])
def test_a_service_of_ones_own_is_asked_at_its_own_root(base: str) -> None:
    where = service(base_url=base)
    assert where.run_url == f"http://127.0.0.1:8787/client/v4/accounts/{ACCOUNT}/ai/run/{MODEL}"


@pytest.mark.parametrize("url", ["http://localhost:11434/v1", "http://localhost:11434/v1/"])
def test_another_server_of_openais_protocol_has_the_chat_alone(url: str) -> None:
    where = WorkersAI(openai_url=url, model="llama3")
    assert (where.api, where.account_id, where.is_elsewhere) == ("chat", "", True)
    assert where.chat_url == "http://localhost:11434/v1/chat/completions"
    assert where.headers(queued=False) == {}


# ------------------------------------------------------------------------------------------------ headers


def test_no_header_is_a_gateways_without_one() -> None:
    assert service().headers(queued=True) == service().headers(queued=False) == {}


def test_a_gateway_is_named_in_a_header_unless_it_stands_in_the_url() -> None:
    once = {"cf-aig-max-attempts": "1"}
    assert service(gateway="my-gw").headers(queued=False) == {"cf-aig-gateway-id": "my-gw", **once}
    assert service(gateway=Gateway("my-gw", in_url=True)).headers(queued=False) == once


@pytest.mark.parametrize("in_url", [False, True])
@pytest.mark.parametrize("ttl", [None, 60, 2_678_400])
@pytest.mark.parametrize("skip", [False, True])
def test_a_poll_is_never_answered_from_a_cache_whatever_a_gateway_is_set_to(
    in_url: bool, ttl: int | None, skip: bool
) -> None:
    gateway = Gateway("my-gw", in_url=in_url, cache_ttl=ttl, skip_cache=skip)
    queued = service(gateway=gateway).headers(queued=True)
    assert queued["cf-aig-skip-cache"] == "true"
    assert "cf-aig-cache-ttl" not in queued
    run = service(gateway=gateway, api="run").headers(queued=False)
    assert ("cf-aig-skip-cache" in run) is skip
    assert run.get("cf-aig-cache-ttl") == (str(ttl) if ttl and not skip else None)


def test_metadata_travels_as_flat_json_that_any_header_can_carry() -> None:
    metadata = {"team": "Zoë\n", "n": 1, "f": 0.5, "ok": True}
    header = service(gateway=Gateway("g", metadata=metadata)).headers(queued=False)["cf-aig-metadata"]  # type: ignore[arg-type]
    assert json.loads(header) == metadata
    assert header.isascii()
    assert header.isprintable()


# ------------------------------------------------------------------------------------------------ tokens


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.setenv("GATEWAY_TOKEN", GATEWAY_TOKEN)


@pytest.mark.usefixtures("tokens")
def test_each_token_goes_into_its_own_header_and_is_read_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    where = service(gateway=Gateway("g", token_from="env:GATEWAY_TOKEN"))
    expected = {"Authorization": f"Bearer {TOKEN}", "cf-aig-authorization": f"Bearer {GATEWAY_TOKEN}"}
    assert where.authorization() == expected
    monkeypatch.setenv("GATEWAY_TOKEN", "rotated")
    assert where.authorization()["cf-aig-authorization"] == "Bearer rotated"
    assert service(gateway=Gateway("g")).authorization() == {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.usefixtures("tokens")
@pytest.mark.parametrize(
    "more", [{}, {"gateway": Gateway("g", token_from="env:GATEWAY_TOKEN")}, {"token_from": "env:GATEWAY_TOKEN"}]
)
def test_no_token_is_shown_or_travels(more: Any) -> None:
    where = service(**more)
    where.authorization()  # once read, it must not stay
    told = (
        repr(where) + repr(where.gateway) + str(vars(where)) + str(where.account_error(ServiceError(401, 10000, "No.")))
    )
    for token in (TOKEN, GATEWAY_TOKEN):
        assert token not in told
        assert token.encode() not in pickle.dumps(where)
    other = pickle.loads(pickle.dumps(where))
    assert (other, other.queue_url, other.headers(queued=True)) == (where, where.queue_url, where.headers(queued=True))
    assert other.authorization() == where.authorization()


@pytest.mark.usefixtures("tokens")
def test_cloudflares_token_goes_to_cloudflare_and_to_this_machine_alone() -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert service().authorization() == bearer
    assert service(gateway=Gateway("g", in_url=True)).authorization() == bearer
    assert service(base_url="http://127.0.0.1:1/v4").authorization() == bearer
    elsewhere = service(base_url="https://evil.example/client/v4")
    assert TOKEN not in str(elsewhere.authorization())
    fake = service(gateway=Gateway("g", in_url=True, host="https://evil.example/v1"))
    assert TOKEN not in str(fake.authorization())
    for url in ("http://localhost:11434/v1", "https://evil.example/v1"):
        assert WorkersAI(openai_url=url, model="m").authorization() == {}
    named = WorkersAI(openai_url="https://own.example/v1", model="m", token_from="env:GATEWAY_TOKEN")
    assert named.authorization() == {"Authorization": f"Bearer {GATEWAY_TOKEN}"}


def test_a_token_given_itself_is_refused_and_not_echoed() -> None:
    for make in (lambda: service(token_from=TOKEN), lambda: Gateway("g", token_from=TOKEN)):
        with pytest.raises(ConfigError) as e:
            make()
        assert TOKEN not in str(e.value)


def test_a_missing_token_of_a_gateway_is_said_by_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.delenv("GATEWAY_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="GATEWAY_TOKEN"):
        service(gateway=Gateway("g", token_from="env:GATEWAY_TOKEN")).authorization()
    with pytest.raises(ConfigError, match="nowhere"):
        service(gateway=Gateway("g", token_from=f"file:{tmp_path}/nowhere")).authorization()


# ------------------------------------------------------------------------------------------------ pace


@pytest.mark.parametrize(
    ("more", "pace"),
    [
        ({}, 20),
        ({"api": "run"}, 20),
        ({"gateway": "g"}, 20),
        ({"gateway": Gateway("g", in_url=True)}, 20),
        ({"base_url": "http://127.0.0.1:1/v4"}, None),
        ({"base_url": "https://api.cloudflare.com.example/v4"}, None),
        ({"gateway": Gateway("g", in_url=True, host="http://127.0.0.1:1/v1")}, None),
        ({"openai_url": "http://localhost:1/v1", "model": "m"}, None),
        ({"requests_per_minute": 50}, 50),
        ({"requests_per_minute": 0}, None),
        ({"requests_per_minute": 7, "base_url": "http://127.0.0.1:1/v4"}, 7),
    ],
)
def test_twenty_a_minute_is_cloudflares_own_limit(more: Any, pace: int | None) -> None:
    assert service(**more).pace == pace


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"openai_url": "http://x/v1", "model": "m", "base_url": "http://y/v4"}, "openai_url"),
        ({"openai_url": "http://x/v1", "model": "m", "gateway": "g"}, "openai_url"),
        ({"openai_url": "http://x/v1", "model": "m", "fallback_api": "run"}, "openai_url"),
        ({"openai_url": "http://x/v1", "model": "m", "api": "run"}, "chat API alone"),
        ({"openai_url": "localhost:11434/v1", "model": "m"}, "openai_url"),
        ({"openai_url": "http://user:pw@x/v1", "model": "m"}, "openai_url"),
        ({"api": "stream"}, "api"),
        ({"api": ""}, "api"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"fallback_api": "chat"}, "fallback_api"),
        ({"model": "../../zones"}, "model"),
        ({"model": "a?b"}, "model"),
        ({"gateway": "a/b"}, "gateway"),
        ({"gateway": ""}, "gateway"),
        ({"base_url": "https://user:pw@api.cloudflare.com/v4"}, "base_url"),
    ],
)
def test_settings_that_contradict_or_cannot_be_are_refused_in_one_line(more: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as e:
        service(**more)
    assert "\n" not in str(e.value)
    assert "pw" not in str(e.value).replace("a URL with a password", "")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"id": ""}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": ".."}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"cache_ttl": 59}, "cache_ttl"),
        ({"cache_ttl": 31 * 86_400 + 1}, "cache_ttl"),
        ({"metadata": {str(n): n for n in range(6)}}, "metadata"),
        ({"metadata": {"a": None}}, "metadata"),
        ({"metadata": {"a": [1]}}, "metadata"),
        ({"host": "gateway.ai.cloudflare.com"}, "host"),
        ({"host": "https://a:b@x/v1"}, "host"),
        ({"token_from": "secret"}, "token"),
    ],
)
def test_a_gateway_that_cannot_be_is_refused(more: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Gateway(**{"id": "g", **more})


@pytest.mark.parametrize("name", ["default", "my-gw", "a_b.c", "x" * 64])
def test_gateways_of_usual_names_are_taken(name: str) -> None:
    assert service(gateway=name).gateway == Gateway(name)
    assert {hash(service(gateway=name)), hash(service(gateway=Gateway(name)))} == {hash(service(gateway=name))}


def test_the_environment_gives_account_and_token_and_another_server_needs_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.delenv(ACCOUNT_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"{ACCOUNT_VARIABLE} and {TOKEN_VARIABLE}"):
        WorkersAI.from_env()
    monkeypatch.setenv(ACCOUNT_VARIABLE, ACCOUNT)
    with pytest.raises(ConfigError, match=TOKEN_VARIABLE):
        WorkersAI.from_env()
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    where = WorkersAI.from_env(api="run", gateway="g", requests_per_minute=50)
    assert where == service(api="run", gateway=Gateway("g"), requests_per_minute=50)
    monkeypatch.delenv(ACCOUNT_VARIABLE)
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert WorkersAI.from_env(openai_url="http://localhost:1/v1", model="m").authorization() == {}
    assert WorkersAI.from_env(base_url="http://127.0.0.1:1/v4").queue_url.startswith("http://127.0.0.1:1/v4/accounts/")


def test_what_was_turned_away_is_named() -> None:
    told = str(service().account_error(ServiceError(403, 5035, "No.")))
    assert MODEL in told
    assert ACCOUNT in told
    assert "\n" not in told
    other = WorkersAI(openai_url="http://localhost:1/v1", model="m").account_error(ServiceError(401, None, "No."))
    assert "http://localhost:1/v1" in str(other)
    assert "Workers AI" not in str(other)
