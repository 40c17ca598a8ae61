"""The clients, one row each: what it speaks, where it keeps its settings, what belongs there. Data; it does nothing.

The facts are of each client's own documentation, which the row names; `tried` ones are run by tests/cli/.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copilotapi.cli.connect.merging import OURS
from copilotapi.cli.connect.models import Model, Wish

KEY_VARIABLE = "COPILOTAPI_API_KEY"
# Clients want some key even where the gateway wants none.
NO_KEY = "unused"
YOUR_KEY = "your-key"
TITLE = "CopilotAPI"
# For a model whose limits Copilot does not tell; that of the smallest it lists today.
_USUAL_CONTEXT_TOKENS = 128_000

_CLAUDE = Wish("/v1/messages", ("claude-sonnet", "claude"))
_RESPONSES = Wish("/responses", ("gpt",), word="codex")
_CHAT = Wish("/chat/completions", ("gpt",))
_ANY = Wish("/chat/completions", ("gpt",), takes_default=True)


@dataclass(frozen=True, slots=True)
class Connection:
    """What a client is to be told. `url` has no /v1; `models` are all that chat, the chosen one and its small sibling
    among them."""

    url: str
    model: Model
    small_model: Model
    models: tuple[Model, ...]
    needs_key: bool

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def key(self) -> str:
        """What is typed where a key is wanted: never a real one."""
        return YOUR_KEY if self.needs_key else NO_KEY


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides where a client looks for its files. `platform` is Python's: linux, darwin, win32."""

    environ: Mapping[str, str]
    home: Path
    platform: str

    def folder(self, variable: str, *default: str) -> Path:
        """What the variable names, else a folder below the home."""
        named = self.environ.get(variable)
        return Path(named) if named else self.home.joinpath(*default)

    def application_folder(self, *mac: str) -> Path:
        """Where programs keep settings on this system; `mac` is below ~/Library/Application Support unless given."""
        if self.platform == "win32":
            return self.folder("APPDATA", "AppData", "Roaming")
        if self.platform == "darwin":
            return self.home.joinpath(*(mac or ("Library", "Application Support")))
        return self.folder("XDG_CONFIG_HOME", ".config")


@dataclass(frozen=True, slots=True)
class File:
    """`where` is None for a file that may lie anywhere. `writable`: --write knows how to change it. Top names in
    `defaults` are only written where the file has none of that name."""

    format: str
    content: Callable[[Connection], Any]
    where: Callable[[Machine], Path] | None = None
    writable: bool = False
    defaults: tuple[str, ...] = ()


def _nothing(connection: Connection) -> dict[str, str]:
    return {}


def _no_steps(connection: Connection) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Client:
    """`try_it` is a command, or what to do where `try_by_hand`; {model}, {url} and {base_url} stand for the values.
    `package` is what a registry has it as: npm:…, pypi:… `key_remarks` matter where the gateway wants a key only."""

    name: str
    title: str
    protocol: str
    settings_page: str
    try_it: str
    wish: Wish = _CHAT
    aliases: tuple[str, ...] = ()
    package: str = ""
    tried: bool = False
    try_by_hand: bool = False
    file: File | None = None
    environment: Callable[[Connection], dict[str, str]] = _nothing
    steps: Callable[[Connection], tuple[str, ...]] = _no_steps
    keyed_try_it: str = ""
    remarks: tuple[str, ...] = ()
    key_remarks: tuple[str, ...] = ()


def _key_alone(connection: Connection) -> dict[str, str]:
    return {KEY_VARIABLE: YOUR_KEY} if connection.needs_key else {}


# Claude Code


def _claude_code(connection: Connection) -> dict[str, Any]:
    """https://code.claude.com/docs/en/settings: apiKeyHelper is run by /bin/sh, and its output sent as the key."""
    environment = {
        "ANTHROPIC_BASE_URL": connection.url,
        "ANTHROPIC_MODEL": connection.model.id,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": connection.small_model.id,
    }
    if connection.needs_key:
        return {"apiKeyHelper": f"printenv {KEY_VARIABLE}", "env": environment}
    return {"env": {**environment, "ANTHROPIC_AUTH_TOKEN": NO_KEY}}


# Codex


def _codex(connection: Connection) -> dict[str, Any]:
    provider = {"name": TITLE, "base_url": connection.base_url, "wire_api": "responses"}
    if connection.needs_key:
        provider["env_key"] = KEY_VARIABLE
    return {"model": connection.model.id, "model_provider": OURS, "model_providers": {OURS: provider}}


# opencode


def _opencode_file(machine: Machine) -> Path:
    """It reads both names: https://opencode.ai/docs/config."""
    folder = machine.folder("XDG_CONFIG_HOME", ".config") / "opencode"
    with_comments = folder / "opencode.jsonc"
    return (
        with_comments
        if with_comments.exists() and not (folder / "opencode.json").exists()
        else folder / "opencode.json"
    )


def _opencode(connection: Connection) -> dict[str, Any]:
    key = f"{{env:{KEY_VARIABLE}}}" if connection.needs_key else NO_KEY
    return {
        "$schema": "https://opencode.ai/config.json",
        "model": f"{OURS}/{connection.model.id}",
        "small_model": f"{OURS}/{connection.small_model.id}",
        "provider": {
            OURS: {
                "npm": "@ai-sdk/openai-compatible",
                "name": TITLE,
                "options": {"baseURL": connection.base_url, "apiKey": key},
                "models": {model.id: _opencode_model(model) for model in connection.models if model.calls_tools},
            }
        },
    }


def _opencode_model(model: Model) -> dict[str, Any]:
    if model.context_tokens is None or model.output_tokens is None:
        return {}
    return {"limit": {"context": model.context_tokens, "output": model.output_tokens}}


# aider


def _aider(connection: Connection) -> dict[str, Any]:
    settings = {
        "model": f"openai/{connection.model.id}",
        "weak-model": f"openai/{connection.small_model.id}",
        "openai-api-base": connection.base_url,
    }
    return settings if connection.needs_key else {**settings, "openai-api-key": NO_KEY}


def _aider_key(connection: Connection) -> dict[str, str]:
    return {"AIDER_OPENAI_API_KEY": YOUR_KEY} if connection.needs_key else {}


# Continue


def _continue(connection: Connection) -> dict[str, Any]:
    model = {
        "name": TITLE,
        "provider": "openai",
        "model": connection.model.id,
        "apiBase": connection.base_url,
        "apiKey": f"${{{{ secrets.{KEY_VARIABLE} }}}}" if connection.needs_key else NO_KEY,
        "roles": ["chat", "edit", "apply"],
    }
    return {"name": "Local Config", "version": "1.0.0", "schema": "v1", "models": [model]}


# Zed


def _zed_file(machine: Machine) -> Path:
    if machine.platform == "win32":
        return machine.application_folder() / "Zed" / "settings.json"
    return machine.application_folder(".config") / "zed" / "settings.json"


def _zed(connection: Connection) -> dict[str, Any]:
    models = [_zed_model(model) for model in connection.models if model.calls_tools]
    provider = {"api_url": connection.base_url, "available_models": models}
    return {
        "language_models": {"openai_compatible": {OURS: provider}},
    }


def _zed_model(model: Model) -> dict[str, Any]:
    limits = {"max_tokens": model.context_tokens or _USUAL_CONTEXT_TOKENS}
    return {"name": model.id, **limits, **({"max_output_tokens": model.output_tokens} if model.output_tokens else {})}


# Editors' Copilot clients


def _vs_code(connection: Connection) -> dict[str, Any]:
    overrides = {"debug.overrideProxyUrl": f"{connection.url}/proxy", "debug.overrideCapiUrl": connection.url}
    return {"github.copilot.advanced": overrides}


def _language_server(connection: Connection) -> dict[str, str]:
    return {
        "GITHUB_COPILOT_TOKEN": connection.key,
        "GITHUB_COPILOT_USER": OURS,
        "GITHUB_COPILOT_API_URL": connection.url,
        "GITHUB_COPILOT_SERVER_URL": connection.url,
    }


# llm and LiteLLM


def _llm(connection: Connection) -> list[dict[str, Any]]:
    model: dict[str, Any] = {
        "model_id": OURS,
        "model_name": connection.model.id,
        "api_base": connection.base_url,
        "supports_tools": connection.model.calls_tools,
    }
    return [{**model, "api_key_name": OURS} if connection.needs_key else model]


def _litellm(connection: Connection) -> dict[str, Any]:
    parameters = {
        "model": f"openai/{connection.model.id}",
        "api_base": connection.base_url,
        "api_key": f"os.environ/{KEY_VARIABLE}" if connection.needs_key else NO_KEY,
    }
    return {"model_list": [{"model_name": connection.model.id, "litellm_params": parameters}]}


# Libraries


def _openai(connection: Connection) -> dict[str, str]:
    return {"OPENAI_BASE_URL": connection.base_url, "OPENAI_API_KEY": connection.key}


def _langchain(connection: Connection) -> dict[str, str]:
    return {"OPENAI_API_BASE": connection.base_url, "OPENAI_API_KEY": connection.key}


def _anthropic(connection: Connection) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": connection.url, "ANTHROPIC_API_KEY": connection.key}


# Settings that are typed into a form


def _form(connection: Connection) -> tuple[str, ...]:
    return (f"Base URL: {connection.base_url}", f"API key: {connection.key}", f"Model: {connection.model.id}")


def _cursor_form(connection: Connection) -> tuple[str, ...]:
    return (
        "Cursor Settings > Models > API Keys: switch on OpenAI API Key and Override OpenAI Base URL",
        *_form(connection),
    )


def _cline_form(connection: Connection) -> tuple[str, ...]:
    return ("API Provider: OpenAI Compatible", *_form(connection))


_SAY_HELLO = "[{{'role': 'user', 'content': 'Say hello'}}]"
_CURL_BODY = r"{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Say hello\"}}]}}"

CLIENTS = (
    Client(
        "claude-code",
        "Claude Code",
        "Anthropic Messages",
        "https://code.claude.com/docs/en/settings",
        'claude -p "Say hello"',
        wish=_CLAUDE,
        aliases=("claude",),
        package="npm:@anthropic-ai/claude-code",
        tried=True,
        file=File(
            "json",
            _claude_code,
            lambda machine: machine.folder("CLAUDE_CONFIG_DIR", ".claude") / "settings.json",
            writable=True,
        ),
        environment=_key_alone,
        key_remarks=("An ANTHROPIC_AUTH_TOKEN in your shell is sent to the gateway in place of the key; unset it.",),
    ),
    Client(
        "codex",
        "Codex",
        "OpenAI Responses",
        "https://developers.openai.com/codex/config-reference",
        'codex exec --skip-git-repo-check "Say hello"',
        wish=_RESPONSES,
        package="npm:@openai/codex",
        tried=True,
        file=File(
            "toml", _codex, lambda machine: machine.folder("CODEX_HOME", ".codex") / "config.toml", writable=True
        ),
        environment=_key_alone,
    ),
    Client(
        "opencode",
        "opencode",
        "OpenAI Chat Completions",
        "https://opencode.ai/docs/config",
        'opencode run "Say hello"',
        package="npm:opencode-ai",
        tried=True,
        file=File("json", _opencode, _opencode_file, writable=True, defaults=("$schema",)),
        environment=_key_alone,
        remarks=("A project's own opencode.json wins over this file.",),
    ),
    Client(
        "aider",
        "aider",
        "OpenAI Chat Completions",
        "https://aider.chat/docs/config/aider_conf.html",
        'aider --no-git --message "Say hello"',
        package="pypi:aider-chat",
        file=File("yaml", _aider, lambda machine: machine.home / ".aider.conf.yml", writable=True),
        environment=_aider_key,
        remarks=("aider warns of models it has no prices for; the model works all the same.",),
    ),
    Client(
        "cursor",
        "Cursor",
        "OpenAI Chat Completions",
        "https://docs.cursor.com/settings/api-keys",
        "ask in Cursor's chat with the model named above; the gateway's log shows whether the request arrives",
        try_by_hand=True,
        steps=_cursor_form,
        remarks=(
            "Cursor's own servers send the requests: the address must be one that they reach, with https and a key.",
            "For newer GPT models it has sent Responses bodies to /chat/completions, which are refused: "
            "https://forum.cursor.com/t/159298",
        ),
    ),
    Client(
        "cline",
        "Cline",
        "OpenAI Chat Completions",
        "https://docs.cline.bot/provider-config/openai-compatible",
        "ask in Cline's panel",
        try_by_hand=True,
        steps=_cline_form,
    ),
    Client(
        "continue",
        "Continue",
        "OpenAI Chat Completions",
        "https://docs.continue.dev/reference",
        'choose the model CopilotAPI in Continue\'s chat, or: cn -p "Say hello"',
        try_by_hand=True,
        package="npm:@continuedev/cli",
        file=File(
            "yaml",
            _continue,
            lambda machine: machine.folder("CONTINUE_GLOBAL_DIR", ".continue") / "config.yaml",
            writable=True,
            defaults=("name", "version", "schema"),
        ),
        key_remarks=(
            f"Continue reads secrets from the file .env beside config.yaml: put {KEY_VARIABLE}={YOUR_KEY} there.",
        ),
    ),
    Client(
        "zed",
        "Zed",
        "OpenAI Chat Completions",
        "https://zed.dev/docs/ai/llm-providers",
        "open Zed's agent panel and choose the model",
        try_by_hand=True,
        file=File("json", _zed, _zed_file),
        environment=lambda connection: {KEY_VARIABLE: connection.key},
        remarks=(
            "Zed takes the key from its environment, or from its own settings page, which keeps it in the keychain.",
        ),
    ),
    Client(
        "vscode",
        "VS Code",
        "Copilot's own",
        "https://code.visualstudio.com/docs/configure/settings",
        "ask Copilot Chat; the gateway's log shows whether the request arrives",
        try_by_hand=True,
        aliases=("vs-code", "copilot"),
        file=File("json", _vs_code, lambda machine: machine.application_folder() / "Code" / "User" / "settings.json"),
        remarks=(
            "VS Code stays signed in at GitHub and sends its own Copilot token along, which the gateway discards unread.",
            "This works with a gateway without keys on your own machine only: see docs/editors.md.",
        ),
    ),
    Client(
        "neovim",
        "Neovim and Vim",
        "Copilot's own",
        "https://github.com/github/copilot.vim",
        "start the editor from this shell, and :Copilot status",
        try_by_hand=True,
        aliases=("nvim", "vim"),
        package="npm:@github/copilot-language-server",
        environment=_language_server,
        remarks=("Anything that runs GitHub's language server reads these four: see docs/editors.md.",),
    ),
    Client(
        "llm",
        "llm",
        "OpenAI Chat Completions",
        "https://llm.datasette.io/en/stable/other-models.html",
        'llm -m copilotapi "Say hello"',
        wish=_ANY,
        package="pypi:llm",
        tried=True,
        file=File(
            "yaml",
            _llm,
            lambda machine: (
                (
                    Path(machine.environ["LLM_USER_PATH"])
                    if machine.environ.get("LLM_USER_PATH")
                    else machine.application_folder() / "io.datasette.llm"
                )
                / "extra-openai-models.yaml"
            ),
        ),
        key_remarks=("Give llm the key once: llm keys set copilotapi",),
    ),
    Client(
        "litellm",
        "LiteLLM",
        "OpenAI Chat Completions",
        "https://docs.litellm.ai/docs/proxy/configs",
        "litellm --config litellm-config.yaml",
        wish=_ANY,
        package="pypi:litellm",
        file=File("yaml", _litellm),
        environment=_key_alone,
        remarks=("LiteLLM's proxy reads the file that --config names.",),
    ),
    Client(
        "langchain",
        "LangChain",
        "OpenAI Chat Completions",
        "https://python.langchain.com/docs/integrations/chat/openai",
        "python -c \"from langchain_openai import ChatOpenAI; print(ChatOpenAI(model='{model}').invoke('Say hello').text)\"",
        wish=_ANY,
        package="pypi:langchain-openai",
        tried=True,
        environment=_langchain,
    ),
    Client(
        "openai-python",
        "OpenAI SDK for Python",
        "OpenAI Chat Completions, Responses, Embeddings",
        "https://github.com/openai/openai-python",
        f"python -c \"import openai; print(openai.OpenAI().chat.completions.create(model='{{model}}', messages={_SAY_HELLO})"
        '.choices[0].message.content)"',
        wish=_ANY,
        aliases=("openai",),
        package="pypi:openai",
        tried=True,
        environment=_openai,
    ),
    Client(
        "openai-node",
        "OpenAI SDK for Node",
        "OpenAI Chat Completions, Responses, Embeddings",
        "https://github.com/openai/openai-node",
        "node --input-type=module -e \"import OpenAI from 'openai'; console.log((await new OpenAI().chat.completions.create("
        f"{{{{model: '{{model}}', messages: {_SAY_HELLO}}}}})).choices[0].message.content)\"",
        wish=_ANY,
        package="npm:openai",
        tried=True,
        environment=_openai,
    ),
    Client(
        "anthropic-python",
        "Anthropic SDK for Python",
        "Anthropic Messages",
        "https://github.com/anthropics/anthropic-sdk-python",
        "python -c \"import anthropic; print(anthropic.Anthropic().messages.create(model='{model}', max_tokens=100, "
        f'messages={_SAY_HELLO}).content[0].text)"',
        wish=_CLAUDE,
        aliases=("anthropic",),
        package="pypi:anthropic",
        tried=True,
        environment=_anthropic,
    ),
    Client(
        "anthropic-node",
        "Anthropic SDK for Node",
        "Anthropic Messages",
        "https://github.com/anthropics/anthropic-sdk-typescript",
        "node --input-type=module -e \"import Anthropic from '@anthropic-ai/sdk'; console.log((await new Anthropic().messages"
        f".create({{{{model: '{{model}}', max_tokens: 100, messages: {_SAY_HELLO}}}}})).content[0].text)\"",
        wish=_CLAUDE,
        package="npm:@anthropic-ai/sdk",
        tried=True,
        environment=_anthropic,
    ),
    Client(
        "curl",
        "curl",
        "any",
        "https://curl.se/docs/manpage.html",
        f'curl {{base_url}}/chat/completions -H "Content-Type: application/json" -d "{_CURL_BODY}"',
        wish=_ANY,
        keyed_try_it=(
            f'printf \'header = "Authorization: Bearer %s"\\n\' "${KEY_VARIABLE}" | curl -K - {{base_url}}/chat/completions '
            f'-H "Content-Type: application/json" -d "{_CURL_BODY}"'
        ),
        tried=True,
        environment=_key_alone,
        key_remarks=("curl reads the key from its standard input, so that no list of processes shows it.",),
    ),
)


def find(name: str) -> Client | None:
    """The client of that name, alias or title, in any case, with blanks or dashes."""
    return next((client for client in CLIENTS if _bare(name) in map(_bare, _names(client))), None)


def _names(client: Client) -> tuple[str, ...]:
    return (client.name, *client.aliases, client.title)


def _bare(name: str) -> str:
    return name.lower().replace(" ", "-").replace("_", "-")
