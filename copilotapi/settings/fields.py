"""Every setting: its name, type, default and description, and what follows from several of them.

Knows neither where values come from nor which of them contradict each other. The order is that of the pages.
"""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from copilotapi.settings.addresses import Host, Origin, PlainUrl, ProxyUrl, StoreUrl, Url, is_loopback, with_password
from copilotapi.settings.keys import FernetKey, GithubToken, Secret
from copilotapi.settings.values import (
    Aliases,
    CommaSeparated,
    ExistingPath,
    FilePath,
    HandlerName,
    HeaderValue,
    LogFile,
    LogFormat,
    LogLevel,
    Seconds,
    Switch,
    Text,
    WholeNumber,
    Word,
)

_CHOICE = " Presenting another product's identity may be against its terms: keeping or changing it is your own choice."


class Fields(BaseSettings):
    """Values that are sound each by itself. Seconds are seconds, sizes are bytes, URLs end without a slash."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: Host = Field("127.0.0.1", description="Address to listen on. Any but a loopback address needs API_KEYS.")
    port: WholeNumber = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    web_concurrency: WholeNumber = Field(2, ge=1, le=256, description="Number of gunicorn workers.")
    api_title: Text = Field("CopilotAPI", description="Title shown in /openapi.json and at /.")
    api_description: Text = Field("A gateway in front of GitHub Copilot.", description="Description shown there.")
    api_version: Text = Field("", description="Version shown there; empty shows the version of this program.")
    allow_origins: CommaSeparated[Origin] = Field(
        (),
        description="Exact CORS origins (scheme://host[:port]), comma-separated; empty sends no CORS headers. "
        "* only on a loopback HOST with API_KEYS, ADMIN_KEY or REQUIRE_AUTH.",
    )
    allowed_hosts: CommaSeparated[Host] = Field(
        (), description="Host names answered besides the loopback names, exact, without a port, comma-separated."
    )

    github_copilot_token: GithubToken | None = Field(
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
    https_proxy: ProxyUrl | None = Field(
        None, description="Proxy for https calls upstream: http://[user:password@]host:port. https_proxy is read too."
    )
    no_proxy: CommaSeparated[Word] = Field(
        (), description="Hosts reached without the proxy, comma-separated. no_proxy is read too."
    )
    requests_ca_bundle: ExistingPath | None = Field(
        None, description="File or folder of certificate authorities to trust instead of the built-in ones."
    )

    default_model: Word | None = Field(None, description="Model used when a request names none.")
    fallback_model: Word | None = Field(None, description="Model tried when upstream limits the one that was asked.")
    model_aliases: Aliases = Field((), description="Other names for models: name=model,name=model.")
    max_tokens: WholeNumber = Field(256, ge=1, description="max_tokens on the completion paths when not given.")
    max_tokens_limit: WholeNumber = Field(8192, ge=1, description="Largest max_tokens on the completion paths.")
    completion_handler: HandlerName | None = Field(
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

    given_redis_url: StoreUrl | None = Field(
        None,
        validation_alias="redis_url",
        description="Shared store: redis://, rediss:// or unix://; memory:// chooses memory. "
        "Wins over REDIS_HOST, REDIS_PORT and REDIS_DB; REDIS_PASSWORD is added when it names none.",
    )
    redis_host: Host = Field("localhost", description="Host of the shared store, without REDIS_URL.")
    redis_port: WholeNumber = Field(6379, ge=1, le=65_535, description="Its port.")
    redis_db: WholeNumber = Field(0, ge=0, le=9999, description="Its database number.")
    redis_password: Secret | None = Field(None, description="Its password.")
    token_encryption_key: CommaSeparated[FernetKey] = Field(
        (),
        description="Fernet keys for the token at rest in Redis, comma-separated, the newest first; "
        "without one, a key derived from the GitHub token.",
    )

    api_keys: CommaSeparated[Secret] = Field((), description="Keys that clients must send, comma-separated.")
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

    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    log_file: LogFile | None = Field(
        None, description="File to log to, reopened when it is rotated; without it, standard error."
    )
    log_format: LogFormat | None = Field(
        None, description="json or console; without it, console on a terminal and json elsewhere."
    )
    copilotapi_home: FilePath | None = Field(
        None,
        description="Folder of the stored login. Default: copilotapi in $XDG_CONFIG_HOME or ~/.config, in %APPDATA% on "
        "Windows, in ~/Library/Application Support on macOS. Settings built in Python have none.",
    )

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach HOST."""
        return is_loopback(self.host)

    @property
    def redis_url(self) -> SecretStr:
        """The store's effective URL with its password: of REDIS_URL, or put together from REDIS_HOST and the others."""
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        url = f"redis://{host}:{self.redis_port}/{self.redis_db}"
        if self.given_redis_url is not None:
            url = self.given_redis_url.get_secret_value()
        return SecretStr(with_password(url, self.redis_password))

    @property
    def aliases(self) -> dict[str, str]:
        """MODEL_ALIASES as a table of its own, name to model."""
        return dict(self.model_aliases)

    @property
    def worker_connections(self) -> int:
        """gunicorn's knob: room for every stream and as many short requests beside them."""
        return max(1000, 2 * self.max_streams)

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
