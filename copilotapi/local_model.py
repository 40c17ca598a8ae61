"""The handler that ships: any OpenAI-compatible server, so that a model of one's own serves editors and chats."""

import re
from collections.abc import Callable, Iterable, Iterator

from copilotapi.protocols import chat, completions
from copilotapi.protocols.conversation import JSON, CompletionRequest, Conversation, Delta, Usage
from copilotapi.protocols.cursor import as_conversation, without_repetition
from copilotapi.sse import reading

# How the makers of common code models want prefix and suffix written, by a pattern of the model's name. From the model
# cards of Qwen2.5-Coder, StarCoder2, CodeLlama, DeepSeek-Coder, Codestral, CodeGemma and Granite Code.
_TEMPLATES: tuple[tuple[str, str], ...] = (
    (r"qwen.*coder", "<|fim_prefix|>{prompt}<|fim_suffix|>{suffix}<|fim_middle|>"),
    (r"codegemma", "<|fim_prefix|>{prompt}<|fim_suffix|>{suffix}<|fim_middle|>"),
    (r"starcoder|granite.*code|stable-?code", "<fim_prefix>{prompt}<fim_suffix>{suffix}<fim_middle>"),
    (r"code-?llama", "<PRE> {prompt} <SUF>{suffix} <MID>"),
    (r"deepseek.*coder", "<｜fim▁begin｜>{prompt}<｜fim▁hole｜>{suffix}<｜fim▁end｜>"),
    (r"codestral", "[SUFFIX]{suffix}[PREFIX]{prompt}"),
)


def template_for(model: str) -> str | None:
    """The fill-in-the-middle template of a model, by its name; None for one that is not known to have any."""
    return next((template for pattern, template in _TEMPLATES if re.search(pattern, model, re.IGNORECASE)), None)


class LocalModel:
    """A completion handler. `stream` POSTs a body to a path and yields the answer's bytes; `template` has {prompt} and
    {suffix}. Without a template, inline completions are asked of the model as a conversation.
    """

    def __init__(self, stream: Callable[[str, JSON], Iterable[bytes]], model: str, template: str | None = None) -> None:
        self.model = model
        self._stream = stream
        self._template = template or template_for(model)

    def __call__(self, request: Conversation | CompletionRequest) -> Iterator[Delta]:
        if isinstance(request, Conversation):
            return self._chat(request)
        if self._template is None:
            return _present(without_repetition(iter(self._chat(as_conversation(request))), request))
        return self._complete(request, self._template)

    def _chat(self, conversation: Conversation) -> Iterator[Delta]:
        body = {**chat.encode_request(conversation), "model": self.model}
        tally = chat.new_tally(answer_id="", model=self.model, created=0)
        pieces = chat.repair_stream(
            reading(self._stream("/chat/completions", body)),
            tally,
            choice_count=1,
            wants_usage=False,
            estimate=_no_usage,
        )
        return _present(chat.decode_stream(pieces))

    def _complete(self, request: CompletionRequest, template: str) -> Iterator[Delta]:
        body: JSON = {
            "model": self.model,
            "prompt": template.replace("{suffix}", request.suffix).replace("{prompt}", request.prompt),
            "max_tokens": request.max_tokens,
            "stream": True,
        }
        optional = {"temperature": request.temperature, "top_p": request.top_p, "stop": list(request.stop) or None}
        body |= {name: value for name, value in optional.items() if value is not None}
        tally = completions.new_tally(answer_id="local", model=self.model, created=0)
        pieces = completions.repair_stream(
            reading(self._stream("/completions", body)), tally, choice_count=1, wants_usage=False, estimate=_no_usage
        )
        return _present(completions.decode_stream(pieces))


def _present(deltas: Iterable[Delta | None]) -> Iterator[Delta]:
    return (delta for delta in deltas if delta is not None)


def _no_usage() -> Usage:
    return Usage(0, 0, estimated=True)
