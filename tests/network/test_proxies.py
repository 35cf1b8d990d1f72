"""Which proxy leads to a host: by the environment, and never to this machine itself."""

from __future__ import annotations

import pytest

from kimi_beam.errors import ConfigError
from kimi_beam.service.proxies import is_loopback, is_private, proxy_of

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost.localdomain", "ip6-localhost", "localhost6"),
        *("localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.9.8.7", "127.1", "0x7f000001"),
        *("2130706433", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"),
    ],
)
def test_this_machine_is_never_asked_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, "http://proxy.example:3128")
    assert proxy_of(f"http://{host}:8787/v4") is None, "the token would go to the proxy in the clear"
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "1270.example", "128.0.0.1", "10.0.0.1", "[::2]", "127"])
def test_other_hosts_are_not_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://api.example", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https://api.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://api.example", None),
        ({"ALL_PROXY": "http://p:1"}, "https://api.example", "http://p:1"),
        ({"all_proxy": "http://p:1"}, "http://api.example", "http://p:1"),
        ({"ALL_PROXY": "http://all:1", "HTTPS_PROXY": "http://p:1"}, "https://api.example", "http://p:1"),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://api.example", "http://proxy.example:3128"),
        ({"HTTPS_PROXY": ""}, "https://api.example", None),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy


@pytest.mark.parametrize(
    ("excepted", "url", "direct"),
    [
        ("*", "https://api.example", True),
        ("api.example", "https://api.example", True),
        ("example", "https://api.example", True),
        (".example", "https://api.example", True),
        ("*.example", "https://api.example", True),
        ("API.Example", "https://api.example", True),
        ("other, api.example", "https://api.example", True),
        ("other api.example", "https://api.example", True),
        ("pi.example", "https://api.example", False),
        ("api.example:8443", "https://api.example:8443", True),
        ("api.example:8443", "https://api.example", False),
        ("api.example:443", "https://api.example", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("2.3", "https://10.1.2.3", False),
        ("fd00::/8", "https://[fd00::7]", True),
        ("::7", "https://[::7]", True),
        ("/,:,", "https://api.example", False),
    ],
)
def test_no_proxy_names_what_is_reached_directly(
    excepted: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (proxy_of(url) is None) == direct


@pytest.mark.parametrize(
    "value", ["socks5://u:s3cretword@p:1", "socks5h://p:1", "ftp://p", "http://", "http://[", "http://p:x"]
)
def test_an_unusable_proxy_is_an_error_that_names_its_variable_and_not_its_password(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(ConfigError, match=r"^ALL_PROXY: ") as e:
        proxy_of("https://api.example")
    assert "s3cretword" not in str(e.value)
    assert proxy_of("http://127.0.0.1:8787") is None, "what is not used is no mistake"


def test_hosts_of_a_network_of_ones_own() -> None:
    assert all(map(is_private, ["10.0.0.1", "192.168.1.4", "vllm", "gpu.local", "v.ns.svc.cluster.local", "fd00::1"]))
    assert not any(map(is_private, ["8.8.8.8", "api.example.com", "local.example.com"]))
