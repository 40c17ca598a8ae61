"""The response object around the items of an answer."""

from copilotapi.protocols.conversation import JSON


def required_fields() -> JSON:
    """What openai-python 3.52 requires of every response besides its identity."""
    return {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}


def envelope(*, answer_id: str, model: str, created: int, status: str, output: list[JSON]) -> JSON:
    """A response of our own making, without usage. `created` is unix time."""
    return {
        "id": answer_id,
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "top_p": None,
        "usage": None,
        **required_fields(),
    }
