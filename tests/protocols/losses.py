"""What of a request no other endpoint can be asked for: hints that are dropped and named, fields that are refused."""

from collections.abc import Set
from dataclasses import dataclass

from copilotapi.protocols.conversation import JSON


@dataclass(frozen=True)
class Loss:
    """`names` are told to the caller."""

    client: str
    fields: JSON
    names: Set[str]


@dataclass(frozen=True)
class Refusal:
    """`param` is named to the caller; `told` says it in the page where the name alone would not."""

    client: str
    fields: JSON
    param: str
    told: str = ""


LOSSES = (
    Loss(
        "chat",
        {"user": "u", "seed": 7, "service_tier": "auto", "store": True},
        {"user", "seed", "service_tier", "store"},
    ),
    Loss(
        "chat", {"metadata": {"a": "b"}, "prediction": {"type": "content", "content": "x"}}, {"metadata", "prediction"}
    ),
    Loss("chat", {"verbosity": "low", "prompt_cache_key": "k"}, {"verbosity", "prompt_cache_key"}),
    Loss("chat", {"messages": [{"role": "user", "name": "Ada", "content": "Hello"}]}, {"messages.name"}),
    Loss("chat", {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, {"tools.strict"}),
    Loss("chat", {"logprobs": False, "logit_bias": {}, "presence_penalty": 0, "n": 2, "modalities": ["text"]}, set()),
    Loss(
        "responses", {"metadata": {"a": "b"}, "store": True, "truncation": "auto"}, {"metadata", "store", "truncation"}
    ),
    Loss("responses", {"text": {"verbosity": "low"}, "prompt_cache_key": "k"}, {"text.verbosity", "prompt_cache_key"}),
    Loss("responses", {"tools": [{"type": "web_search"}]}, {"web_search"}),
    Loss(
        "messages",
        {"top_k": 5, "metadata": {"user_id": "u"}, "service_tier": "auto"},
        {"top_k", "metadata", "service_tier"},
    ),
    Loss("messages", {"context_management": {"edits": []}}, {"context_management"}),
    Loss(
        "messages",
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"cache_control"},
    ),
    Loss(
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]},
        set(),
    ),
    Loss("messages", {"tools": [{"name": "f", "input_schema": {}, "strict": True}]}, {"tools.strict"}),
    Loss("completions", {"logprobs": 2, "nwo": "a/b", "user": "u", "seed": 3}, {"logprobs", "nwo", "user", "seed"}),
    Loss("completions", {"presence_penalty": 0, "best_of": 1, "echo": False}, set()),
)
REFUSALS = (
    Refusal("chat", {"logprobs": True}, "logprobs"),
    Refusal("chat", {"logit_bias": {"5": 1}}, "logit_bias"),
    Refusal("chat", {"presence_penalty": 0.5}, "presence_penalty"),
    Refusal("chat", {"frequency_penalty": 0.5}, "frequency_penalty"),
    Refusal("chat", {"audio": {"voice": "x", "format": "wav"}}, "audio"),
    Refusal("chat", {"functions": [{"name": "f"}]}, "functions"),
    Refusal("chat", {"web_search_options": {"a": 1}}, "web_search_options"),
    Refusal("chat", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0", "tools that are no functions"),
    Refusal(
        "chat",
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        "tool_choice",
        "`tool_choice` among some tools",
    ),
    Refusal(
        "chat",
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "messages.0.content.0",
        "audio and files",
    ),
    Refusal(
        "chat",
        {"messages": [{"role": "assistant", "content": "x", "function_call": {"name": "f", "arguments": "{}"}}]},
        "messages.0",
        "`function_call` in messages",
    ),
    Refusal("responses", {"top_logprobs": 3}, "top_logprobs"),
    Refusal("responses", {"include": ["message.output_text.logprobs"]}, "include", "log probabilities in `include`"),
    Refusal(
        "responses",
        {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]},
        "tools.0",
        "`file_search` and other tools that OpenAI runs",
    ),
    Refusal(
        "responses", {"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input.0", "`compaction` items"
    ),
    Refusal("messages", {"mcp_servers": [{"type": "url", "url": "https://x"}]}, "mcp_servers"),
    Refusal("messages", {"container": "c"}, "container"),
    Refusal(
        "messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0", "tools that Anthropic defines"
    ),
    Refusal(
        "messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "document", "source": {"type": "base64", "data": "AAAA"}}]}
            ]
        },
        "messages.0.content.0",
        "documents that are not text, files",
    ),
    Refusal("completions", {"presence_penalty": 0.5}, "presence_penalty"),
    Refusal("completions", {"frequency_penalty": 0.5}, "frequency_penalty"),
    Refusal("completions", {"logit_bias": {"5": 1}}, "logit_bias"),
)
