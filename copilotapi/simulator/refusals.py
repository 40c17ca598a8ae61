"""The errors GitHub and Copilot are known for, made from a `status` fault (copilot-wire 2.5 and 8.2)."""

from copilotapi.simulator.answers import Answer, dump, envelope, text_answer
from copilotapi.simulator.endpoints import GITHUB
from copilotapi.simulator.faults import Fault

_DOCUMENTATION = "https://docs.github.com/rest"

_COPILOT_TEXTS = {
    401: "unauthorized: token expired",
    403: "access to this endpoint is forbidden",
    421: "misdirected request",
    466: "client version not supported: please update your editor",
    502: "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>",
    503: "upstream connect error or disconnect/reset before headers",
    504: "upstream request timeout",
}

_COPILOT_CODES = {
    400: ("invalid_request_body", "invalid request body"),
    402: ("quota_exceeded", "You have no quota"),
    404: ("not_found", "not found"),
    413: ("", "failed to parse request"),
    422: ("content_filter", "the prompt was filtered by the content safety system"),
    424: ("failed_dependency", "a dependency of the agent failed"),
    429: ("rate_limited", "Sorry, you have exceeded your rate limit. Please wait before trying again."),
    499: ("cancelled", "the request was cancelled"),
    500: ("internal_error", "internal server error"),
}

_MESSAGES = {
    "model_not_supported": "The requested model is not supported.",
    "model_overloaded": "The model is overloaded. Please try again later.",
    "user_model_rate_limited": "You have exceeded the rate limit for this model.",
    "user_global_rate_limited": "You have exceeded your session rate limit.",
    "user_weekly_rate_limited": "You have exceeded your weekly rate limit.",
    "integration_rate_limited": "This integration has exceeded its rate limit.",
    "agent_mode_limit_exceeded": "You have exceeded the limit of agent mode.",
    "extension_blocked": "This extension has been blocked.",
}

_GITHUB_MESSAGES = {
    401: "Bad credentials",
    403: "API rate limit exceeded for user ID 1.",
    404: "Not Found",
    429: "You have exceeded a secondary rate limit.",
    500: "Server Error",
    502: "Server Error",
    503: "Service Unavailable",
}


def refusal(fault: Fault, endpoint: str) -> Answer:
    """The answer of a `status` fault: what that host says with that status, unless the fault says otherwise."""
    answer = _github(fault) if endpoint in GITHUB else _copilot(fault)
    if fault.text is not None:
        answer = text_answer(fault.text, answer.status)
    extra = {"retry-after": fault.retry_after, "x-ratelimit-exceeded": fault.bucket, "content-type": fault.content_type}
    return Answer(
        answer.status,
        answer.headers | {name: str(value) for name, value in extra.items() if value is not None},
        answer.body,
    )


def github_error(status: int, message: str) -> Answer:
    body = dump({"message": message, "documentation_url": _DOCUMENTATION, "status": str(status)})
    return Answer(status, {"content-type": "application/json; charset=utf-8"}, body)


def no_seat(url: str) -> Answer:
    """The 403 for an account without Copilot (copilot-wire 2.5, the envelope)."""
    details = {
        "message": "No access to GitHub Copilot found. You are currently logged in as octocat.",
        "notification_id": "no_copilot_access",
        "title": "Signup for GitHub Copilot",
        "url": f"{url}/github-copilot/signup?editor={{EDITOR}}",
    }
    body = {
        "can_signup_for_limited": False,
        "error_details": details,
        "message": "Resource not accessible by integration",
    }
    return Answer(403, {"content-type": "application/json; charset=utf-8"}, dump(body))


def _github(fault: Fault) -> Answer:
    status = fault.status or 500
    return github_error(status, fault.message or _GITHUB_MESSAGES.get(status, "Server Error"))


def _copilot(fault: Fault) -> Answer:
    status = fault.status or 500
    if status in _COPILOT_TEXTS and fault.code is None and fault.message is None:
        text = _COPILOT_TEXTS[status]
        return text_answer(text, status, "text/html" if text.startswith("<") else "text/plain; charset=utf-8")
    code, message = _COPILOT_CODES.get(status, ("error", "the request failed"))
    code = code if fault.code is None else fault.code
    more = {"type": "rate_limit_error"} if code == "extension_blocked" else {}
    body = envelope(fault.message or _MESSAGES.get(code.partition(":")[0], message), code, **more)
    return text_answer(dump(body).decode(), status)
