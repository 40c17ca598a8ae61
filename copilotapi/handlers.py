"""A function of the user's own that answers instead of Copilot: found, called beside the request, its results made deltas.

It may return a string, or yield strings or deltas. What it raises goes to whoever reads its deltas, unchanged.
"""

import importlib
import inspect
import queue
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias, get_args, get_type_hints

from copilotapi.errors import ApiError, CallerGone
from copilotapi.loop import start_aside
from copilotapi.protocols.conversation import (
    CompletionRequest,
    Conversation,
    Delta,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolInputDelta,
    ToolUseStarted,
)
from copilotapi.protocols.cursor import as_completion, as_conversation, limited, without_repetition

# Takes a Conversation, or a CompletionRequest where its first parameter is declared so.
CompletionHandler: TypeAlias = Callable[[Any], str | Iterable[str | Delta]]

_DELTAS = (TextDelta, ReasoningDelta, ToolUseStarted, ToolInputDelta)
_MAX_WAITING_DELTAS = 64
_LOOK_SECONDS = 0.5


class HandlerResultError(TypeError):
    """A handler returned or yielded what is no answer. The message is for the operator."""


def load_handler(path: str) -> CompletionHandler:
    """The function that `package.module:function` names. ValueError with what is wrong, in one line."""
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        raise ValueError(f"COMPLETION_HANDLER: {module_name} cannot be imported: {exc}") from exc
    handler = getattr(module, name, None)
    if not callable(handler):
        raise ValueError(f"COMPLETION_HANDLER: {module_name} has no function {name}")  # noqa: TRY004 (a setting's value)
    loaded: CompletionHandler = handler
    try:
        check_handler(loaded)
    except TypeError as exc:
        raise ValueError(f"COMPLETION_HANDLER: {exc}") from exc
    return loaded


def check_handler(handler: CompletionHandler) -> None:
    """TypeError, in one line for whoever gave it, when it is no function of one argument."""
    if not callable(handler):
        raise TypeError(f"a handler must be a function of one argument, not {type(handler).__name__}")
    called = handler if inspect.isroutine(handler) else type(handler).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError("a handler must be an ordinary function, not an async one")
    with suppress(ValueError):  # a built-in may tell no signature
        signature = inspect.signature(handler)
        try:
            signature.bind(None)
        except TypeError as exc:
            raise TypeError(f"a handler must be a function of one argument: {exc}") from exc


def accepted_requests(handler: CompletionHandler) -> frozenset[type]:
    """What the handler's first parameter is declared to be: CompletionRequest, Conversation, or both in a union.

    A Conversation where nothing is declared.
    """
    function = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    declared = next((hint for name, hint in hints.items() if name != "return"), None)
    named = {declared, *get_args(declared)} & {CompletionRequest, Conversation}
    return frozenset(named) or frozenset({Conversation})


def model_name(handler: CompletionHandler) -> str:
    """What answers are signed with: the handler's `model` attribute, else its own name."""
    named = getattr(handler, "model", None) or getattr(handler, "__name__", None)
    return named if isinstance(named, str) else "handler"


def handler_models(handler: CompletionHandler) -> list[dict[str, Any]]:
    """What GET /models lists with a handler: `codex`, as the original proxy's clients name it, and the handler's own."""
    chat = {"type": "chat", "supports": {"streaming": True, "tool_calls": True}}
    flags = {"is_chat_default": True, "is_chat_fallback": True, "model_picker_enabled": True}
    name = model_name(handler)
    return [
        {"id": "codex", "object": "model", "vendor": "handler", "capabilities": {"type": "completion"}},
        {"id": name, "name": name, "object": "model", "vendor": "handler", "capabilities": chat, **flags},
    ]


def ask(
    handler: CompletionHandler,
    request: Conversation | CompletionRequest,
    *,
    timeout_seconds: float,
    tick_seconds: float,
    is_caller_gone: Callable[[], bool] = lambda: False,
) -> Iterator[Delta | None]:
    """`run` with the request in the form the handler takes, and a completion's own limits kept."""
    argument: Conversation | CompletionRequest = request
    if type(request) not in accepted_requests(handler):
        argument = as_completion(request) if isinstance(request, Conversation) else as_conversation(request)
    answer = run(
        handler,
        argument,
        timeout_seconds=timeout_seconds,
        tick_seconds=tick_seconds,
        is_caller_gone=is_caller_gone,
    )
    if not isinstance(request, CompletionRequest):
        return answer
    return limited(answer if argument is request else without_repetition(answer, request), request)


def run(
    handler: CompletionHandler,
    argument: Conversation | CompletionRequest,
    *,
    timeout_seconds: float,
    tick_seconds: float,
    is_caller_gone: Callable[[], bool] = lambda: False,
) -> Iterator[Delta | None]:
    """The handler's deltas, from Started to Finished; None after each `tick_seconds` without one.

    Raises what the handler raises, HandlerResultError for a result that is none, ApiError 504 after `timeout_seconds`,
    CallerGone within half a second of `is_caller_gone`.
    Closing the iterator ends the handler at its next yield, or at once where it can be interrupted.
    """
    results: queue.Queue[Delta | Exception] = queue.Queue(_MAX_WAITING_DELTAS)
    result: Delta | Exception | None
    is_over = False

    def work() -> None:
        def put(result: Delta | Exception) -> None:
            while not is_over:
                with suppress(queue.Full):
                    results.put(result, timeout=1)
                    return

        try:
            for delta in deltas(handler(argument), model_name(handler)):
                put(delta)
                if is_over:
                    return
        except Exception as exc:
            put(exc)
        except SystemExit as exc:
            # It would end this thread alone, in silence, and the caller would wait for ever.
            put(HandlerResultError(f"the handler left by SystemExit({exc.code!r})"))

    now = time.monotonic()
    deadline, next_tick = now + timeout_seconds, now + tick_seconds
    stop = start_aside(work)
    try:
        while True:
            try:
                result = results.get(timeout=max(min(deadline - now, next_tick - now, _LOOK_SECONDS), 0.001))
            except queue.Empty:
                result = None
            if isinstance(result, Exception):
                raise result
            if result is not None:
                next_tick = time.monotonic() + tick_seconds
                yield result
            if isinstance(result, Finished):
                return
            now = time.monotonic()
            if is_caller_gone():
                raise CallerGone
            if now >= deadline:
                message = f"The completion handler took longer than {timeout_seconds:g} s."
                raise ApiError(message, status=504, kind="server_error", code="handler_timeout")
            if now >= next_tick:
                next_tick = now + tick_seconds
                yield None
    finally:
        is_over = True
        stop()


def deltas(result: object, model: str) -> Iterator[Delta]:
    """Any result a handler may give, as deltas from Started to Finished."""
    items: Iterable[object] = [result] if isinstance(result, str) else _iterable(result)
    has_started = calls_a_tool = False
    for item in items:
        delta = TextDelta(item) if isinstance(item, str) else item
        if not isinstance(delta, (*_DELTAS, Started, Finished)):
            raise HandlerResultError(f"the handler yielded {type(delta).__name__}, which is neither text nor a delta")
        if isinstance(delta, ToolInputDelta) and not calls_a_tool:
            raise HandlerResultError("the handler yielded tool input before a ToolUseStarted")
        if isinstance(delta, Started):
            if has_started:
                raise HandlerResultError("the handler yielded Started twice, or not first")
        elif not has_started:
            yield Started(_answer_id(), model)
        has_started = True
        calls_a_tool = calls_a_tool or isinstance(delta, ToolUseStarted)
        yield delta
        if isinstance(delta, Finished):
            return
    if not has_started:
        yield Started(_answer_id(), model)
    yield Finished("tool_calls" if calls_a_tool else "stop")


def _iterable(result: object) -> Iterable[object]:
    if isinstance(result, Iterable) and not isinstance(result, bytes | dict):
        return result
    raise HandlerResultError(f"the handler returned {type(result).__name__}; it must return or yield strings or deltas")


def _answer_id() -> str:
    return f"handler-{uuid.uuid4().hex}"
