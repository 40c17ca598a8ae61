"""Everything an operator can set, in one frozen object: the only reader of the environment and of `.env`.

It imports nothing of this package, opens no connection and never shows a secret. gunicorn.conf.py reads only gunicorn's
own knobs (bind, workers, worker_connections) through Settings. `python -m copilotapi.settings` writes the two pages.
"""

import base64
import difflib
import ipaddress
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_MAX_FILE_BYTES = 65_536
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_HOST_NAME = re.compile(_NAME)
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://({_NAME}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?", re.IGNORECASE)
_PRINTABLE = re.compile(r"[ -~]+")
_UNBROKEN = re.compile(r"[!-~]+")
_FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_PLACEHOLDER = re.compile(
    r"change[-_]?me.*|replace[-_]?me.*|your[-_].*(key|token|password|secret).*|<.*>|x{4,}|\.{3,}", re.I
)
_HANDLER = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_DOTENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=(.*)")
_DOTENV_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?""")
# A line that is no setting may be a secret pasted by itself; a name is repeated only if it looks like one.
_SHOWABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}|[a-z][a-z_]{0,31}")
# curl and requests read these two in lower case as well.
_ALSO_LOWER_CASE = frozenset({"HTTPS_PROXY", "NO_PROXY"})


class SettingsError(ValueError):
    """The settings cannot be used. `problems`: one line each, naming the variable and what to do, without secrets."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting for the reader. `default` is written as in `.env`, empty when there is none."""

    name: str
    default: str
    meaning: str
    secret: bool


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Stands for a value that could not be read, and says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Conflict:
    """Values that do not go together. The first name leads the line; nothing is said when one of them is bad itself."""

    names: tuple[str, ...]
    advice: str


# What a single value may be. Each function raises ValueError with what to do, and never repeats the value.


def _whole_number(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be a whole number, digits only")


def _seconds(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError("must be a number of seconds, such as 30 or 2.5")


def _switch(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "1", "yes", "on"}:
        return True
    if isinstance(value, str) and value.lower() in {"false", "0", "no", "off"}:
        return False
    raise ValueError("must be true or false (1/0, yes/no and on/off do as well)")


def _items(value: object) -> object:
    if not isinstance(value, str):
        return value
    items = tuple(item.strip() for item in value.split(","))
    if not all(items):
        raise ValueError("has an empty item; remove the stray comma")
    return items


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _header_value(value: str) -> str:
    if not _PRINTABLE.fullmatch(value) or value != value.strip():
        raise ValueError("must be printable ASCII without blanks around it, for it is sent in a header")
    return value


def _word(value: str) -> str:
    if not _UNBROKEN.fullmatch(value):
        raise ValueError("must be one word of printable ASCII")
    return value


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line without control characters")
    return value


def _handler(value: str) -> str:
    if not _HANDLER.fullmatch(value):
        raise ValueError("must be package.module:function")
    return value


def _path(value: Path) -> Path:
    if not str(value).isprintable() or str(value).startswith("~"):
        raise ValueError("must be a path without control characters, and a leading ~ is not expanded: write it out")
    return value


def _log_file(value: Path) -> Path:
    if value.is_dir() or not value.parent.is_dir():
        raise ValueError("must name a file in an existing folder")
    return value


def _existing(value: Path) -> Path:
    if not value.exists():
        raise ValueError("there is no such file or folder")
    return value


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_ip_address(host) and ipaddress.ip_address(host).is_loopback)


def _host(value: str) -> str:
    if not _HOST_NAME.fullmatch(value) and not _is_ip_address(value):
        raise ValueError("must be a host name or an IP address only: no scheme, port, path, bracket or wildcard")
    return value.lower()


def _origin(value: str) -> str:
    if value == "*":
        return value
    if not _ORIGIN.fullmatch(value):
        raise ValueError("must be an exact scheme://host[:port]: no path, wildcard or trailing slash, and never null")
    origin = value.lower()
    # A browser leaves the scheme's own port out of the Origin header (RFC 6454, 6.1).
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "is not a valid URL; in a password, / # ? and @ are written %2F %23 %3F %40"
        ) from None  # urlsplit's own text repeats the value, perhaps a password
    if not _UNBROKEN.fullmatch(url) or "\\" in url:
        raise ValueError("must be a URL without blanks, control or non-ASCII characters")
    return parts


def _http_parts(url: str) -> SplitResult:
    parts = _split(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not (_HOST_NAME.fullmatch(host) or _is_ip_address(host)):
        raise ValueError("must be an http:// or https:// URL with a host")
    return parts


def _plain_url(value: str) -> str:
    parts = _http_parts(value)
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("must be a URL without user information, query and fragment")
    return parts._replace(netloc=parts.netloc.lower()).geturl().rstrip("/")


def _url(value: str) -> str:
    parts = _http_parts(value)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must be https://, for a token travels there; plain http:// is for loopback hosts only")
    return _plain_url(value)


def _proxy(value: SecretStr) -> SecretStr:
    parts = _http_parts(value.get_secret_value())
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be http://[user:password@]host:port")
    return value


def _redis(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    parts = _split(url)
    if parts.fragment or parts.scheme not in {"redis", "rediss", "unix", "memory"}:
        raise ValueError("must be redis://, rediss://, unix:// or memory:// without a #")
    if parts.scheme == "memory" and url != "memory://":
        raise ValueError("must be exactly memory:// to choose memory")
    if parts.scheme in {"redis", "rediss"} and not (parts.hostname and re.fullmatch(r"(/[0-9]{0,4})?", parts.path)):
        raise ValueError("must be redis://[user:password@]host[:port][/number]")
    if parts.scheme == "unix" and len(parts.path) < 2:
        raise ValueError("must be unix:///path/to/socket")
    if "ssl_cert_reqs=none" in parts.query.lower() or "ssl_check_hostname=false" in parts.query.lower():
        raise ValueError("must not switch certificate checks off")
    return value


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not _UNBROKEN.fullmatch(text):
        raise ValueError("must not hold blanks, control or non-ASCII characters")
    if _PLACEHOLDER.fullmatch(text):
        raise ValueError("still holds an example value; put a real one")
    return value


def _github_token(value: SecretStr) -> SecretStr:
    if value.get_secret_value().startswith("ghp_"):
        raise ValueError("is a classic token (ghp_), which Copilot refuses; run `copilotapi login` for one that works")
    return value


def _fernet_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not _FERNET_KEY.fullmatch(text) or len(base64.urlsafe_b64decode(text)) != 32:
        raise ValueError("must be a Fernet key, 32 bytes in urlsafe base64: cryptography's Fernet.generate_key()")
    return value


def _aliases(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(value.items())
    items = _items(value)
    if not isinstance(value, str) or not isinstance(items, tuple):
        return value
    pairs = tuple(tuple(side.strip() for side in item.partition("=")[::2]) for item in items)
    if not all(left and right for left, right in pairs):
        raise ValueError("must be name=model,name=model with both sides filled")
    return pairs


def _acyclic(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("names an alias twice")
    for name in table:
        seen = {name}
        while (name := table.get(name, "")) and name not in seen:
            seen.add(name)
        if name:
            raise ValueError("has an alias that leads back to itself")
    return pairs


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=86_400)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Text = Annotated[str, AfterValidator(_text)]
Word = Annotated[str, AfterValidator(_word)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Url = Annotated[str, AfterValidator(_url)]
PlainUrl = Annotated[str, AfterValidator(_plain_url)]
Host = Annotated[str, AfterValidator(_host)]
FilePath = Annotated[Path, AfterValidator(_path)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
FernetKey = Annotated[SecretStr, AfterValidator(_fernet_key)]
Aliases = Annotated[tuple[tuple[Word, Word], ...], BeforeValidator(_aliases), AfterValidator(_acyclic)]

_CHOICE = " Presenting another product's identity may be against its terms: keeping or changing it is your own choice."


class Settings(BaseSettings):
    """Checked settings. `Settings.from_env()` reads the environment; `Settings(port=0)` reads nothing outside itself.

    Both raise SettingsError with every problem at once. Seconds are seconds, sizes are bytes, URLs end without a slash.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: Host = Field("127.0.0.1", description="Address to listen on. Any but a loopback address needs API_KEYS.")
    port: WholeNumber = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    web_concurrency: WholeNumber = Field(2, ge=1, le=256, description="Number of gunicorn workers.")
    api_title: Text = Field("CopilotAPI", description="Title shown in /openapi.json and at /.")
    api_description: Text = Field("A gateway in front of GitHub Copilot.", description="Description shown there.")
    api_version: Text = Field("", description="Version shown there; empty shows the version of this program.")
    allow_origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_items)] = Field(
        (),
        description="Exact CORS origins (scheme://host[:port]), comma-separated; empty sends no CORS headers. "
        "* only on a loopback HOST with API_KEYS, ADMIN_KEY or REQUIRE_AUTH.",
    )
    allowed_hosts: Annotated[tuple[Host, ...], BeforeValidator(_items)] = Field(
        (), description="Host names answered besides the loopback names, exact, without a port, comma-separated."
    )

    github_copilot_token: Annotated[Secret, AfterValidator(_github_token)] | None = Field(
        None, description="The GitHub token to exchange; without it, the one that `copilotapi login` stored."
    )
    github_url: Url = Field(
        "https://github.com", description="Where the device login happens; an enterprise host or the simulator."
    )
    github_api_url: Url = Field("https://api.github.com", description="Where the GitHub token is exchanged.")
    copilot_api_url: Url | None = Field(
        None, description="Where chat goes; without it, where the answer to the token exchange says."
    )
    copilot_proxy_url: Url | None = Field(
        None, description="Where inline completions go; without it, where the answer to the token exchange says."
    )
    # VS Code 1.104 and Copilot Chat 0.31 are of September 2025. Copilot answers 400 without an Editor-Version.
    editor_version: HeaderValue = Field("vscode/1.104.1", description="Editor-Version sent upstream." + _CHOICE)
    editor_plugin_version: HeaderValue = Field(
        "copilot-chat/0.31.0", description="Editor-Plugin-Version sent upstream." + _CHOICE
    )
    copilot_integration_id: HeaderValue = Field(
        "vscode-chat", description="Copilot-Integration-Id sent upstream; decides which models are offered." + _CHOICE
    )
    # As GitHub's Copilot language server 1.539 sent it in 2026.
    github_api_version: HeaderValue = Field(
        "2026-06-01", description="X-GitHub-Api-Version sent upstream; selects variants of answers." + _CHOICE
    )
    # The app of GitHub's own Copilot plugins, seen in 2026.
    github_client_id: HeaderValue = Field(
        "Iv1.b507a08c87ecfe98", description="The GitHub App that `copilotapi login` signs in to." + _CHOICE
    )
    https_proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = Field(
        None, description="Proxy for https calls upstream: http://[user:password@]host:port. https_proxy is read too."
    )
    no_proxy: Annotated[tuple[Word, ...], BeforeValidator(_items)] = Field(
        (), description="Hosts reached without the proxy, comma-separated. no_proxy is read too."
    )
    requests_ca_bundle: Annotated[FilePath, AfterValidator(_existing)] | None = Field(
        None, description="File or folder of certificate authorities to trust instead of the built-in ones."
    )

    default_model: Word | None = Field(None, description="Model used when a request names none.")
    fallback_model: Word | None = Field(None, description="Model tried when upstream limits the one that was asked.")
    model_aliases: Aliases = Field((), description="Other names for models: name=model,name=model.")
    max_tokens: WholeNumber = Field(256, ge=1, description="max_tokens on the completion paths when not given.")
    max_tokens_limit: WholeNumber = Field(8192, ge=1, description="Largest max_tokens on the completion paths.")
    completion_handler: Annotated[str, AfterValidator(_handler)] | None = Field(
        None, description="package.module:function that answers instead of Copilot."
    )
    local_model_url: PlainUrl | None = Field(
        None,
        description="Base URL, with its /v1, of an OpenAI-compatible server that answers instead of Copilot; "
        "needs LOCAL_MODEL.",
    )
    local_model: Word | None = Field(None, description="The model to ask at LOCAL_MODEL_URL.")
    local_model_key: Secret | None = Field(None, description="The key LOCAL_MODEL_URL wants, if it wants one.")
    local_model_template: str | None = Field(
        None,
        description="How that model wants text around a cursor, with {prompt} and {suffix}; "
        "without it, what the model's maker recommends where that is known.",
    )
    tiktoken_cache_dir: FilePath = Field(
        Path(".cache/tiktoken"), description="Folder of the vocabularies that token estimates need."
    )

    given_redis_url: Annotated[SecretStr, AfterValidator(_redis)] | None = Field(
        None,
        validation_alias="redis_url",
        description="Shared store: redis://, rediss:// or unix://; memory:// chooses memory. "
        "Wins over REDIS_HOST, REDIS_PORT and REDIS_DB; REDIS_PASSWORD is added when it names none.",
    )
    redis_host: Host = Field("localhost", description="Host of the shared store, without REDIS_URL.")
    redis_port: WholeNumber = Field(6379, ge=1, le=65_535, description="Its port.")
    redis_db: WholeNumber = Field(0, ge=0, le=9999, description="Its database number.")
    redis_password: Secret | None = Field(None, description="Its password.")
    token_encryption_key: Annotated[tuple[FernetKey, ...], BeforeValidator(_items)] = Field(
        (),
        description="Fernet keys for the token at rest in Redis, comma-separated, the newest first; "
        "without one, a key derived from the GitHub token.",
    )

    api_keys: Annotated[tuple[Secret, ...], BeforeValidator(_items)] = Field(
        (), description="Keys that clients must send, comma-separated."
    )
    admin_key: Secret | None = Field(None, description="Key of the operator, for the administrative paths.")
    require_auth: Switch = Field(False, description="Refuse requests without a key even on loopback.")
    rate_limit_per_minute: WholeNumber = Field(
        300, ge=0, le=1_000_000, description="Requests a minute for one client address over all paths; 0 is no limit."
    )
    trusted_proxy_count: WholeNumber = Field(
        0, ge=0, le=10, description="Number of reverse proxies in front whose X-Forwarded-* headers are believed."
    )
    max_body_bytes: WholeNumber = Field(
        10_485_760, ge=1, le=1_073_741_824, description="Largest request body in bytes; a larger one is refused (413)."
    )

    connect_timeout: Seconds = Field(5.0, description="Seconds to connect upstream.")
    first_byte_timeout: Seconds = Field(300.0, description="Seconds until upstream's first byte.")
    idle_timeout: Seconds = Field(90.0, description="Seconds between two bytes from upstream.")
    total_timeout: Seconds = Field(1800.0, description="Seconds for a whole answer from upstream.")
    max_streams: WholeNumber = Field(5000, ge=1, le=1_000_000, description="Open streams in one worker.")
    upstream_concurrency: WholeNumber = Field(
        16, ge=1, le=10_000, description="Upstream calls in one worker that wait for the head of their answer."
    )

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = Field(
        "INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL."
    )
    log_file: Annotated[FilePath, AfterValidator(_log_file)] | None = Field(
        None, description="File to log to, reopened when it is rotated; without it, standard error."
    )
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] | None = Field(
        None, description="json or console; without it, console on a terminal and json elsewhere."
    )
    copilotapi_home: FilePath | None = Field(
        None,
        description="Folder of the stored login. Default: copilotapi in $XDG_CONFIG_HOME or ~/.config, in %APPDATA% on "
        "Windows, in ~/Library/Application Support on macOS. Settings built in Python have none.",
    )

    def __init__(self, **values: Any) -> None:
        problems: list[str] = []
        bad: set[str] = set()
        try:
            super().__init__(**values)
        except ValidationError as exc:
            problems = [_problem(error) for error in exc.errors()]
            bad = {str(error["loc"][0]) for error in exc.errors()}
            # Once more with the sound values only, so that combinations are judged in the same round.
            super().__init__(**{name: value for name, value in values.items() if name not in bad})
        bad_names = {name.upper() for name in bad}
        conflicts = [conflict for conflict in _conflicts(self) if not bad_names.intersection(conflict.names)]
        problems += [f"{conflict.names[0]}: {conflict.advice}" for conflict in conflicts]
        if problems:
            raise SettingsError(tuple(dict.fromkeys(problems)))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> "Settings":
        """Settings from `environ` (default: the process's), then from the file `dotenv` if there is one.

        An empty value is an unset one. NAME_FILE names a file that holds the value. SettingsError as the class says.
        """
        environ = os.environ if environ is None else environ
        in_file, problems = _read_dotenv(dotenv) if dotenv else ({}, [])
        values: dict[str, Any] = {}
        for name in _variables():
            value = _lookup(name, environ) or _lookup(name, in_file)
            if value is not None:
                values[name.lower()] = value
        values.setdefault("copilotapi_home", _config_folder(environ, sys.platform))
        try:
            settings = cls(**values)
        except SettingsError as exc:
            raise SettingsError((*problems, *exc.problems)) from None  # the same error, only longer
        if problems:
            raise SettingsError(tuple(problems))
        return settings

    @classmethod
    def documentation(cls) -> list[SettingRow]:
        """One row for each variable, in the order of the pages."""
        return [
            SettingRow(_variable(name, field), _shown(field.default), field.description or "", _is_secret(field))
            for name, field in cls.model_fields.items()
        ]

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach HOST."""
        return _is_loopback(self.host)

    @property
    def redis_url(self) -> SecretStr:
        """The store's effective URL with its password: of REDIS_URL, or put together from REDIS_HOST and the others."""
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        url = f"redis://{host}:{self.redis_port}/{self.redis_db}"
        if self.given_redis_url is not None:
            url = self.given_redis_url.get_secret_value()
        return SecretStr(_with_password(url, self.redis_password))

    @property
    def aliases(self) -> dict[str, str]:
        """MODEL_ALIASES as a table of its own, name to model."""
        return dict(self.model_aliases)

    @property
    def worker_connections(self) -> int:
        """gunicorn's knob: room for every stream and as many short requests beside them."""
        return max(1000, 2 * self.max_streams)

    @field_validator("*", mode="before")
    @classmethod
    def _usable(cls, value: object) -> object:
        match value:
            case _Unusable(reason=reason):
                raise ValueError(reason)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: pydantic-settings' own readers skip bad lines of `.env` in silence."""
        return (init_settings,)


def _problem(error: Mapping[str, Any]) -> str:
    name, *inner = error["loc"]
    where = f"{name}".upper() + (f" (item {inner[0] + 1})" if inner and isinstance(inner[0], int) else "")
    if error["type"] == "extra_forbidden":
        return f"{where}: is not a setting{_suggestion(str(name))}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{where}: {message}"


def _with_password(url: str, password: SecretStr | None) -> str:
    parts = urlsplit(url)
    if password is None or parts.scheme == "memory":
        return url
    address = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or ''}:{quote(password.get_secret_value(), safe='')}@{address}"
    return parts._replace(netloc=netloc).geturl()


# Which values do not go together.


def _conflicts(settings: Settings) -> Iterator[_Conflict]:
    yield from _exposure(settings)
    yield from _keys(settings)
    yield from _amounts(settings)
    yield from _local_model(settings)


def _exposure(settings: Settings) -> Iterator[_Conflict]:
    if not settings.is_loopback and not settings.api_keys:
        advice = "is reachable from other machines; set API_KEYS (ADMIN_KEY alone is not enough) or HOST=127.0.0.1"
        yield _Conflict(("HOST", "API_KEYS"), advice)
    if "*" not in settings.allow_origins:
        return
    if len(settings.allow_origins) > 1:
        yield _Conflict(("ALLOW_ORIGINS",), "has * beside other origins; list exact origins only")
    if not settings.is_loopback or not (settings.api_keys or settings.admin_key or settings.require_auth):
        advice = "* needs a loopback HOST and API_KEYS, ADMIN_KEY or REQUIRE_AUTH; list exact origins instead"
        yield _Conflict(("ALLOW_ORIGINS", "HOST", "API_KEYS", "ADMIN_KEY", "REQUIRE_AUTH"), advice)


def _keys(settings: Settings) -> Iterator[_Conflict]:
    if len(set(settings.api_keys)) < len(settings.api_keys):
        yield _Conflict(("API_KEYS",), "holds the same key twice; give each client its own")
    if settings.admin_key in settings.api_keys:
        yield _Conflict(
            ("ADMIN_KEY", "API_KEYS"), "is also one of API_KEYS, so each such client is an operator; change it"
        )
    if settings.require_auth and not settings.api_keys and settings.admin_key is None:
        yield _Conflict(("REQUIRE_AUTH", "API_KEYS", "ADMIN_KEY"), "refuses everyone, for no key exists; set API_KEYS")
    given = settings.given_redis_url
    if given is not None and urlsplit(given.get_secret_value()).password and settings.redis_password is not None:
        yield _Conflict(("REDIS_PASSWORD", "REDIS_URL"), "is set, but REDIS_URL holds a password already; keep one")


def _local_model(settings: Settings) -> Iterator[_Conflict]:
    if (settings.local_model_url is None) != (settings.local_model is None):
        yield _Conflict(("LOCAL_MODEL_URL", "LOCAL_MODEL"), "LOCAL_MODEL_URL and LOCAL_MODEL go together; set both")
    if settings.local_model_url and settings.completion_handler:
        advice = "another handler is set by LOCAL_MODEL_URL; choose one of them"
        yield _Conflict(("COMPLETION_HANDLER", "LOCAL_MODEL_URL"), advice)
    template = settings.local_model_template
    if template is not None and not ("{prompt}" in template and "{suffix}" in template):
        yield _Conflict(("LOCAL_MODEL_TEMPLATE",), "must hold {prompt} and {suffix}")


def _amounts(settings: Settings) -> Iterator[_Conflict]:
    if settings.max_tokens > settings.max_tokens_limit:
        yield _Conflict(("MAX_TOKENS", "MAX_TOKENS_LIMIT"), "must not be larger than MAX_TOKENS_LIMIT")
    for name in ("CONNECT_TIMEOUT", "FIRST_BYTE_TIMEOUT", "IDLE_TIMEOUT"):
        if getattr(settings, name.lower()) > settings.total_timeout:
            yield _Conflict((name, "TOTAL_TIMEOUT"), "must not be longer than TOTAL_TIMEOUT")


# Where values come from.


def _variables() -> list[str]:
    return [_variable(name, field) for name, field in Settings.model_fields.items()]


def _variable(name: str, field: FieldInfo) -> str:
    return (field.validation_alias if isinstance(field.validation_alias, str) else name).upper()


def _suggestion(name: str) -> str:
    known = [spelling for variable in _variables() for spelling in (variable, f"{variable}_FILE")]
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else "; remove it or look for its name in docs/configuration.md"


def _lookup(name: str, source: Mapping[str, str]) -> str | _Unusable | None:
    value = source.get(name) or (source.get(name.lower()) if name in _ALSO_LOWER_CASE else None)
    path = source.get(f"{name}_FILE")
    if value and path:
        return _Unusable(f"is set together with {name}_FILE; keep one of them")
    return _read_secret(Path(path), name) if path else value or None


def _read_secret(path: Path, name: str) -> str | _Unusable:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        text = content.decode("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not text in UTF-8"
        return _Unusable(f"the file that {name}_FILE names cannot be read: {reason}")
    if not text or len(content) > _MAX_FILE_BYTES:
        return _Unusable(f"the file that {name}_FILE names is empty or larger than {_MAX_FILE_BYTES} bytes")
    return text


def _read_dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """The file's values and its problems. No file is an empty one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        return {}, []
    except OSError as exc:
        return {}, [f"{path.name}: cannot be read: {exc.strerror}"]
    except UnicodeDecodeError:
        return {}, [f"{path.name}: is not text in UTF-8"]
    values: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        if (text := line.strip()) and not text.startswith("#"):
            problem = _read_line(text, values)
            problems += [f"{path.name} line {number}: {problem}"] if problem else []
    return values, problems


def _read_line(line: str, values: dict[str, str]) -> str:
    """Puts the line's value into `values`, or says what is wrong with the line."""
    match = _DOTENV_LINE.fullmatch(line)
    if match is None or (value := _unquoted(match[2])) is None:
        return "is not NAME=value; quotes must be closed on the same line"
    name = match[1]
    if name in values:
        return f"{name} is set a second time; keep one"
    spelling = name.upper() if name.upper() in _ALSO_LOWER_CASE else name
    if spelling.removesuffix("_FILE") not in _variables() and spelling not in _variables():
        shown = name if _SHOWABLE_NAME.fullmatch(name) else "this"
        return f"{shown} is not a setting{_suggestion(name)}"
    values[name] = value
    return ""


def _unquoted(raw: str) -> str | None:
    text = raw.strip()
    if not text.startswith(("'", '"')):
        return re.sub(r"\s#.*", "", raw).strip()
    match = _DOTENV_QUOTED.fullmatch(text)
    if match is None:
        return None
    if match[1] is not None:
        return match[1]
    return re.sub(r'\\(["\\])', r"\1", match[2])


def _config_folder(environ: Mapping[str, str], platform: str) -> Path | None:
    """None when the account has no home folder."""
    if platform == "win32" and PureWindowsPath(environ.get("APPDATA", "")).is_absolute():
        return Path(environ["APPDATA"], "copilotapi")
    # The XDG specification says to ignore a relative path.
    if platform != "darwin" and PurePosixPath(environ.get("XDG_CONFIG_HOME", "")).is_absolute():
        return Path(environ["XDG_CONFIG_HOME"], "copilotapi")
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return None
    return (
        home
        / {"win32": "AppData/Roaming", "darwin": "Library/Application Support"}.get(platform, ".config")
        / "copilotapi"
    )


# The pages made from the model.

_HEADINGS = {
    "HOST": "The server",
    "GITHUB_COPILOT_TOKEN": "GitHub and Copilot",
    "DEFAULT_MODEL": "Models and completions",
    "REDIS_URL": "The shared store",
    "API_KEYS": "Who may call, and how much",
    "CONNECT_TIMEOUT": "Clocks and room",
    "LOG_LEVEL": "Logs and files",
}

_INTRODUCTION = """\
# Configuration

Written by `python -m copilotapi.settings` from the descriptions in `copilotapi/settings.py`; change them there.

Settings are read once, at the start, from the environment and from a file `.env` in the working folder. The environment
wins over the file. An empty value is an unset one. A value that is not understood, an unknown name or a bad line in
`.env`, or an unsafe combination stops the start; all problems are printed at once, one line each.

- `NAME_FILE` reads the value of `NAME` from a file, less the newline at its end. `NAME` and `NAME_FILE` together in one
  place are an error.
- `.env` holds `NAME=value` lines and `#` comments. Quotes are optional; nothing is expanded; ` #` ends an unquoted value.
- Lists are separated by commas; an empty item is an error. Switches take true/false, yes/no, on/off or 1/0.
- URLs are http(s) without user information, query or fragment. Plain http is accepted for loopback hosts only.
- Values marked *secret* never appear in logs, errors or `repr()`.
"""

_REFUSED = """
## Refused at the start

- a HOST that other machines can reach, without API_KEYS; ADMIN_KEY alone is not enough
- ALLOW_ORIGINS with `*` unless HOST is loopback and one of API_KEYS, ADMIN_KEY, REQUIRE_AUTH is set; `*` beside others;
  `null`; anything but an exact origin
- the same key twice in API_KEYS, ADMIN_KEY among API_KEYS, REQUIRE_AUTH without a key
- example values (`changeme`, `your-key`) and keys with blanks, control or non-ASCII characters
- a classic GitHub token (`ghp_`): Copilot refuses them
- two passwords for the store, in REDIS_URL and in REDIS_PASSWORD, or a store URL that switches certificate checks off
- MAX_TOKENS above MAX_TOKENS_LIMIT; CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT or IDLE_TIMEOUT above TOTAL_TIMEOUT
"""


def configuration_page() -> str:
    """The text of docs/configuration.md."""
    lines = [_INTRODUCTION]
    for row in Settings.documentation():
        if row.name in _HEADINGS:
            lines.append(f"\n## {_HEADINGS[row.name]}\n\n| variable | default | meaning |\n|---|---|---|\n")
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {default} | {row.meaning}{' *Secret.*' if row.secret else ''} |\n")
    return "".join([*lines, _REFUSED])


def env_example() -> str:
    """The text of .env.example: every setting with its default, commented out."""
    lines = ["# Copy to .env and uncomment what you change. Rules and meanings: docs/configuration.md\n"]
    for row in Settings.documentation():
        if row.name in _HEADINGS:
            lines.append(f"\n# --- {_HEADINGS[row.name]} ---\n")
        lines.append("\n" + textwrap.fill(row.meaning, 110, initial_indent="# ", subsequent_indent="# "))
        lines.append(f"\n#{row.name}={row.default}\n")
    return "".join(lines)


def _shown(default: object) -> str:
    match default:
        case None | ():
            return ""
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case Path():
            return default.as_posix()
        case _:
            return str(default)


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


if __name__ == "__main__":
    Path(".env.example").write_text(env_example(), encoding="utf-8")
    Path("docs", "configuration.md").write_text(configuration_page(), encoding="utf-8")
