"""A completion request, OpenAI's legacy form and Copilot's inline form alike: text before and after a cursor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from copilotapi.errors import ApiError, bad_request
from copilotapi.protocols.conversation import JSON, CompletionRequest, Conversation, Message, Text

_DROPPED_FIELDS = ("echo", "best_of", "user", "file_path", "language")
_SHAPING = ("presence_penalty", "frequency_penalty", "logit_bias")
_CARRIED = frozenset(
    {
        "model",
        "prompt",
        "suffix",
        "max_tokens",
        "temperature",
        "top_p",
        "stop",
        "n",
        "stream",
        "stream_options",
        "language",
        "file_path",
        "extra",
        # Checked to be what everyone is given.
        "echo",
        "best_of",
    }
)
# As for chats; OpenAI's own page of the legacy protocol names the same limit for `n`.
_MAX_CHOICES = 128
_NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class Traits:
    initiator: str = "user"
    has_images: bool = False


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """`default` when a request names none; what is above `most` is cut to it (MAX_TOKENS, MAX_TOKENS_LIMIT)."""

    default: int
    most: int


def check_request(body: JSON) -> None:
    """ApiError 400 naming the `param`."""
    prompts(body)
    _check(body, "suffix", str, "a string")
    _check(body, "model", str, "the name of a model")
    _check(body, "stream", bool, "true or false")
    _check(body, "stream_options", dict, "an object")
    _check(body.get("stream_options") or {}, "include_usage", bool, "true or false", "stream_options.")
    _check(body, "extra", dict, "an object")
    _check_extra(body.get("extra") or {})
    _check(body, "language", str, "a string")
    _check(body, "file_path", str, "a string")
    _check(body, "nwo", str, "a string")
    _check(body, "echo", bool, "true or false")
    for name in _NUMBERS:
        _check(body, name, int | float, "a number")
    for name in ("max_tokens", "n", "best_of"):
        _check_count(body, name)
    if len(prompts(body)) * (body.get("n") or 1) > _MAX_CHOICES:
        param = "n" if isinstance(body["prompt"], str) else "prompt"
        raise bad_request(f"At most {_MAX_CHOICES} completions can be asked for at once.", param=param)
    if (body.get("best_of") or 1) > 1:
        raise bad_request("'best_of' is not supported: nobody here ranks completions. Use 'n'.", param="best_of")
    if body.get("echo"):
        raise bad_request("'echo' is not supported: join prompt and completion yourself.", param="echo")
    stop = body.get("stop")
    if stop is not None and not _are_strings([stop] if isinstance(stop, str) else stop):
        raise bad_request("'stop' must be a string or a list of strings.", param="stop")


def _check_extra(extra: JSON) -> None:
    _check(extra, "language", str, "a string", "extra.")
    _check(extra, "next_indent", int, "a whole number", "extra.")
    _check(extra, "trim_by_indentation", bool, "true or false", "extra.")


def prompts(body: JSON) -> list[str]:
    """The prompt as a list. ApiError 400 when it is missing, empty, of another type or made of token numbers."""
    prompt = body.get("prompt")
    if prompt in (None, "", []):
        raise bad_request("Missing required field: prompt", param="prompt")
    if isinstance(prompt, str):
        return [prompt]
    if _are_strings(prompt) and all(prompt):
        return list(prompt)
    if isinstance(prompt, list) and all(isinstance(item, int | list) for item in prompt):
        raise bad_request("'prompt' must be text: token numbers are not supported.", param="prompt")
    raise bad_request("'prompt' must be a string or a list of strings.", param="prompt")


def with_limits(body: JSON, limits: TokenLimits) -> JSON:
    """The body with `max_tokens` set and clamped."""
    return {**body, "max_tokens": min(body.get("max_tokens") or limits.default, limits.most)}


def decode_requests(body: JSON) -> list[CompletionRequest]:
    """One for each choice: `n` of the first prompt, then `n` of the next. Takes what `check_request` let pass."""
    extra = body.get("extra") or {}
    stop = body.get("stop") or ()
    trims = extra.get("trim_by_indentation") is True and isinstance(extra.get("next_indent"), int)
    return [
        CompletionRequest(
            prompt=prompt,
            suffix=body.get("suffix") or "",
            max_tokens=body.get("max_tokens") or 256,
            temperature=body.get("temperature"),
            top_p=body.get("top_p"),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            language=str(extra.get("language") or body.get("language") or ""),
            file_path=body.get("file_path") or "",
            next_indent=extra["next_indent"] if trims else None,
            model=body.get("model") or "",
        )
        for prompt in prompts(body)
        for _ in range(body.get("n") or 1)
    ]


def decode_request(body: JSON) -> Conversation:
    """For counting: the texts as one user's message each."""
    suffix = body.get("suffix") or ""
    texts = [Message("user", (Text(prompt + suffix),)) for prompt in prompts(body)]
    return Conversation(model=body.get("model") or "", messages=tuple(texts))


def wants_usage(body: JSON) -> bool:
    """Whether a stream is to tell usage."""
    return bool((body.get("stream_options") or {}).get("include_usage"))


def traits(body: JSON) -> Traits:
    """Somebody at an editor asks for every completion."""
    return Traits()


def for_upstream(body: JSON, model: str, renames: Mapping[str, str]) -> tuple[JSON, tuple[str, ...]]:
    """Copilot's completion proxy does not do whole answers and takes no model: the engine is in the path."""
    if len(prompts(body)) > 1:
        message = (
            "A list of several prompts is not supported by Copilot's completion engine; send one request for each."
        )
        raise bad_request(message, param="prompt")
    dropped = tuple(name for name in ("user",) if body.get(name) is not None)
    sent = {name: value for name, value in body.items() if name not in (*_DROPPED_FIELDS, "model", "stream_options")}
    return {**sent, "prompt": prompts(body)[0], "stream": True}, dropped


def encode_request(conversation: Conversation) -> JSON:
    """An engine completes text; no conversation is ever put to it."""
    raise bad_request("This engine completes text and holds no conversations.", param="model")


def losses(body: JSON) -> tuple[str, ...]:
    """The names of what a chat model is not told of a completion request. ApiError 400 for what shapes the text.

    Log probabilities are no more than a hint here: editors ask for them and read an answer without.
    """
    for name in _SHAPING:
        if body.get(name):
            raise bad_request(f"'{name}': this model cannot be given it.", param=name)
    return tuple(name for name in body if name not in (*_CARRIED, *_SHAPING) and body[name] is not None)


def remedy(code: str, message: str) -> Mapping[str, str]:
    return {}


def _check(fields: JSON, name: str, expected: Any, description: str, place: str = "") -> None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):
        raise bad_request(f"'{name}' must be {description}.", param=f"{place}{name}")


def _check_count(body: JSON, name: str) -> None:
    _check(body, name, int, "a whole number")
    if isinstance(body.get(name), int) and body[name] < 1:
        raise _too_small(name)


def _too_small(name: str) -> ApiError:
    return bad_request(f"'{name}' must be at least 1.", param=name)


def _are_strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
