"""Which path is which endpoint of which host; one port plays them all. Turns a request into an answer."""

import re
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from copilotapi.simulator import capi, github
from copilotapi.simulator.answers import Answer, Refused, refuse, text_answer
from copilotapi.simulator.chat import chat, proxy_chat
from copilotapi.simulator.completions import completions
from copilotapi.simulator.embeddings import embeddings
from copilotapi.simulator.endpoints import CAPI, GITHUB, INFERENCE, PROXY
from copilotapi.simulator.faults import Fault
from copilotapi.simulator.messages import count_tokens, messages
from copilotapi.simulator.responses import responses
from copilotapi.simulator.world import Call

_ANY = re.compile(r".*")


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: re.Pattern[str]
    endpoint: str
    answer: Callable[[Call], Answer]


def _route(method: str, path: str, endpoint: str, answer: Callable[[Call], Answer]) -> Route:
    return Route(method, re.compile(path), endpoint, answer)


def _welcome(call: Call) -> Answer:
    return text_answer("This is the Copilot simulator. Its controls are under /_simulator/.\n")


def _not_found(call: Call) -> Answer:
    raise refuse(404, "not found", "not_found")


ROUTES = (
    _route("POST", "/login/device/code", "device_code", github.device_code),
    _route("POST", "/login/oauth/access_token", "access_token", github.access_token),
    _route("GET", "/login/device", "page", github.device_page),
    _route("GET", "/user", "user", github.user),
    _route("GET", "/copilot_internal/v2/token", "token_exchange", github.token_exchange),
    _route("GET", "/copilot_internal/user", "copilot_user", github.copilot_user),
    _route("GET", "/copilot_internal/content_exclusion", "content_exclusion", github.content_exclusion),
    _route("GET", "/models", "models", capi.models),
    _route("POST", "/models/session", "session", capi.session),
    _route("GET", "/models/(?P<model>[^/]+)", "models", capi.one_model),
    _route("POST", "/models/(?P<model>[^/]+)/policy", "policy", capi.policy),
    _route("POST", "/chat/completions", "chat", chat),
    _route("POST", "/responses", "responses", responses),
    _route("POST", "/v1/messages", "messages", messages),
    _route("POST", "/v1/messages/count_tokens", "count_tokens", count_tokens),
    _route("POST", "/embeddings", "embeddings", embeddings),
    _route("GET", "/_ping", "ping", capi.ping),
    _route("POST", "(?:/proxy)?/v1/engines/(?P<engine>[^/]+)/completions", "completions", completions),
    _route("POST", "/proxy/chat/completions", "proxy_chat", proxy_chat),
    _route("GET", "/proxy/models", "proxy_models", capi.proxy_models),
    _route("GET", "/telemetry", "telemetry", capi.telemetry),
    _route("POST", "/telemetry", "telemetry", capi.telemetry),
    _route("GET", "/", "page", _welcome),
)
_NOWHERE = Route("*", _ANY, "unknown", _not_found)


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route of a request and the named parts of its path; one named `unknown` when there is none."""
    for route in ROUTES:
        if route.method == method and (found := route.path.fullmatch(path)):
            return route, found.groupdict()
    return _NOWHERE, {}


def answer(route: Route, call: Call, faults: Sequence[Fault]) -> Answer:
    """What the client gets when these faults happen to it, with the headers every answer of that host has."""
    try:
        call.meet(faults)
        given = route.answer(call)
    except Refused as exc:
        given = exc.answer
    return replace(given, headers=_common_headers(call) | given.headers)


def host_headers() -> dict[str, str]:
    """What every answer has. Editors take a 4xx without x-github-request-id for a corporate proxy's (copilot-wire 4.2)."""
    return {"x-github-request-id": secrets.token_hex(8).upper(), "x-request-id": str(uuid.uuid4())}


def _common_headers(call: Call) -> dict[str, str]:
    headers = host_headers()
    headers["x-request-id"] = call.header("x-request-id") or headers["x-request-id"]
    if call.endpoint in CAPI | PROXY:
        headers["x-copilot-service-request-id"] = str(uuid.uuid4())
        headers["openai-processing-ms"] = "1"
    if call.endpoint in (CAPI & INFERENCE):
        headers |= call.world.account.quota_headers()
    if call.endpoint in GITHUB:
        headers["x-github-media-type"] = "github.v3; format=json"
    return headers
