"""What a body must be to get through: JSON that means the same to every reader, within its limits, in time."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from copilotapi.simulator import Simulator
from tests.application import caller, connected
from tests.faults.played_copilot import GOOD_STREAM, Chat, PlayedCopilot, response, saying

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hi"}]
GOOD = {"model": "gpt-4.1", "messages": MESSAGES}
LIMIT_BYTES = 200_000


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[FlaskClient]:
    with connected(simulator.url, max_body_bytes=LIMIT_BYTES) as client:
        yield client


def post(client: FlaskClient, body: bytes | str | object, content_type: str = "application/json") -> TestResponse:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(CHAT, data=data, content_type=content_type)


def refusal(response: TestResponse) -> tuple[int, Any]:
    """Status and `param` of an error in OpenAI's shape."""
    error = response.get_json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert response.headers["X-Request-Id"]
    return response.status_code, error["param"]


def with_value(spelling: str) -> str:
    """A good body with one more field, its value spelled as given."""
    return json.dumps({**GOOD, "extra": None}).replace("null", spelling)


def received(simulator: Simulator) -> Any:
    """The body that reached Copilot last."""
    return json.loads(simulator.recorder.to("chat")[-1].body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   \r\n\t",
        b"{",
        b"no JSON",
        b"{'model': 1}",
        b'{"model": "gpt-4.1",}',
        b'{"model": "gpt-4.1"} trailing',
        b"{} {}",
        b"null",
        b"[]",
        b'[{"role": "user"}]',
        b'"text"',
        b"42",
        b"true",
        b"NaN",
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
        json.dumps(GOOD).encode("utf-16"),
        json.dumps(GOOD).encode("utf-16-le"),
        json.dumps(GOOD).encode("utf-32"),
        b'{"model": "\xff\xfe"}',
        b'{"model": "\xc0\xaf"}',
        b'{"model": "\xed\xa0\x80"}',
        b'{"model": "a\x00b"}',
        b'{"model": "a\nb"}',
        b"\x1f\x8b\x08\x00",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: FlaskClient, body: bytes) -> None:
    assert refusal(post(client, body)) == (400, None)


@pytest.mark.parametrize(
    "spelling",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1" * 400 + ".0",
        "123456789012345678901234567890",
        "-123456789012345678901234567890",
        "18446744073709551616",
        "-9223372036854775809",
        '[[1, {"a": 99999999999999999999999}]]',
        "1" * 5000,
        "01",
        "0x10",
        "+1",
        "1.",
        ".5",
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '{"\\ud800": 1}',
        '"\\x41"',
        "undefined",
    ],
)
def test_a_value_that_readers_take_differently_is_refused(client: FlaskClient, spelling: str) -> None:
    assert refusal(post(client, with_value(spelling))) == (400, None)


@pytest.mark.parametrize(
    "spelling",
    [
        "18446744073709551615",
        "-9223372036854775808",
        "1e30",
        "1e-999999",
        "-0",
        "0.1",
        '"123456789012345678901234567890"',
        '"\\ud83d\\ude00"',
        '"\\u0000"',
        '"\\uffff \\u2028"',
        '"\\u006dodel"',
        '{"model": 1, "model": 2, "messages": []}',
        '[{"stream": 1, "str\\u0065am": 2}]',
        "[" * 60 + "]" * 60,
    ],
)
def test_an_unusual_value_reaches_copilot_as_it_was_meant(
    client: FlaskClient, simulator: Simulator, spelling: str
) -> None:
    response = post(client, with_value(spelling))
    assert response.status_code == 200, response.text
    assert received(simulator)["extra"] == json.loads(spelling)


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_a_body_nested_too_deep_is_refused(depth: int, brackets: tuple[str, str]) -> None:
    opening, closing = brackets
    client = caller(max_body_bytes=1_000_000)
    inner = depth - 1
    assert refusal(post(client, with_value(opening * inner + "1" + closing * inner))) == (400, None)


def test_a_body_nested_as_deep_as_allowed_passes(client: FlaskClient) -> None:
    assert post(client, with_value("[" * 63 + "]" * 63)).status_code == 200


@pytest.mark.parametrize("field", ["model", "stream", "messages", "n", "max_tokens", "max_completion_tokens", "tools"])
def test_a_field_that_steers_may_stand_only_once(client: FlaskClient, field: str) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in field)
    mixed = field[0] + f"\\u{ord(field[1]):04X}" + field[2:] if len(field) > 1 else escaped
    for again in (field, escaped, mixed):
        body = f'{{"{field}": null, "{again}" \n: null, {json.dumps(GOOD)[1:]}'
        assert refusal(post(client, body)) == (400, field), again


def test_other_fields_may_stand_twice_and_the_last_one_counts(client: FlaskClient, simulator: Simulator) -> None:
    assert post(client, '{"user": "a", "user": "b", ' + json.dumps(GOOD)[1:]).status_code == 200
    assert received(simulator)["user"] == "b"


def test_a_steering_word_in_a_text_is_no_field(client: FlaskClient) -> None:
    told = {**GOOD, "messages": [{"role": "user", "content": 'say "model": "messages": "model": \\u006dodel'}]}
    assert post(client, told).status_code == 200


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("messages", [None, "hi", {}, 1, True, []]),
        ("model", [1, True, [], {}, "", " \u2028"]),
        ("stream", ["true", 1, 0, [], {}]),
        ("stream_options", [True, 1, "x", []]),
        ("temperature", ["1", True, [], {}]),
        ("top_p", ["1", False, [], {}]),
        ("presence_penalty", ["1", True, []]),
        ("frequency_penalty", ["1", True, {}]),
        ("max_tokens", ["1", 1.5, True, 0, -1, []]),
        ("max_completion_tokens", ["1", 1.5, True, 0, -1, {}]),
        ("n", ["1", 1.5, True, 0, -1, 129, 10**18, []]),
        ("tools", [{}, "x", 1, True]),
        ("stop", [1, True, {}]),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(client: FlaskClient, field: str, values: list[object]) -> None:
    for value in values:
        assert refusal(post(client, {**GOOD, field: value})) == (400, field), value


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [None]}, "messages.0"),
        ({"messages": [*MESSAGES, "hi"]}, "messages.1"),
        ({"messages": [{}]}, "messages.0.role"),
        ({"messages": [{"role": 1}]}, "messages.0.role"),
        ({"messages": [{"role": None}]}, "messages.0.role"),
        ({"messages": [{"role": ["user"]}]}, "messages.0.role"),
        ({"messages": [{"role": "nobody", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": 1}]}]}, "messages.0.content.0"),
        ({"messages": [*MESSAGES, {"role": "assistant", "tool_calls": {}}]}, "messages.1.tool_calls"),
        ({"messages": [*MESSAGES, {"role": "assistant", "tool_calls": ["x"]}]}, "messages.1.tool_calls.0"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}, {"function": "f"}]}, "tools.1.function"),
        ({"tools": [{"function": None}]}, "tools.0.function"),
        ({"stop": ["a", 1]}, "stop"),
    ],
)
def test_what_is_wrong_inside_a_field_is_named_by_its_place(
    client: FlaskClient, change: dict[str, Any], param: str
) -> None:
    assert refusal(post(client, {**GOOD, **change})) == (400, param)


def test_a_missing_field_is_named(client: FlaskClient) -> None:
    assert refusal(post(client, {})) == (400, "messages")
    assert refusal(post(client, {"model": "gpt-4.1"})) == (400, "messages")


def test_a_model_name_of_a_megabyte_is_a_short_404(simulator: Simulator) -> None:
    with connected(simulator.url) as client:
        response = post(client, {**GOOD, "model": "gpt-4.1" * 150_000})
    assert refusal(response) == (404, "model")
    assert len(response.data) < 1_000


@pytest.mark.parametrize("model", ["a\r\nX-Injected: 1", "\x00", "../../etc", "gpt-4.1\n", "{}", "💥"])
def test_a_model_name_of_odd_letters_is_a_404(client: FlaskClient, model: str) -> None:
    response = post(client, {**GOOD, "model": model})
    assert refusal(response) == (404, "model")
    assert "X-Injected" not in response.headers


def test_fields_we_do_not_know_reach_copilot_unchanged(client: FlaskClient, simulator: Simulator) -> None:
    unknown = {"reasoning": {"effort": "low"}, "x-y": [1, 2.5, None, {"z": "ü"}], "": 0, "seed": 2**63, "user": "me"}
    assert post(client, {**GOOD, **unknown}).status_code == 200
    assert received(simulator) == {**GOOD, **unknown}


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/json", "application/x-www-form-urlencoded", "application/jsonp", "application/json5"],
)
def test_a_body_that_does_not_call_itself_json_is_refused(client: FlaskClient, content_type: str) -> None:
    assert refusal(post(client, GOOD, content_type)) == (415, None)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;x=1"]
)
def test_json_may_call_itself_so_in_any_way(client: FlaskClient, content_type: str) -> None:
    assert post(client, GOOD, content_type).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "x"])
def test_a_compressed_body_is_refused(client: FlaskClient, encoding: str) -> None:
    body = json.dumps(GOOD)
    headers = {"Content-Encoding": encoding}
    assert refusal(client.post(CHAT, data=body, content_type="application/json", headers=headers)) == (415, None)


def test_a_body_of_just_the_limit_passes_and_one_byte_more_does_not(client: FlaskClient) -> None:
    body = json.dumps(GOOD).encode()
    assert post(client, body.ljust(LIMIT_BYTES)).status_code == 200
    response = post(client, body.ljust(LIMIT_BYTES + 1))
    assert refusal(response) == (413, None)
    assert response.get_json()["error"]["code"] == "request_too_large"
    assert str(LIMIT_BYTES) in response.get_json()["error"]["message"]


# gevent must not be let into the process of the tests.
_TRICKLE = """
from gevent import monkey; monkey.patch_all()
import gevent, socket, time
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader
from copilotapi.blueprints import body
from copilotapi.blueprints.web_app import Incoming
from copilotapi.errors import ApiError
from copilotapi.loop import caller_socket

body._TOTAL_SECONDS, body._GAP_SECONDS = {total_seconds}, {gap_seconds}
ours, theirs = socket.socketpair()

def trickle():
    for _ in range(300):
        theirs.send(b" ")
        gevent.sleep({pause_seconds})

gevent.spawn(trickle)
environ = {{"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "1000",
    "wsgi.input": Body(LengthReader(SocketUnreader(ours), 1000)), "wsgi.input_terminated": True,
    "gunicorn.socket": ours}}
started = time.monotonic()
try:
    incoming = Incoming(environ)
    incoming.caller_socket = caller_socket(environ)
    body.json_body(incoming, 10_000)
except ApiError as error:
    print(error.status, error.code, time.monotonic() - started < 2)
"""


@pytest.mark.parametrize(
    "clocks",
    [
        {"total_seconds": 0.2, "gap_seconds": 30, "pause_seconds": 0.01},
        {"total_seconds": 30, "gap_seconds": 0.2, "pause_seconds": 30},
    ],
    ids=["trickles", "stalls"],
)
def test_a_body_that_does_not_come_in_time_is_given_up(clocks: dict[str, float]) -> None:
    script = _TRICKLE.format(**clocks)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert ran.stdout == "408 request_timeout True\n", ran.stderr


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "other"])},
    optional={"text": _JSON, "image_url": _JSON},
)
_MESSAGE = st.fixed_dictionaries(
    {"role": _ROLES},
    optional={
        "content": st.text(max_size=20) | st.none() | st.lists(_PART, max_size=3),
        "tool_calls": st.lists(
            st.dictionaries(st.sampled_from(["id", "type", "function", "index"]), _JSON), max_size=2
        ),
        "tool_call_id": _JSON,
        "name": _JSON,
    },
)
_FIELDS = {
    "temperature": st.floats(0, 2),
    "n": st.integers(1, 3),
    "max_tokens": st.integers(1, 100),
    "tools": st.lists(st.fixed_dictionaries({"function": st.dictionaries(st.text(max_size=8), _JSON)}), max_size=2),
    "tool_choice": _JSON,
    "stop": st.text(max_size=8) | st.lists(st.text(max_size=8), max_size=2),
    "stream": st.booleans() | st.none(),
    "stream_options": st.dictionaries(st.just("include_usage"), st.booleans() | _JSON),
    "response_format": _JSON,
    "reasoning_effort": _JSON,
    "metadata": _JSON,
}
_PLAUSIBLE = st.fixed_dictionaries(
    {"model": st.sampled_from(["gpt-4.1", "gpt-4o"]), "messages": st.lists(_MESSAGE, min_size=1, max_size=3)},
    optional=_FIELDS,
)
_BODY = st.builds(
    lambda unknown, body, spoilt: {**unknown, **body, **spoilt},
    st.dictionaries(st.text(max_size=8), _JSON, max_size=3),
    _PLAUSIBLE,
    st.just({}) | st.dictionaries(st.sampled_from(["model", "messages", *_FIELDS]), _JSON, max_size=1),
)
_OURS = {"model", "stream_options", "store", "metadata", "service_tier"}


def answer(chat: Chat) -> None:
    """Takes any body, and tells no usage, so that it is estimated from the request."""
    whole = response(200, b'{"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]}')
    saying(GOOD_STREAM if chat.body.get("stream") else whole)(chat)


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot(answer) as copilot:
        yield copilot


@pytest.fixture(scope="module")
def client_of_played_copilot(copilot: PlayedCopilot) -> Iterator[FlaskClient]:
    with connected(copilot.url) as client:
        yield client


@settings(max_examples=250, deadline=None)
@given(body=_BODY, ascii_only=st.booleans())
def test_any_object_reaches_copilot_with_its_meaning_or_is_refused(
    client_of_played_copilot: FlaskClient, copilot: PlayedCopilot, body: dict[str, Any], ascii_only: bool
) -> None:
    copilot.play(answer)
    given_back = post(client_of_played_copilot, json.dumps(body, ensure_ascii=ascii_only).encode())
    if given_back.status_code == 200:
        assert b'"error"' not in given_back.data
        sent = json.loads(copilot.requests[-1].partition(b"\r\n\r\n")[2])
        assert without_ours(sent) == without_ours(body)
    else:
        assert refusal(given_back)[0] in (400, 404)
        assert copilot.chat_count == 0


def without_ours(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _OURS}


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_unless_they_are_a_request(client: FlaskClient, body: bytes) -> None:
    assert refusal(post(client, body))[0] == 400


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_good_request_with_a_few_bytes_changed_is_never_an_error_of_ours(
    client: FlaskClient, data: st.DataObject
) -> None:
    body = bytearray(json.dumps({**GOOD, "n": 1, "stop": ["x"], "temperature": 0.5, "tools": []}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert post(client, bytes(body)).status_code < 500
