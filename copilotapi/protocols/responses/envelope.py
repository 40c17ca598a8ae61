"""The response object around the items of an answer of our own making."""

from copilotapi.protocols.conversation import JSON


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
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }
