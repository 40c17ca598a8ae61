"""The models of early 2026 as Copilot lists them (copilot-wire 4.4, 4.5), with the oddities a client must bear:
duplicate ids, entries without `supported_endpoints` or limits, terms not accepted, models listed but not allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from copilotapi.simulator.answers import JSON

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/v1/messages"
_SOCKET = "ws:/responses"
_EFFORTS = ("low", "medium", "high")
_IMAGE_BYTES = 3_145_728


@dataclass(frozen=True, slots=True)
class Model:
    """`endpoints` empty means the list does not say: chat completions only. A limit of None is not listed."""

    id: str
    vendor: str
    endpoints: tuple[str, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    multiplier: float = 1.0
    efforts: tuple[str, ...] = ()
    images: int = 0
    kind: str = "chat"
    max_inputs: int | None = None
    in_picker: bool = True
    is_default: bool = False
    needs_terms: bool = False
    restricted_to: tuple[str, ...] = ()
    refuses_max_tokens: bool = False
    adaptive_thinking: bool = False

    def serves(self, endpoint: str) -> bool:
        return endpoint in (self.endpoints or (CHAT,)) and self.kind == "chat"

    @property
    def style(self) -> str:
        """Whose dialect of chat completions it speaks: claude, gemini or gpt."""
        return {"Anthropic": "claude", "Google": "gemini"}.get(self.vendor, "gpt")

    @property
    def reasons(self) -> bool:
        return bool(self.efforts) or self.adaptive_thinking

    def as_listed(self, *, terms_accepted: bool) -> JSON:
        listed: JSON = {
            "id": self.id,
            "name": self.id.replace("-", " ").title(),
            "object": "model",
            "vendor": self.vendor,
            "version": self.id,
            "preview": "preview" in self.id,
            "model_picker_enabled": self.in_picker,
            "is_chat_default": self.is_default,
            "is_chat_fallback": self.is_default,
            "billing": {"is_premium": self.multiplier > 0, "multiplier": self.multiplier},
            "capabilities": self._capabilities(),
        }
        if self.endpoints:
            listed["supported_endpoints"] = list(self.endpoints)
        if self.restricted_to:
            listed["billing"]["restricted_to"] = list(self.restricted_to)
        if self.needs_terms:
            state = "enabled" if terms_accepted else "unconfigured"
            listed["policy"] = {
                "state": state,
                "terms": f"Enable access to {self.id}. [Learn more](https://gh.io/terms).",
            }
        return listed

    def _capabilities(self) -> JSON:
        return {
            "type": self.kind,
            "family": self.id.removesuffix("-preview"),
            "object": "model_capabilities",
            "tokenizer": "cl100k_base" if self.kind == "embeddings" else "o200k_base",
            "limits": self._limits(),
            "supports": self._supports(),
        }

    def _limits(self) -> JSON:
        limits: JSON = {}
        if self.prompt_tokens is not None and self.output_tokens is not None:
            limits["max_context_window_tokens"] = self.prompt_tokens + self.output_tokens
            limits["max_prompt_tokens"] = self.prompt_tokens
            limits["max_output_tokens"] = self.output_tokens
        if self.max_inputs is not None:
            limits["max_inputs"] = self.max_inputs
        if self.images:
            limits["vision"] = {
                "max_prompt_image_size": _IMAGE_BYTES,
                "max_prompt_images": self.images,
                "supported_media_types": ["image/jpeg", "image/png", "image/webp", "image/gif"],
            }
        return limits

    def _supports(self) -> JSON:
        if self.kind == "embeddings":
            return {"dimensions": True}
        if self.kind == "completion":
            return {"streaming": True}
        supports: JSON = {"streaming": True, "tool_calls": True, "parallel_tool_calls": True}
        if self.images:
            supports["vision"] = True
        if self.style == "gpt":
            supports["structured_outputs"] = True
        if self.style == "claude":
            supports |= {"min_thinking_budget": 1024, "max_thinking_budget": 32000}
        if self.adaptive_thinking:
            supports["adaptive_thinking"] = True
        if self.efforts:
            supports["reasoning_effort"] = list(self.efforts)
        return supports


def _openai(model_id: str, *endpoints: str, **more: Any) -> Model:
    both = (*endpoints, _SOCKET) if RESPONSES in endpoints else endpoints
    listed: JSON = {"efforts": _EFFORTS, "images": 1}
    return Model(model_id, "OpenAI", both, 272_000, 128_000, **(listed | more))


def _azure(model_id: str, prompt_tokens: int, output_tokens: int, **more: Any) -> Model:
    listed: JSON = {"prompt_tokens": prompt_tokens, "output_tokens": output_tokens, "multiplier": 0.0}
    return Model(model_id, "Azure OpenAI", **(listed | more))


def _claude(model_id: str, prompt_tokens: int | None, output_tokens: int | None, **more: Any) -> Model:
    listed: JSON = {
        "endpoints": (CHAT, MESSAGES),
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "images": 5,
    }
    return Model(model_id, "Anthropic", **(listed | more))


def _google(model_id: str, prompt_tokens: int, **more: Any) -> Model:
    return Model(model_id, "Google", (), prompt_tokens, 64_000, **({"images": 10} | more))


def _embeddings(model_id: str, max_inputs: int | None = 512) -> Model:
    listed: JSON = {"kind": "embeddings", "max_inputs": max_inputs, "in_picker": False, "multiplier": 0.0}
    return Model(model_id, "Azure OpenAI", **listed)


_OLD_GPT_4 = _azure("gpt-4", 32_768, 4_096, in_picker=False)
_OLD_GPT_4O = _azure("gpt-4-o-preview", 64_000, 4_096, in_picker=False)
_MORE_EFFORTS = (*_EFFORTS, "xhigh")

LISTED: tuple[Model, ...] = (
    _azure("gpt-4.1", 128_000, 16_384, images=1, is_default=True),
    _azure("gpt-4o", 64_000, 4_096, images=1),
    _azure("gpt-4o-mini", 12_288, 4_096, in_picker=False),
    _OLD_GPT_4,
    _OLD_GPT_4,
    _OLD_GPT_4O,
    _OLD_GPT_4O,
    _azure("gpt-5-mini", 128_000, 64_000, endpoints=(CHAT, RESPONSES, _SOCKET), efforts=_EFFORTS, images=1),
    Model("gpt-5.1", "OpenAI", (CHAT, RESPONSES, _SOCKET), 128_000, 64_000, efforts=("none", *_EFFORTS), images=1),
    _openai("gpt-5.2", CHAT, RESPONSES, efforts=()),
    _openai("gpt-5.1-codex", RESPONSES),
    _openai("gpt-5.1-codex-mini", RESPONSES, multiplier=0.33),
    _openai("gpt-5.1-codex-max", RESPONSES),
    _openai("gpt-5.2-codex", RESPONSES),
    _openai("gpt-5.3-codex", RESPONSES, efforts=_MORE_EFFORTS),
    _openai("gpt-5.4", CHAT, RESPONSES, efforts=("none", *_MORE_EFFORTS), refuses_max_tokens=True),
    _openai("gpt-5.4-mini", RESPONSES, multiplier=0.33),
    Model("gpt-5.5", "OpenAI", (RESPONSES, _SOCKET), efforts=("none", *_MORE_EFFORTS), images=1),
    _claude("claude-sonnet-4", 128_000, 16_000),
    _claude("claude-sonnet-4.5", 168_000, 32_000),
    _claude("claude-sonnet-4.6", 168_000, 32_000, efforts=_EFFORTS),
    _claude("claude-sonnet-5", None, None, needs_terms=True),
    _claude("claude-opus-4.5", 168_000, 32_000, multiplier=3.0),
    _claude("claude-opus-4.6", 168_000, 32_000, multiplier=3.0, efforts=_EFFORTS, images=1),
    _claude("claude-opus-4.6-1m", 936_000, 64_000, multiplier=6.0, efforts=_EFFORTS, restricted_to=("enterprise",)),
    _claude(
        "claude-opus-4.7", 936_000, 64_000, multiplier=3.0, efforts=(*_MORE_EFFORTS, "max"), adaptive_thinking=True
    ),
    _claude("claude-haiku-4.5", 136_000, 64_000, multiplier=0.33),
    _google("gemini-2.5-pro", 128_000),
    _google("gemini-3-flash-preview", 128_000, multiplier=0.33, efforts=_EFFORTS),
    _google("gemini-3-pro-preview", 136_000, efforts=("low", "high")),
    Model("grok-code-fast-1", "xAI"),
    Model("gpt-41-copilot", "Azure OpenAI", multiplier=0.0, kind="completion", in_picker=False),
    _embeddings("text-embedding-3-small"),
    _embeddings("text-embedding-3-small-inference"),
    _embeddings("text-embedding-ada-002", None),
)

BY_ID: Mapping[str, Model] = MappingProxyType({model.id: model for model in LISTED})

# Engines that editors have asked the completion proxy for (copilot-wire 9.1).
ENGINES = ("gpt-41-copilot", "gpt-4o-copilot", "copilot-codex")

# The proxy's own list has another shape (copilot-wire 9.2).
PROXY_MODELS = (
    {
        "name": "copilot-nes-oct",
        "provider": "azure",
        "serviceType": "NESChat",
        "capabilities": {"promptStrategy": "nes"},
    },
    {"name": "instant-apply", "provider": "azure", "serviceType": "InstantApplyChat", "capabilities": {}},
)
