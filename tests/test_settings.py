"""Settings are read strictly, once, and all that is wrong is said at once, without a secret."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from copilotapi.settings import Settings, SettingsError, configuration_page, env_example

ROOT = Path(__file__).parent.parent
FERNET_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
CANARY = "c4n4ryC4N4RYc4n4ry"


def read(dotenv: Path | None = None, **environ: str) -> Settings:
    return Settings.from_env({"HOME": "/home/somebody", **environ}, dotenv=dotenv)


def problems_of(dotenv: Path | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(dotenv, **environ)
    return caught.value.problems


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


BAD = [
    # One value by itself.
    ({"PORT": "80a"}, "PORT: must be a whole number"),
    ({"PORT": "1_000"}, "PORT: must be a whole number"),
    ({"PORT": " 80"}, "PORT: must be a whole number"),
    ({"PORT": "65536"}, "PORT: must be less than or equal to 65535"),
    ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY: must be greater than or equal to 1"),
    ({"RATE_LIMIT_PER_MINUTE": "-1"}, "RATE_LIMIT_PER_MINUTE: must be a whole number"),
    ({"TRUSTED_PROXY_COUNT": "*"}, "TRUSTED_PROXY_COUNT: must be a whole number"),
    ({"IDLE_TIMEOUT": "0"}, "IDLE_TIMEOUT: must be greater than 0"),
    ({"IDLE_TIMEOUT": "inf"}, "IDLE_TIMEOUT: must be a number of seconds"),
    ({"CONNECT_TIMEOUT": "5s"}, "CONNECT_TIMEOUT: must be a number of seconds"),
    ({"REQUIRE_AUTH": "enabled"}, "REQUIRE_AUTH: must be true or false"),
    ({"LOG_LEVEL": "loud"}, "LOG_LEVEL: must be 'DEBUG', 'INFO'"),
    ({"LOG_FORMAT": "xml"}, "LOG_FORMAT: must be 'json' or 'console'"),
    ({"LOG_FILE": "/nowhere/at/all/gateway.log"}, "LOG_FILE: must name a file in an existing folder"),
    ({"TIKTOKEN_CACHE_DIR": "~/vocabularies"}, "TIKTOKEN_CACHE_DIR: must be a path"),
    ({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, "REQUESTS_CA_BUNDLE: there is no such file"),
    ({"HOST": "http://127.0.0.1"}, "HOST: must be a host name or an IP address"),
    ({"ALLOWED_HOSTS": "gateway:8000"}, "ALLOWED_HOSTS (item 1): must be a host name"),
    ({"ALLOWED_HOSTS": "a,https://gateway"}, "ALLOWED_HOSTS (item 2): must be a host name"),
    ({"ALLOWED_HOSTS": "*.example.com"}, "ALLOWED_HOSTS (item 1): must be a host name"),
    ({"ALLOWED_HOSTS": "a,,b"}, "ALLOWED_HOSTS: has an empty item"),
    ({"ALLOW_ORIGINS": "https://app.example/"}, "ALLOW_ORIGINS (item 1): must be an exact"),
    ({"ALLOW_ORIGINS": "https://*.example"}, "ALLOW_ORIGINS (item 1): must be an exact"),
    ({"ALLOW_ORIGINS": "app.example"}, "ALLOW_ORIGINS (item 1): must be an exact"),
    ({"ALLOW_ORIGINS": "null"}, "ALLOW_ORIGINS (item 1): must be an exact"),
    ({"GITHUB_URL": "http://github.example"}, "GITHUB_URL: must be https://"),
    ({"GITHUB_API_URL": "http://127.0.0.1.example"}, "GITHUB_API_URL: must be https://"),
    ({"COPILOT_API_URL": "http://10.0.0.1:80"}, "COPILOT_API_URL: must be https://"),
    ({"COPILOT_PROXY_URL": "ftp://localhost"}, "COPILOT_PROXY_URL: must be an http:// or https:// URL"),
    ({"COPILOT_API_URL": f"https://u:{CANARY}@host"}, "COPILOT_API_URL: must be a URL without user information"),
    ({"COPILOT_API_URL": f"https://host?key={CANARY}"}, "COPILOT_API_URL: must be a URL without user information"),
    ({"COPILOT_API_URL": f"https://{CANARY}:port"}, "COPILOT_API_URL: is not a valid URL"),
    ({"COPILOT_API_URL": "https://ho st"}, "COPILOT_API_URL: must be a URL without blanks"),
    ({"HTTPS_PROXY": f"socks5://u:{CANARY}@proxy:1"}, "HTTPS_PROXY: must be an http:// or https:// URL"),
    ({"HTTPS_PROXY": f"http://u:{CANARY}@proxy:1/path"}, "HTTPS_PROXY: must be http://[user:password@]host:port"),
    ({"EDITOR_VERSION": "vscode/1\r\nX: 1"}, "EDITOR_VERSION: must be printable ASCII"),
    ({"GITHUB_CLIENT_ID": "Iv1.é"}, "GITHUB_CLIENT_ID: must be printable ASCII"),
    ({"DEFAULT_MODEL": "gpt 4"}, "DEFAULT_MODEL: must be one word"),
    ({"MODEL_ALIASES": "a"}, "MODEL_ALIASES: must be name=model"),
    ({"MODEL_ALIASES": "a=b,=c"}, "MODEL_ALIASES: must be name=model"),
    ({"MODEL_ALIASES": "a=b,a=c"}, "MODEL_ALIASES: names an alias twice"),
    ({"MODEL_ALIASES": "a=b,b=c,c=a"}, "MODEL_ALIASES: has an alias that leads back"),
    ({"COMPLETION_HANDLER": "handler.py"}, "COMPLETION_HANDLER: must be package.module:function"),
    ({"REDIS_URL": f"http://:{CANARY}@host"}, "REDIS_URL: must be redis://"),
    ({"REDIS_URL": f"redis://:{CANARY}#@host"}, "REDIS_URL: is not a valid URL; in a password"),
    ({"REDIS_URL": f"redis://:{CANARY}@host/db"}, "REDIS_URL: must be redis://[user"),
    ({"REDIS_URL": "memory://somewhere"}, "REDIS_URL: must be exactly memory://"),
    ({"REDIS_URL": "unix://"}, "REDIS_URL: must be unix:///path"),
    ({"REDIS_URL": f"rediss://:{CANARY}@host?ssl_cert_reqs=none"}, "REDIS_URL: must not switch certificate checks off"),
    ({"TOKEN_ENCRYPTION_KEY": CANARY}, "TOKEN_ENCRYPTION_KEY (item 1): must be a Fernet key"),
    ({"TOKEN_ENCRYPTION_KEY": f"{FERNET_KEY},{FERNET_KEY[:-2]}"}, "TOKEN_ENCRYPTION_KEY (item 2): must be a Fernet key"),
    ({"GITHUB_COPILOT_TOKEN": f"ghp_{CANARY}"}, "GITHUB_COPILOT_TOKEN: is a classic token (ghp_), which Copilot refuses"),
    ({"GITHUB_COPILOT_TOKEN": f"gho_{CANARY} "}, "GITHUB_COPILOT_TOKEN: must not hold blanks"),
    ({"GITHUB_COPILOT_TOKEN": f"gho_{CANARY}\x00"}, "GITHUB_COPILOT_TOKEN: must not hold blanks"),
    ({"API_KEYS": f"{CANARY}, a {CANARY}"}, "API_KEYS (item 2): must not hold blanks"),
    ({"API_KEYS": f"é{CANARY}"}, "API_KEYS (item 1): must not hold blanks, control or non-ASCII"),
    ({"API_KEYS": f"{CANARY},"}, "API_KEYS: has an empty item"),
    ({"API_KEYS": "changeme"}, "API_KEYS (item 1): still holds an example value"),
    ({"ADMIN_KEY": "your-admin-key"}, "ADMIN_KEY: still holds an example value"),
    # Values that do not go together.
    ({"HOST": "0.0.0.0"}, "HOST: is reachable from other machines; set API_KEYS"),
    ({"HOST": "::", "ADMIN_KEY": CANARY}, "HOST: is reachable from other machines; set API_KEYS (ADMIN_KEY alone"),
    ({"HOST": "gateway.example"}, "HOST: is reachable from other machines"),
    ({"ALLOW_ORIGINS": "*"}, "ALLOW_ORIGINS: * needs a loopback HOST and"),
    ({"ALLOW_ORIGINS": "*", "HOST": "0.0.0.0", "API_KEYS": CANARY}, "ALLOW_ORIGINS: * needs a loopback HOST and"),
    ({"ALLOW_ORIGINS": "*,https://a.example", "API_KEYS": CANARY}, "ALLOW_ORIGINS: has * beside other origins"),
    ({"API_KEYS": f"{CANARY},{CANARY}"}, "API_KEYS: holds the same key twice"),
    ({"API_KEYS": f"other,{CANARY}", "ADMIN_KEY": CANARY}, "ADMIN_KEY: is also one of API_KEYS"),
    ({"REQUIRE_AUTH": "yes"}, "REQUIRE_AUTH: refuses everyone, for no key exists"),
    ({"REDIS_URL": f"redis://:{CANARY}@host", "REDIS_PASSWORD": CANARY}, "REDIS_PASSWORD: is set, but REDIS_URL holds"),
    ({"MAX_TOKENS": "9000"}, "MAX_TOKENS: must not be larger than MAX_TOKENS_LIMIT"),
    ({"IDLE_TIMEOUT": "1801"}, "IDLE_TIMEOUT: must not be longer than TOTAL_TIMEOUT"),
    ({"TOTAL_TIMEOUT": "200"}, "FIRST_BYTE_TIMEOUT: must not be longer than TOTAL_TIMEOUT"),
    # Files.
    ({"API_KEYS": CANARY, "API_KEYS_FILE": "/dev/null"}, "API_KEYS: is set together with API_KEYS_FILE"),
    ({"ADMIN_KEY_FILE": "/nowhere/key"}, "ADMIN_KEY: the file that ADMIN_KEY_FILE names cannot be read: No such file"),
    ({"ADMIN_KEY_FILE": "/dev/null"}, "ADMIN_KEY: the file that ADMIN_KEY_FILE names is empty"),
    ({"ADMIN_KEY_FILE": "/dev/zero"}, "ADMIN_KEY: the file that ADMIN_KEY_FILE names is empty or larger"),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "start"), BAD, ids=[f"{number}-{start}" for number, (_, start) in enumerate(BAD)])
def test_a_bad_configuration_gives_one_clear_line(environ: dict[str, str], start: str) -> None:
    (problem,) = problems_of(**environ)

    assert problem.startswith(start)
    assert "\n" not in problem
    assert CANARY not in problem


def test_everything_wrong_is_said_at_once() -> None:
    problems = problems_of(HOST="0.0.0.0", PORT="x", MAX_TOKENS="9000", LOG_LEVEL="loud", ADMIN_KEY="a b")

    names = {problem.partition(":")[0] for problem in problems}
    assert names == {"HOST", "PORT", "MAX_TOKENS", "LOG_LEVEL", "ADMIN_KEY"}


def test_a_bad_value_is_not_blamed_a_second_time_for_its_absence() -> None:
    assert problems_of(HOST="0.0.0.0", API_KEYS="a,") == ("API_KEYS: has an empty item; remove the stray comma",)


def test_the_error_reads_as_its_lines() -> None:
    assert str(SettingsError(("A: one", "B: two"))) == "A: one\nB: two"


def test_no_secret_shows_in_settings_or_in_what_stands_behind_the_error() -> None:
    settings = read(
        API_KEYS=f"{CANARY},k2", ADMIN_KEY=f"a{CANARY}", GITHUB_COPILOT_TOKEN=f"gho_{CANARY}",
        REDIS_URL=f"redis://:{CANARY}@host", HTTPS_PROXY=f"http://u:{CANARY}@proxy:1",
        TOKEN_ENCRYPTION_KEY=FERNET_KEY,
    )  # fmt: skip
    assert CANARY not in f"{settings!r} {settings} {settings.redis_url!r} {settings.model_dump_json()}"
    assert FERNET_KEY not in repr(settings)

    with pytest.raises(SettingsError) as caught:
        read(API_KEYS=f"{CANARY} blank")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_defaults_are_the_documented_ones() -> None:
    settings = read()

    assert (settings.host, settings.port, settings.is_loopback) == ("127.0.0.1", 8000, True)
    assert (settings.connect_timeout, settings.first_byte_timeout) == (5, 300)
    assert (settings.idle_timeout, settings.total_timeout) == (90, 1800)
    assert (settings.max_tokens, settings.max_tokens_limit, settings.max_body_bytes) == (256, 8192, 10 * 2**20)
    assert (settings.rate_limit_per_minute, settings.upstream_concurrency, settings.max_streams) == (300, 16, 5000)
    assert settings.redis_url.get_secret_value() == "redis://localhost:6379/0"
    assert settings.tiktoken_cache_dir == Path(".cache/tiktoken")
    assert settings.api_keys == ()


def test_good_values_arrive_in_their_types() -> None:
    settings = read(
        HOST="0.0.0.0", PORT="0", API_KEYS="one, two", REQUIRE_AUTH="On", IDLE_TIMEOUT="2.5", LOG_LEVEL="debug",
        ALLOW_ORIGINS="HTTPS://App.example:443,http://localhost:3000,vscode-webview://abc",
        ALLOWED_HOSTS="Gateway.example,10.0.0.5,::1", GITHUB_API_URL="http://127.0.0.1:9/api/",
        MODEL_ALIASES="fast=gpt-5-mini, best = fast", NO_PROXY="localhost,.example.com",
        TOKEN_ENCRYPTION_KEY=f"{FERNET_KEY},{FERNET_KEY}",
    )  # fmt: skip

    assert settings.api_keys == (SecretStr("one"), SecretStr("two"))
    assert (settings.port, settings.require_auth, settings.idle_timeout, settings.log_level) == (0, True, 2.5, "DEBUG")
    assert settings.allow_origins == ("https://app.example", "http://localhost:3000", "vscode-webview://abc")
    assert settings.allowed_hosts == ("gateway.example", "10.0.0.5", "::1")
    assert settings.github_api_url == "http://127.0.0.1:9/api"
    assert settings.aliases == {"fast": "gpt-5-mini", "best": "fast"}
    assert settings.no_proxy == ("localhost", ".example.com")
    assert len(settings.token_encryption_key) == 2


@pytest.mark.parametrize("word", ["true", "1", "YES", "on"])
def test_a_switch_is_on_by_four_words(word: str) -> None:
    assert read(REQUIRE_AUTH=word, ADMIN_KEY=CANARY).require_auth


@pytest.mark.parametrize("word", ["False", "0", "no", "OFF"])
def test_a_switch_is_off_by_four_words(word: str) -> None:
    assert not read(REQUIRE_AUTH=word).require_auth


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_a_loopback_host_needs_no_key(host: str) -> None:
    assert read(HOST=host).is_loopback


@pytest.mark.parametrize("key", [{"API_KEYS": CANARY}, {"ADMIN_KEY": CANARY}])
def test_any_origin_is_accepted_on_loopback_with_a_key(key: dict[str, str]) -> None:
    assert read(ALLOW_ORIGINS="*", **key).allow_origins == ("*",)


@pytest.mark.parametrize("github_token", ["gho_abc", "ghu_abc", "github_pat_abc", "tid=1;exp=2;st=dotcom:00ff"])
def test_every_usable_kind_of_github_token_is_accepted(github_token: str) -> None:
    token = read(GITHUB_COPILOT_TOKEN=github_token).github_copilot_token
    assert token is not None
    assert token.get_secret_value() == github_token


def test_an_empty_value_is_an_unset_one(dotenv: Path) -> None:
    dotenv.write_text("PORT=81\nADMIN_KEY=\n")
    assert read(dotenv, PORT="", HOST="", API_KEYS_FILE="", API_KEYS=CANARY).port == 81


def test_the_environment_may_hold_names_that_mean_nothing_here() -> None:
    assert read(PORTS="x", PATH="/bin").port == 8000


@pytest.mark.parametrize("names", [("HTTPS_PROXY", "NO_PROXY"), ("https_proxy", "no_proxy")])
def test_proxy_names_are_read_in_both_cases(names: tuple[str, str], dotenv: Path) -> None:
    dotenv.write_text(f"{names[1]}=a.example\n")
    settings = read(dotenv, **{names[0]: f"http://u:{CANARY}@proxy:3128"})
    assert settings.https_proxy == SecretStr(f"http://u:{CANARY}@proxy:3128")
    assert settings.no_proxy == ("a.example",)


# Direct construction.


def test_direct_construction_reads_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PORT", "81")
    monkeypatch.setenv("API_KEYS", CANARY)
    monkeypatch.setenv("REDIS_URL", "memory://")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("HOST=::1\n")

    settings = Settings(api_keys=("k",))

    assert (settings.host, settings.port, settings.copilotapi_home) == ("127.0.0.1", 8000, None)
    assert settings.api_keys == (SecretStr("k"),)
    assert settings.redis_url.get_secret_value() == "redis://localhost:6379/0"
    assert Settings.from_env().port == 81
    assert Settings.from_env().host == "::1"


def test_direct_construction_takes_python_values_and_refuses_others() -> None:
    settings = Settings(redis_url="memory://", model_aliases={"a": "b"}, allow_origins=["http://a"], idle_timeout=1)
    assert settings.redis_url.get_secret_value() == "memory://"
    assert settings.aliases == {"a": "b"}

    with pytest.raises(SettingsError) as caught:
        Settings(port=True, hots="x", idle_timeout=float("nan"), host=5)
    assert {line.partition(":")[0] for line in caught.value.problems} == {"PORT", "HOTS", "IDLE_TIMEOUT", "HOST"}
    assert "HOTS: is not a setting; did you mean HOST?" in caught.value.problems


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1
    settings.aliases["a"] = "b"
    assert settings.aliases == {}


# The store's address.


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"redis_host": "cache", "redis_port": 1, "redis_db": 2}, "redis://cache:1/2"),
        ({"redis_host": "::1"}, "redis://[::1]:6379/0"),
        ({"redis_password": "p@s/s:"}, "redis://:p%40s%2Fs%3A@localhost:6379/0"),
        ({"redis_url": "rediss://me@cache:1/3", "redis_password": "pw", "redis_host": "x"}, "rediss://me:pw@cache:1/3"),
        ({"redis_url": "unix:///run/redis.sock", "redis_password": "pw"}, "unix://:pw@/run/redis.sock"),
        ({"redis_url": "memory://", "redis_password": "pw"}, "memory://"),
        ({"redis_url": "redis://:own@cache"}, "redis://:own@cache"),
    ],
)
def test_the_store_address_is_put_together(values: dict[str, object], url: str) -> None:
    effective = Settings(**values).redis_url.get_secret_value()
    assert effective == url
    assert urlsplit(effective).scheme in {"redis", "rediss", "unix", "memory"}


@pytest.mark.parametrize(("streams", "connections"), [(1, 1000), (500, 1000), (5000, 10_000)])
def test_worker_connections_follow_the_streams(streams: int, connections: int) -> None:
    assert Settings(max_streams=streams).worker_connections == connections


# Where the login is stored.


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {"HOME": "/home/me"}, "/home/me/.config/copilotapi"),
        ("linux", {"HOME": "/home/me", "XDG_CONFIG_HOME": "/conf"}, "/conf/copilotapi"),
        ("linux", {"HOME": "/home/me", "XDG_CONFIG_HOME": "relative"}, "/home/me/.config/copilotapi"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Application Support/copilotapi"),
        ("win32", {"HOME": "/me", "APPDATA": "C:/Roaming"}, "C:/Roaming/copilotapi"),
        ("linux", {"HOME": "/home/me", "COPILOTAPI_HOME": "/own"}, "/own"),
    ],
)
def test_the_home_folder_is_the_platforms(
    platform: str, environ: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert Settings.from_env(environ, dotenv=None).copilotapi_home == Path(folder)


def test_an_account_without_a_home_has_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    assert Settings.from_env({}, dotenv=None).copilotapi_home is None


# Values from files.


def test_a_value_is_read_from_the_file_that_is_named(tmp_path: Path, dotenv: Path) -> None:
    (tmp_path / "keys").write_bytes(b"one,two\r\n")
    (tmp_path / "port").write_text("81\n")
    dotenv.write_text(f"PORT_FILE={tmp_path}/port\n")

    settings = read(dotenv, API_KEYS_FILE=f"{tmp_path}/keys")

    assert settings.api_keys == (SecretStr("one"), SecretStr("two"))
    assert settings.port == 81


def test_a_file_in_the_environment_wins_over_a_value_in_dotenv(tmp_path: Path, dotenv: Path) -> None:
    (tmp_path / "key").write_text(CANARY)
    dotenv.write_text("ADMIN_KEY=another\n")
    assert read(dotenv, ADMIN_KEY_FILE=f"{tmp_path}/key").admin_key == SecretStr(CANARY)


def test_a_secret_file_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe" + CANARY.encode())
    (problem,) = problems_of(ADMIN_KEY_FILE=f"{tmp_path}/key")
    assert problem == "ADMIN_KEY: the file that ADMIN_KEY_FILE names cannot be read: not text in UTF-8"


def test_an_unreadable_key_file_is_not_reported_as_a_missing_key() -> None:
    (problem,) = problems_of(HOST="0.0.0.0", API_KEYS_FILE="/nowhere/keys")
    assert problem.startswith("API_KEYS: ")


# The file .env.


def test_dotenv_understands_comments_quotes_and_export(dotenv: Path) -> None:
    dotenv.write_text(
        "\ufeff# a comment\r\n"
        "\n"
        "export PORT=81   # the port\r\n"
        "API_TITLE = 'A # \"title\" $HOME'  # quoted\n"
        'API_DESCRIPTION="say \\"hi\\" \\\\ #1"\n'
        "ADMIN_KEY=a#b\n"
        "DEFAULT_MODEL= # none\n",
        encoding="utf-8",
    )
    settings = read(dotenv)

    assert settings.port == 81
    assert settings.api_title == 'A # "title" $HOME'
    assert settings.api_description == 'say "hi" \\ #1'
    assert settings.admin_key == SecretStr("a#b")
    assert settings.default_model is None


def test_the_environment_wins_over_dotenv(dotenv: Path) -> None:
    dotenv.write_text("PORT=81\nWEB_CONCURRENCY=3\n")
    settings = read(dotenv, PORT="82")
    assert (settings.port, settings.web_concurrency) == (82, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("PROT=81", ".env line 1: PROT is not a setting; did you mean PORT?"),
        ("\nport=81", ".env line 2: port is not a setting; did you mean PORT?"),
        ("API_KEY_FILE=x", ".env line 1: API_KEY_FILE is not a setting; did you mean API_KEYS_FILE?"),
        ("ZZZ=1", ".env line 1: ZZZ is not a setting; remove it or look for its name in docs/configuration.md"),
        ("PORT=81\nPORT=82", ".env line 2: PORT is set a second time; keep one"),
        ("PORT", ".env line 1: is not NAME=value; quotes must be closed on the same line"),
        (f"ADMIN_KEY='{CANARY}", ".env line 1: is not NAME=value; quotes must be closed on the same line"),
        (f'ADMIN_KEY="a" {CANARY}', ".env line 1: is not NAME=value; quotes must be closed on the same line"),
    ],
)
def test_a_bad_line_in_dotenv_is_a_problem(text: str, problem: str, dotenv: Path) -> None:
    dotenv.write_text(text)
    assert problems_of(dotenv) == (problem,)


@pytest.mark.parametrize("line", [FERNET_KEY, f"{CANARY}=", f"gho_{CANARY}", f"export {CANARY}"])
def test_a_secret_pasted_by_itself_is_not_repeated(line: str, dotenv: Path) -> None:
    dotenv.write_text(line)
    (problem,) = problems_of(dotenv)
    assert problem.startswith(".env line 1: ")
    assert line.strip("=")[:12] not in problem


def test_problems_of_file_and_values_come_together(dotenv: Path) -> None:
    dotenv.write_text("PROT=81\n")
    assert len(problems_of(dotenv, PORT="x")) == 2


def test_a_dotenv_that_cannot_be_read_is_a_problem(tmp_path: Path, dotenv: Path) -> None:
    assert problems_of(tmp_path)[0].endswith("cannot be read: Is a directory")
    dotenv.write_bytes(b"API_TITLE=\xff")
    assert problems_of(dotenv) == (".env: is not text in UTF-8",)


def test_a_missing_dotenv_is_an_empty_one(dotenv: Path) -> None:
    assert read(dotenv).port == 8000


# The pages.


def test_every_setting_is_documented_and_marked_when_secret() -> None:
    rows = {row.name: row for row in Settings.documentation()}

    assert len(rows) == len(Settings.model_fields)
    assert all(row.meaning.endswith(".") and "|" not in row.meaning for row in rows.values())
    assert {name for name, row in rows.items() if row.secret} == {
        "GITHUB_COPILOT_TOKEN", "HTTPS_PROXY", "REDIS_URL", "REDIS_PASSWORD", "TOKEN_ENCRYPTION_KEY", "API_KEYS", "ADMIN_KEY",
        "LOCAL_MODEL_KEY",
    }  # fmt: skip
    assert rows["CONNECT_TIMEOUT"].default == "5"
    assert rows["REQUIRE_AUTH"].default == "false"


def test_every_value_of_the_identification_carries_its_caution() -> None:
    names = {
        "EDITOR_VERSION",
        "EDITOR_PLUGIN_VERSION",
        "COPILOT_INTEGRATION_ID",
        "GITHUB_API_VERSION",
        "GITHUB_CLIENT_ID",
    }
    assert names == {row.name for row in Settings.documentation() if "against its terms" in row.meaning}


def test_the_committed_pages_are_the_generated_ones() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == configuration_page()


def test_the_example_file_is_a_valid_one_as_it_is_and_uncommented(dotenv: Path) -> None:
    dotenv.write_text(env_example())
    assert read(dotenv) == read()

    lines = env_example().splitlines()
    dotenv.write_text("\n".join(line.removeprefix("#") if line[1:2].isupper() else line for line in lines))
    assert "\nPORT=8000" in dotenv.read_text()
    assert read(dotenv) == read()
