"""Every error this program raises on purpose. Raised anywhere, rendered once, in the caller's protocol.

ApiError                    has a status, a kind and a message that is fit for the caller to read
├── SignInFailed            no usable Copilot token: nothing the caller sent is at fault
├── UpstreamRefused         Copilot answered with an error status
├── UpstreamFailed          Copilot gave no complete answer: connect, reset, cut, a clock ran out
└── CallerGone              nobody is left to read the answer
"""


class ApiError(Exception):
    """An answer that is not a success.

    message: one or two sentences for the caller, free of secrets. status: HTTP status. kind: OpenAI's `error.type`.
    code: OpenAI's `error.code`, machine-readable. param: the request field at fault. retry_after_seconds: how long the
    caller had better wait. headers: further response headers.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: str,
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers or {}


class SignInFailed(ApiError):
    """GitHub gave no Copilot token, and no good one is left. Always a 503: the caller's own key was fine."""

    def __init__(self, message: str, *, code: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, status=503, kind="server_error", code=code, retry_after_seconds=retry_after_seconds)


class UpstreamRefused(ApiError):
    """Copilot answered with an error status. `upstream_status` and `upstream_code` are its own words, unmapped."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: str,
        upstream_status: int,
        upstream_code: str = "",
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            message,
            status=status,
            kind=kind,
            code=code,
            param=param,
            retry_after_seconds=retry_after_seconds,
            headers=headers,
        )
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code


class UpstreamFailed(ApiError):
    """Copilot gave no complete answer. 502 for a broken connection or a broken answer, 504 when a clock ran out.

    `nothing_received` is true when not one byte of an answer had come.
    """

    def __init__(self, message: str, *, status: int = 502, code: str, nothing_received: bool = False) -> None:
        super().__init__(message, status=status, kind="server_error", code=code)
        self.nothing_received = nothing_received


class CallerGone(ApiError):
    """The caller hung up. 499 is what nginx writes into its log for this; no one receives it."""

    def __init__(self) -> None:
        super().__init__("The caller closed the connection.", status=499, kind="server_error", code="caller_gone")


def bad_request(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> ApiError:
    """The caller's own mistake; `param` names the field."""
    return ApiError(message, status=status, kind="invalid_request_error", code=code, param=param)
