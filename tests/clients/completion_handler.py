"""A completion handler as a user would write one, for a gateway that asks no Copilot."""

from collections.abc import Iterator

from copilotapi.protocols.conversation import CompletionRequest


def complete(request: CompletionRequest) -> Iterator[str]:
    """Tells what it was asked, so that a test sees prompt and suffix arrive."""
    yield "return 'handled "
    yield f"{len(request.prompt) > 0} {'def other' in request.suffix}'"


complete.model = "local-coder"  # type: ignore[attr-defined]
