"""Answers of /v1/messages, whole and streamed, with what Copilot adds to Anthropic's (copilot-wire 7.4). It turns a
Reply into JSON and knows nothing of requests."""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator

from copilotapi.simulator.answers import JSON, event
from copilotapi.simulator.replies import Reply, copilot_usage, fragments, pieces

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def signature(thinking: str) -> str:
    """The signature the simulator gives a thinking block, and wants back with the very same text."""
    return base64.b64encode(hashlib.sha512(f"claude:{thinking}".encode("utf-8", "replace")).digest()).decode()


def whole(reply: Reply, model_id: str) -> JSON:
    stop = {"stop_reason": _stop_reason(reply), "stop_sequence": None, "stop_details": None}
    usage = {"usage": _usage(reply, reply.completion_tokens), "copilot_usage": copilot_usage(reply)}
    return _message(model_id) | {"content": _content(reply)} | stop | usage


def events(reply: Reply, model_id: str) -> Iterator[bytes]:
    for body in _bodies(reply, model_id):
        yield event(body, body["type"])


def error_event(code: str, message: str) -> bytes:
    kind = "overloaded_error" if code == "model_overloaded" else "api_error"
    return event({"type": "error", "error": {"type": kind, "message": message}}, "error")


def _bodies(reply: Reply, model_id: str) -> Iterator[JSON]:
    opening: JSON = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(reply, 1)}
    yield {"type": "message_start", "message": _message(model_id) | opening}
    yield {"type": "ping"}
    for index, block in enumerate(_content(reply)):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": _stop_reason(reply), "stop_sequence": None, "stop_details": None}
    usage = {"usage": _usage(reply, reply.completion_tokens), "copilot_usage": copilot_usage(reply)}
    yield {"type": "message_delta", "delta": stop} | usage
    metrics = {"inputTokenCount": reply.prompt_tokens, "outputTokenCount": reply.completion_tokens}
    yield {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}


def _message(model_id: str) -> JSON:
    # Asked for with dots, answered with dashes (copilot-wire 7.4).
    named = {"id": f"msg_bdrk_01{secrets.token_hex(11)}", "model": model_id.replace(".", "-")}
    return {"type": "message", "role": "assistant"} | named


def _content(reply: Reply) -> list[JSON]:
    blocks: list[JSON] = []
    if reply.thought:
        blocks.append({"type": "thinking", "thinking": reply.thought, "signature": signature(reply.thought)})
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    for call in reply.calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)})
    return blocks


def _empty(block: JSON) -> JSON:
    emptied = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {name: emptied.get(name, value) for name, value in block.items()}


def _deltas(block: JSON) -> Iterator[JSON]:
    match block["type"]:
        case "thinking":
            for piece in pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "text":
            for piece in pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}
        case "tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            for fragment in fragments(json.dumps(block["input"], ensure_ascii=False)):
                yield {"type": "input_json_delta", "partial_json": fragment}


def _stop_reason(reply: Reply) -> str:
    return _STOP_REASONS.get(reply.finish, reply.finish)


def _usage(reply: Reply, output_tokens: int) -> JSON:
    return {
        "input_tokens": reply.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "output_tokens": output_tokens,
    }
