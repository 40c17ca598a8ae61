"""Which hosts may receive a Copilot token. A wrong yes here gives the token away."""

from typing import Any

import pytest

from copilotapi.upstream.endpoints import EndpointRules, Endpoints, ForeignEndpoint, proxy_host_in, token_fields

GITHUB = EndpointRules("https://github.com", "https://api.github.com")
ENTERPRISE = EndpointRules("https://acme.ghe.com", "https://api.acme.ghe.com")
LOCAL = EndpointRules("http://127.0.0.1:8081", "http://127.0.0.1:8081")
API = "https://api.individual.githubcopilot.com"
COPILOT_TOKEN = f"tid=1;exp=1893456000;proxy-ep=proxy.business.githubcopilot.com;8kp=1:{'0' * 64}"


@pytest.mark.parametrize(
    ("rules", "url"),
    [
        (GITHUB, API),
        (GITHUB, "https://api.githubcopilot.com"),
        (GITHUB, "https://api.business.githubcopilot.com:443"),
        (GITHUB, "https://copilot-proxy.githubusercontent.com"),
        (GITHUB, "HTTPS://API.githubcopilot.COM/Path"),
        (GITHUB, "https://api.github.com"),
        (GITHUB, "https://api.github.com:443/copilot"),
        (ENTERPRISE, "https://copilot-api.acme.ghe.com"),
        (ENTERPRISE, "https://api.acme.ghe.com"),
        (ENTERPRISE, API),
        (LOCAL, "http://127.0.0.1:9999"),
        (LOCAL, "https://127.0.0.1:9999"),
        (LOCAL, API),
        (EndpointRules("http://[::1]:1", "http://[::1]:1"), "http://[::1]:2/capi"),
    ],
)
def test_known_hosts_are_believed(rules: EndpointRules, url: str) -> None:
    assert rules.choose({"api": url + "/"}).api_url == url


@pytest.mark.parametrize(
    ("rules", "url"),
    [
        (GITHUB, "https://evil.example"),
        (GITHUB, "https://githubcopilot.com.evil.example"),
        (GITHUB, "https://evilgithubcopilot.com"),
        (GITHUB, "http://api.githubcopilot.com"),
        (GITHUB, "https://api.githubcopilot.com:8443"),
        (GITHUB, "https://api.githubcopilot.com:99999"),
        (GITHUB, "https://api.githubcopilot.com:x"),
        (GITHUB, "https://api.github.com:8443"),
        (GITHUB, "https://api.githubcopilot.com@evil.example"),
        (GITHUB, "https://user:pw@api.githubcopilot.com"),
        (GITHUB, "https://@api.githubcopilot.com"),
        (GITHUB, "https://evil.example#.githubcopilot.com"),
        (GITHUB, "https://evil.example?.githubcopilot.com"),
        (GITHUB, "https://evil.example\\.githubcopilot.com"),
        (GITHUB, "https://evil.example/.githubcopilot.com"),
        (GITHUB, "https://evil.example%2f.githubcopilot.com"),
        (GITHUB, "https://api.githubcopilot.com/\r\nX-Injected: 1"),
        (GITHUB, "https://api.githubcopilot.com/a b"),
        (GITHUB, "https://api.githubcopilot.com?q=1"),
        (GITHUB, "https://api.githubcopilot.com\u212a.githubcopilot.com"),
        (GITHUB, "https://[::1"),
        (GITHUB, "ftp://api.githubcopilot.com"),
        (GITHUB, "api.githubcopilot.com"),
        (GITHUB, "http://127.0.0.1:80"),
        (GITHUB, "https://copilot-api.acme.ghe.com"),
        (GITHUB, "https://gist.github.com"),
        (ENTERPRISE, "https://copilot-api.other.ghe.com"),
        (ENTERPRISE, "http://api.acme.ghe.com"),
        (LOCAL, "http://localhost:8081"),
        (LOCAL, "http://127.0.0.1:99999"),
        (LOCAL, "http://10.0.0.1:8081"),
        (GITHUB, 7),
        (GITHUB, ["https://api.githubcopilot.com"]),
    ],
)
def test_other_hosts_are_refused_whatever_they_look_like(rules: EndpointRules, url: object) -> None:
    for name in ("api", "proxy"):
        with pytest.raises(ForeignEndpoint):
            rules.choose({"api": API, name: url})


def test_a_refusal_quotes_no_endless_address() -> None:
    with pytest.raises(ForeignEndpoint) as caught:
        GITHUB.choose({"api": "https://" + "a" * 10_000})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("rules", "named", "copilot_token", "chosen"),
    [
        (
            GITHUB,
            {"api": API, "proxy": "https://proxy.individual.githubcopilot.com"},
            COPILOT_TOKEN,
            Endpoints(API, "https://proxy.individual.githubcopilot.com"),
        ),
        (GITHUB, {"api": API}, "", Endpoints(API)),
        (GITHUB, {"api": API}, COPILOT_TOKEN, Endpoints(API, "https://proxy.business.githubcopilot.com")),
        (
            GITHUB,
            {},
            COPILOT_TOKEN,
            Endpoints("https://api.business.githubcopilot.com", "https://proxy.business.githubcopilot.com"),
        ),
        (LOCAL, {}, "", Endpoints("http://127.0.0.1:8081")),
        (LOCAL, {"api": None}, "a token that names nothing", Endpoints("http://127.0.0.1:8081")),
    ],
    ids=["endpoints first", "no proxy", "proxy from the token", "both from the token", "loopback", "loopback, null"],
)
def test_the_order_of_trust(rules: EndpointRules, named: dict[str, Any], copilot_token: str, chosen: Endpoints) -> None:
    assert rules.choose(named, copilot_token) == chosen


def test_an_override_wins_and_is_not_checked() -> None:
    rules = EndpointRules("https://github.com", "https://api.github.com", "http://anywhere:1", "http://anywhere:2")
    foreign = {"api": "https://evil.example", "proxy": "https://evil.example"}
    assert rules.choose(foreign) == Endpoints("http://anywhere:1", "http://anywhere:2")


@pytest.mark.parametrize("rules", [GITHUB, ENTERPRISE])
def test_a_public_host_is_never_guessed(rules: EndpointRules) -> None:
    with pytest.raises(ForeignEndpoint, match="COPILOT_API_URL"):
        rules.choose({})


def test_a_host_inside_the_token_is_checked_like_any_other() -> None:
    with pytest.raises(ForeignEndpoint):
        GITHUB.choose({}, "tid=1;proxy-ep=proxy.evil.example:0")


def test_a_token_is_read_up_to_its_signature() -> None:
    copilot_token = "tid=1;sku=a=b;proxy-ep=proxy.individual.githubcopilot.com;st:proxy-ep=other;x=y"
    assert token_fields(copilot_token) == {
        "tid": "1",
        "sku": "a=b",
        "proxy-ep": "proxy.individual.githubcopilot.com",
        "st": "",
    }
    assert proxy_host_in(copilot_token) == "proxy.individual.githubcopilot.com"
    assert proxy_host_in("gho_without_fields") == ""
