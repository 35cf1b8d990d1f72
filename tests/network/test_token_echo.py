"""A service may echo a token, and a proxy may read it: it gets into no file, onto no screen and to no proxy."""

from __future__ import annotations

import base64
import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from harness import receipts
from hypothesis import given
from hypothesis import strategies as st
from running_cli import SCHEMA, run
from scripted import Asked, Scripted, completion, reply

import kimi_beam as kb
from kimi_beam.errors import ConfigError
from kimi_beam.network.client import Client
from kimi_beam.network.redaction import Redaction
from kimi_beam.wire.envelopes import HttpReply, NoReply

TOKEN = "cfTok-en_4f9a/Z+21=xyz"
ACCOUNT = "0123456789abcdef0123456789abcdef"
SPELLINGS = {
    "itself": TOKEN,
    "base64": base64.b64encode(TOKEN.encode()).decode(),
    "base64 of the header": base64.b64encode(f"Authorization: Bearer {TOKEN}".encode()).decode(),
    "base64 of the value": base64.b64encode(f"Bearer {TOKEN}\r\n".encode()).decode(),
    "urlsafe base64": base64.urlsafe_b64encode(f"x{TOKEN}".encode()).decode(),
    "percent": urllib.parse.quote(TOKEN, safe=""),
    "percent in small letters": urllib.parse.quote(TOKEN, safe="")
    .replace("%2F", "%2f")
    .replace("%2B", "%2b")
    .replace("%3D", "%3d"),
    "percent twice": urllib.parse.quote(urllib.parse.quote(TOKEN, safe=""), safe=""),
    "percent for each character": "".join(f"%{byte:02X}" for byte in TOKEN.encode()),
    "hexadecimal": TOKEN.encode().hex(),
    "hexadecimal in large letters": TOKEN.encode().hex().upper(),
    "small letters": TOKEN.lower(),
    "large letters": TOKEN.upper(),
    "letters the other way round": TOKEN.swapcase(),
    "percent in other letters": urllib.parse.quote(TOKEN, safe="").swapcase(),
}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def betrayed(text: str | bytes) -> list[str]:
    """The spellings of the token that a text holds; of those in base64 the part that the token alone decides."""
    text = text.encode() if isinstance(text, str) else text
    sure = {name: spelling[12:-6] if "base64" in name else spelling for name, spelling in SPELLINGS.items()}
    return [name for name, spelling in sure.items() if spelling.encode() in text]


# ------------------------------------------------------------------------------------------------ what comes back


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_no_part_of_a_reply_holds_the_token(spelling: str) -> None:
    clean = Redaction([TOKEN]).of_exchange(
        HttpReply(400, f"a {spelling} b".encode(), spelling, spelling, spelling, spelling, location=f"/?t={spelling}")
    )
    assert not betrayed(repr(clean))
    assert not betrayed(repr(Redaction([TOKEN]).of_exchange(NoReply(True, f"bad header {spelling}"))))


@given(st.lists(st.sampled_from([0, 1, 2, 4]), min_size=len(TOKEN), max_size=len(TOKEN)))
def test_json_may_escape_any_letter_of_it_as_often_as_it_likes(escapes: list[int]) -> None:
    spelled = "".join(c if not n else "\\" * n + f"u{ord(c):04x}" for c, n in zip(TOKEN, escapes, strict=True))
    body = b'{"message":"%s"}' % spelled.encode()
    clean = Redaction([TOKEN]).of_bytes(body)
    assert json.loads(clean) == {"message": "********"}


def test_what_is_no_secret_and_what_is_no_token_stay_as_they_are() -> None:
    body = b'{"a": "none of t0ken \\u00e9 \\u0041 \\/"}'
    assert Redaction(["none", "t0ken", "password", ""]).of_bytes(body) == body
    assert Redaction([TOKEN]).of_bytes(body) == body
    assert TOKEN not in repr(Redaction([TOKEN]))


def echoing(asked: Asked) -> bytes:
    """Echoes the token wherever a reply has room for it, and refuses some documents with its words."""
    header = asked.headers["authorization"].removeprefix("Bearer ")
    other = base64.b64encode(asked.headers["authorization"].encode()).decode()
    told: dict[str, Any] = {"cf_ai_req_id": header, "ratelimit": header, "server": header}
    wanted = asked.json
    escaped = "".join(f"\\u{ord(c):04x}" for c in header)
    if "requests" in wanted:
        names = [request["external_reference"] for request in wanted["requests"]]
        return reply({"result": {"request_id": ",".join(names) + f"|{header}"}, "success": True}, **told)
    if "request_id" in wanted:
        names = wanted["request_id"].partition("|")[0].split(",")
        if len(names) == 1 and "-" not in names[0][8:]:
            body = b'{"success":false,"errors":[{"code":5504,"message":"no job for %s"}]}' % escaped.encode()
            return reply(body, 404, **told)
        items: list[Any] = []
        for number, name in enumerate(names):
            answer = completion(json.dumps({"company": "A", "total": "1"}), model=f"m {header}")
            failed = {"error": {"code": 5001, "message": f"Bearer {header} {other}"}, "success": False}
            bad = completion(f"not json but {header}", id=header)
            results = [{"result": answer}, failed, {"result": bad}, {"result": completion("", model=other)}]
            items.append({"external_reference": name, **results[number % 4]})  # type: ignore[dict-item]
        items.append({"external_reference": header, "result": {"errors": header}})
        return reply({"result": {"results": items}, "success": True}, **told)
    if len(asked.body) % 3:
        return reply(completion(f"not json but {header}", model=other), **told)
    return reply({"success": False, "errors": [{"code": 3003, "message": f"who is {header}"}]}, 400, **told)


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_a_service_that_echoes_the_token_gets_it_into_no_file_and_onto_no_screen(
    api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.dumps({"id": d.id, "text": d.text + "x" * n}) for n, d in enumerate(receipts(24))]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    with Scripted(echoing) as server:
        flags: tuple[str, ...] = (
            "--base-url",
            server.url,
            "--api",
            api,
            "--poll-interval",
            "0.05:0.2",
            "--preview",
            "3",
        )
        if api != "batch":
            flags += ("--no-preflight",)
        command = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--output", tmp_path / "out", *flags)
        code, out, err = run(*command, capsys=capsys)
    assert any(TOKEN in asked.headers["authorization"] for asked in server.asked)
    assert code == 0, err
    assert not betrayed(out + err)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        assert not betrayed(path.read_bytes()), path.name


def test_an_error_that_ends_the_run_does_not_repeat_the_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def turned_away(asked: Asked) -> bytes:
        return reply({"success": False, "errors": [{"code": 10000, "message": f"bad {TOKEN}"}]}, 401)

    (tmp_path / "a.txt").write_text("text")
    with Scripted(turned_away) as server:
        for preflight in ((), ("--no-preflight",)):
            command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out")
            code, out, err = run(*command, "--base-url", server.url, *preflight, capsys=capsys)
            assert code in (1, 2)
            assert "********" in err
            assert not betrayed(out + err)


# ------------------------------------------------------------------------------------------------ where it goes


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_service_on_this_machine_is_not_asked_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(lambda _: reply({})) as proxy, Scripted(lambda _: reply({})) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        client = Client(kb.WorkersAI(ACCOUNT, base_url=server.url.replace("127.0.0.1", host)))
        try:
            client.submit([b"{}"])
        finally:
            client.close()
    assert (len(server.asked), proxy.asked, proxy.connections) == (1, [], 0), "the token went to the proxy in the clear"


@pytest.mark.parametrize(
    "where",
    [
        {"base_url": "http://kimi.example.com/v4"},
        {"base_url": "http://93.184.216.34"},
        {"openai_url": "http://models.example.com/v1"},
        {"gateway": {"in_url": True, "host": "http://gateway.example.com/v1"}},
    ],
)
@pytest.mark.parametrize("through_proxy", [False, True])
def test_no_token_goes_to_another_host_or_a_proxy_where_it_can_be_read_on_the_way(
    where: dict[str, Any], through_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if through_proxy:
        monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    gateway = where.get("gateway")
    where = {**where, "gateway": kb.Gateway("g", **gateway)} if gateway else where
    service = kb.WorkersAI(ACCOUNT, token_from="env:CLOUDFLARE_API_TOKEN", **where)
    assert TOKEN not in str(service.authorization()), "the default variable is for Cloudflare and for this machine"
    monkeypatch.setenv("OTHER_TOKEN", TOKEN)
    with pytest.raises(ConfigError, match="https") as e:
        kb.WorkersAI(ACCOUNT, token_from="env:OTHER_TOKEN", **where).authorization()
    assert TOKEN not in str(e.value)


def test_a_gateways_token_is_guarded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", TOKEN)
    gateway = kb.Gateway("g", in_url=True, host="http://gateway.example.com/v1", token_from="env:GATEWAY_TOKEN")
    with pytest.raises(ConfigError, match="https"):
        kb.WorkersAI(ACCOUNT, gateway=gateway).authorization()


def test_in_a_network_of_ones_own_a_token_is_sent_directly_and_never_by_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTHER_TOKEN", TOKEN)
    service = kb.WorkersAI(openai_url="http://10.1.2.3:8000/v1", model="m", token_from="env:OTHER_TOKEN")
    assert TOKEN in str(service.authorization())
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
    with pytest.raises(ConfigError, match=r"NO_PROXY=10\.1\.2\.3"):
        service.authorization()
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
    assert TOKEN in str(service.authorization())


def test_the_command_line_refuses_it_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_TOKEN", TOKEN)
    (tmp_path / "a.txt").write_text("text")
    with Scripted(lambda _: reply({})) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        for more in ((), ("--no-preflight",)):
            flags = ("--base-url", "http://kimi.example.com", "--token-from", "env:OTHER_TOKEN", *more)
            command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", *flags)
            code, _, err = run(*command, capsys=capsys)
            assert code == 2
            assert "https" in err
            assert len(err.strip().splitlines()) == 1
        assert proxy.connections == 0


def test_a_proxys_password_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(asked: Asked) -> bytes:
        return reply({"seen": dict(asked.headers)}, 407)

    with Scripted(refusing) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://me:s3cret%2Fword@"))
        client = Client(kb.WorkersAI(ACCOUNT, base_url="http://kimi.example.com"))
        try:
            (came,) = client.submit([b"{}"])
        finally:
            client.close()
    sent = proxy.asked[0].headers["proxy-authorization"]
    assert sent == "Basic " + base64.b64encode(b"me:s3cret/word").decode()
    assert "s3cret" not in repr(came)
    assert sent.partition(" ")[2] not in repr(came)
