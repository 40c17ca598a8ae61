"""Token counts: the rules, the known numbers, and texts made to hurt a tokenizer."""

import base64
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tiktoken import Encoding

from copilotapi import token_count
from copilotapi.protocols.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from copilotapi.token_count import TokenCounter
from copilotapi.vocabularies import VOCABULARIES, Vocabularies, open_vocabularies

T = TypeVar("T")
FETCHED = Path(os.environ.get("TIKTOKEN_CACHE_DIR") or Path(__file__).parents[1] / ".cache" / "tiktoken")
needs_vocabularies = pytest.mark.skipif(
    not all((FETCHED / vocabulary.file_name).is_file() for vocabulary in VOCABULARIES),
    reason="vocabularies not fetched: run make vocabularies",
)
TOKENIZERS = ("o200k_base", "cl100k_base")
MIB = 1024 * 1024


@lru_cache
def opened() -> Vocabularies:
    return open_vocabularies(FETCHED)


def encoding(name: str) -> Encoding:
    found = opened().get(name)
    assert found is not None
    return found


class Letters:
    """An encoding with one token a character. Keeps what it was given; `before` runs first and may raise."""

    def __init__(self, name: str = "o200k_base", before: Callable[[str], object] = lambda text: None) -> None:
        self.name = name
        self.before = before
        self.texts: list[str] = []

    def encode_ordinary(self, text: str) -> list[int]:
        self.texts.append(text)
        self.before(text)
        return [0] * len(text)


class ByLastLetter:
    """An encoding whose count of a text depends on where it was cut."""

    def __init__(self, name: str = "o200k_base") -> None:
        self.name = name

    def encode_ordinary(self, text: str) -> list[int]:
        return [0] * ord(text[-1])


def counter_with(*encodings: Any, **options: Any) -> TokenCounter:
    return TokenCounter(Vocabularies({encoding.name: encoding for encoding in encodings}), **options)


def asking(*messages: Message, **fields: Any) -> Conversation:
    return Conversation("gpt-4.1", messages, **fields)


def said(*parts: Part | str) -> Message:
    return Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        pytest.fail("the network was asked")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


# Known numbers


@needs_vocabularies
@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        # The first three are printed in OpenAI's cookbook, "How to count tokens with tiktoken".
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 8, 9),
        ("hello world", 2, 2),
        ("", 0, 0),
    ],
)
def test_texts_have_their_known_counts(text: str, o200k: int, cl100k: int) -> None:
    counter = TokenCounter(opened())
    assert counter.count_text(text, "o200k_base") == o200k
    assert counter.count_text(text, "cl100k_base") == cl100k


@needs_vocabularies
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_special_tokens_are_plain_text(tokenizer: str) -> None:
    counter = TokenCounter(opened())
    assert (
        counter.count_text("<|endoftext|>", tokenizer) == len(encoding(tokenizer).encode_ordinary("<|endoftext|>")) > 1
    )
    assert counter.count(asking(said("<|endoftext|><|endofprompt|><|im_start|>")), tokenizer) > 10


@needs_vocabularies
@pytest.mark.parametrize("name", ["", "p50k_base", "o200k_harmony", "claude", "../../etc/passwd"])
def test_an_unknown_tokenizer_counts_as_o200k_base(name: str) -> None:
    text = "お誕生日おめでとう"
    assert TokenCounter(opened()).count_text(text, name) == 8


@needs_vocabularies
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_lone_surrogates_are_counted(tokenizer: str) -> None:
    counter = TokenCounter(opened())
    assert counter.count_text("\ud83d", tokenizer) > 0
    assert counter.count(asking(said("a\udc00b \ud800" * 50_000)), tokenizer) > 50_000


# The rules, with one token a character


def test_a_message_costs_three_its_role_and_its_text_and_the_reply_three() -> None:
    conversation = asking(Message("system", (Text("be kind"),)), Message("user", (Text("hello"), Text("you"))))
    assert counter_with(Letters()).count(conversation) == (3 + 6 + 7) + (3 + 4 + 5 + 3) + 3


def test_a_conversation_without_messages_costs_the_reply_alone() -> None:
    assert counter_with(Letters()).count(asking()) == 3


def test_tools_cost_sixteen_once_eight_each_keys_and_values_and_a_tenth_more() -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Rome", "Bonn"], "maxLength": 9, "x": None}}}
    text = len("namedescriptionparametersweatherTells it.typeobjectpropertiescityenumRome")
    text += len("BonnmaxLengthx")
    tool = Tool("weather", "Tells it.", schema)
    alone = counter_with(Letters()).count(asking())
    assert counter_with(Letters()).count(asking(tools=(tool,))) - alone == (16 + 8 + text) * 11 // 10
    assert counter_with(Letters()).count(asking(tools=(tool, tool))) - alone == (16 + 2 * (8 + text)) * 11 // 10


def test_calls_in_history_cost_half_as_much_again() -> None:
    call = ToolUse("call_1", "weather", '{"city":"Rome"}')
    text = len('call_1functionweather{"city":"Rome"}') + 1
    counter = counter_with(Letters())
    assert counter.count(asking(said(call))) - counter.count(asking(said())) == text * 3 // 2


def test_a_tools_result_costs_its_id_its_text_and_its_pictures() -> None:
    result = ToolResult("call_1", (Text("sunny"), Image(picture(png(10, 10)))))
    counter = counter_with(Letters())
    assert counter.count(asking(said(result))) - counter.count(asking(said())) == len("call_1sunny") + 85 + 170


def test_reasoning_costs_its_text_and_nothing_for_its_seal() -> None:
    counter = counter_with(Letters())
    with_reasoning = asking(said(Reasoning("let me see", opaque="c2VhbA==" * 1000)))
    assert counter.count(with_reasoning) - counter.count(asking(said())) == len("let me see")


def test_a_response_format_costs_its_keys_and_strings() -> None:
    counter = counter_with(Letters())
    with_format = asking(response_format={"type": "json_object"})
    assert counter.count(with_format) - counter.count(asking()) == len("typejson_object")


def test_a_schema_of_any_depth_is_counted() -> None:
    schema: dict[str, Any] = {"k": "v"}
    for _ in range(20_000):
        schema = {"k": [schema]}
    assert counter_with(Letters()).count(asking(tools=(Tool("t", "", schema),))) > 20_000


@needs_vocabularies
def test_a_published_example_of_two_messages_has_its_count() -> None:
    conversation = asking(Message("system", (Text("You are a scientist"),)), Message("user", (Text("Hello, Claude"),)))
    assert TokenCounter(opened()).count(conversation) == (3 + 1 + 4) + (3 + 1 + 3) + 3


@needs_vocabularies
@pytest.mark.parametrize(("tokenizer", "published"), [("o200k_base", 101), ("cl100k_base", 105)])
def test_the_cookbooks_tool_example_is_counted_a_little_high_never_low(tokenizer: str, published: int) -> None:
    """The example and its counts: OpenAI's cookbook, "How to count tokens with tiktoken", section 7."""
    unit = {"type": "string", "description": "The unit of temperature to return", "enum": ["celsius", "fahrenheit"]}
    place = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
    schema = {"type": "object", "properties": {"location": place, "unit": unit}, "required": ["location"]}
    conversation = asking(
        Message("system", (Text("You are a helpful assistant that can answer to questions about the weather."),)),
        Message("user", (Text("What's the weather like in Pittsburgh?"),)),
        tools=(Tool("get_current_weather", "Get the current weather in a given location", schema),),
    )
    assert published <= TokenCounter(opened()).count(conversation, tokenizer) <= published * 1.15


# Pictures


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\0\0\0"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0"


def jpeg(width: int, height: int, before: bytes = b"", frame: int = 0xC2) -> bytes:
    start = b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + bytes(9) + b"\xff\xdb\x00\x43" + bytes(65)
    return start + before + b"\xff" + struct.pack(">BHBHHB", frame, 17, 8, height, width, 3) + bytes(12)


def webp(kind: bytes, payload: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(payload) + 12) + b"WEBP" + kind + struct.pack("<I", len(payload)) + payload


def webp_lossy(width: int, height: int) -> bytes:
    # The two upper bits of each side are a scale for display, not a part of the size.
    return webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width | 0x4000, height | 0x8000) + bytes(4))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14 | 1 << 28))


def webp_extended(width: int, height: int) -> bytes:
    return webp(b"VP8X", bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def picture(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image_cost(url: str, detail: str = "auto") -> int:
    counter = counter_with(Letters())
    return counter.count(asking(said(Image(url, detail)))) - counter.count(asking(said()))


LARGEST = 85 + 170 * 8


@pytest.mark.parametrize("make", [png, gif, jpeg, webp_lossy, webp_lossless, webp_extended])
@pytest.mark.parametrize(
    ("width", "height", "tiles"),
    [
        (1, 1, 1),
        (512, 512, 1),
        (513, 512, 2),
        (512, 513, 2),
        (768, 768, 4),
        # OpenAI's own two examples: 765 tokens, and 1105 tokens.
        (1024, 1024, 4),
        (2048, 4096, 6),
        (1920, 1080, 6),
        (2048, 768, 8),
        (16000, 1, 4),
        (16000, 6000, 8),
    ],
)
def test_a_picture_costs_its_tiles(make: Callable[[int, int], bytes], width: int, height: int, tiles: int) -> None:
    assert image_cost(picture(make(width, height))) == 85 + 170 * tiles


@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xCF])
def test_every_kind_of_jpeg_frame_says_its_size(frame: int) -> None:
    assert image_cost(picture(jpeg(100, 100, frame=frame))) == 85 + 170


def test_a_jpegs_size_is_found_behind_other_segments_and_fill_bytes() -> None:
    exif = b"\xff\xe1" + struct.pack(">H", 30_002) + b"\xff\xc0" * 15_000
    tables = b"\xff\xc4" + struct.pack(">H", 20) + bytes(18)
    assert image_cost(picture(jpeg(100, 100, before=exif + tables + b"\xff\xff\xff"))) == 85 + 170


def test_low_detail_costs_the_base_whatever_the_picture_is() -> None:
    assert image_cost(picture(png(4000, 4000)), "low") == 85
    assert image_cost("https://example.invalid/cat.png", "low") == 85


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "url", ["https://example.invalid/cat.png", "http://169.254.169.254/", "file:///etc/passwd", "cat"]
)
def test_a_picture_elsewhere_costs_the_most_and_is_not_fetched(url: str) -> None:
    assert image_cost(url) == LARGEST


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:",
        "data:image/png;base64,",
        "data:image/png;base64,not base64!",
        "data:image/png;base64,ÿÿÿÿ",
        "data:image/svg+xml,<svg/>",
        picture(b"<svg/>", "image/svg+xml"),
        picture(png(0, 10)),
        picture(png(10, 10)[:20]),
        picture(gif(10, 10)[:9]),
        picture(jpeg(10, 10)[:60]),
        picture(b"\xff\xd8"),
        picture(b"\xff\xd8" + bytes(4000)),
        picture(b"\xff\xd8" + b"\xff" * 4000),
        picture(b"\xff\xd8" + b"\xff\xe0\0\0" * 4000),
        picture(jpeg(10, 10, before=(b"\xff\xe1\xff\xff" + bytes(65533)) * 2)),
        picture(webp_lossy(10, 10)[:28]),
        picture(webp(b"ALPH", bytes(20))),
        picture(b"RIFF\0\0\0\0WAVE" + bytes(40)),
    ],
)
def test_a_picture_whose_head_says_no_size_costs_the_most(url: str) -> None:
    assert image_cost(url) == LARGEST


def test_base64_broken_into_lines_and_capital_letters_in_the_kind_are_read() -> None:
    encoded = base64.encodebytes(jpeg(100, 100)).decode().replace("\n", "\r\n")
    assert image_cost(f"DATA:image/JPEG;charset=x;BASE64,{encoded}") == 85 + 170


def test_a_data_url_is_never_given_to_the_tokenizer() -> None:
    letters = Letters()
    url = picture(png(10, 10) + os.urandom(3 * MIB))
    parts = (Image(url), ToolResult("call_1", (Image(url),)))
    assert counter_with(letters).count(asking(said(*parts))) < 1000
    assert max(map(len, letters.texts)) < 100


# Texts made to hurt


def base64_text(size: int) -> str:
    return base64.b64encode(random.Random(7).randbytes(size * 3 // 4)).decode()


HOSTILE = {
    "spaces": lambda: " " * 2 * MIB,
    "tabs": lambda: "\t" * 2 * MIB,
    "newlines": lambda: "\n" * 2 * MIB,
    "carriage returns": lambda: "\r\n" * MIB,
    "no-break spaces": lambda: "\u00a0" * 2 * MIB,
    "ideographic spaces": lambda: "\u3000" * 2 * MIB,
    "a": lambda: "a" * 2 * MIB,
    "equals": lambda: "=" * 2 * MIB,
    "base64": lambda: base64_text(2 * MIB),
    "combining marks": lambda: "e" + "\u0301" * 2 * MIB,
    "mixed": lambda: (
        "".join(piece * 40_000 for piece in (" \t", "a=", "\n\n", "\u00a0x", "漢字", "😀", "\ud800\n")) * 4
    ),
    "words between spaces": lambda: ("word" + " " * 999_990) * 2,
}


@needs_vocabularies
@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_two_megabytes_of_anything_are_counted_near_the_truth_and_in_time(
    make: Callable[[], str], tokenizer: str
) -> None:
    text = make()
    pieces = (text[start : start + 50_000] for start in range(0, len(text), 50_000))
    truth = sum(len(encoding(tokenizer).encode_ordinary(piece)) for piece in pieces)
    started = time.process_time()
    counted = TokenCounter(opened()).count(asking(said(text)), tokenizer)
    assert time.process_time() - started < 10
    assert counted == pytest.approx(truth, rel=0.1)


@needs_vocabularies
def test_a_panic_of_the_real_encoder_gives_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_count, "_SLICE_CHARS", 10 * MIB)
    monkeypatch.setattr(token_count, "_EXACT_EFFORT", 10 * MIB)
    text = " " * 1_100_000
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - no module exports the type
        encoding("o200k_base").encode_ordinary(text)
    assert not isinstance(caught.value, Exception)
    counter = TokenCounter(opened())
    assert counter.count_text(text) == 275_000
    assert counter.count_text("hello world") == 2


# The bounds


def test_no_slice_is_longer_than_a_hundred_thousand_characters() -> None:
    letters = Letters()
    assert counter_with(letters).count_text("x" * 950_001) == 950_001
    assert "".join(letters.texts) == "x" * 950_001
    assert max(map(len, letters.texts)) == 100_000


def test_beyond_the_budget_evenly_spaced_samples_speak_for_the_rest() -> None:
    letters = Letters()
    text = "".join(f"{number:8}" for number in range(1_250_000))
    assert counter_with(letters).count_text(text) == pytest.approx(len(text), rel=0.0001)
    assert sum(map(len, letters.texts)) <= 2_000_000
    starts = [text.index(sample) for sample in letters.texts]
    assert len(starts) == 16
    assert (starts[0], starts[-1] + len(letters.texts[-1])) == (0, len(text))
    assert len({(later - earlier) // 100 for earlier, later in pairwise(starts)}) == 1


def test_the_budget_holds_for_a_whole_conversation() -> None:
    letters = Letters()
    messages = [said(f"{number}" + "x" * 99_990) for number in range(40)]
    counted = counter_with(letters).count(asking(*messages))
    exact = sum(3 + 4 + len(part.text) for message in messages for part in message.parts if isinstance(part, Text)) + 3
    assert counted == pytest.approx(exact, rel=0.001)
    assert sum(map(len, letters.texts)) <= 2_000_000


def test_a_hundred_thousand_tiny_messages_take_few_calls() -> None:
    letters = Letters()
    messages = [said(f"{number:06}") for number in range(100_000)]
    counted = counter_with(letters).count(asking(*messages))
    assert counted == pytest.approx(13 * 100_000, rel=0.25)
    assert len(letters.texts) < 25_000


@needs_vocabularies
def test_tiny_strings_beyond_the_budget_are_counted_high_rather_than_low() -> None:
    letters = ["a", "b"] * 60_000
    alone = TokenCounter(opened()).count(asking(response_format={}))
    counted = TokenCounter(opened()).count(asking(response_format={"enum": letters})) - alone
    assert 120_000 <= counted <= 250_000


def counting_calls() -> tuple[list[None], Callable[[Callable[[], T]], T]]:
    calls: list[None] = []

    def run_off_loop(work: Callable[[], T]) -> T:
        calls.append(None)
        return work()

    return calls, run_off_loop


def test_a_small_text_is_counted_in_place() -> None:
    calls, run_off_loop = counting_calls()
    counter = counter_with(Letters(), run_off_loop=run_off_loop)
    assert counter.count_text("x" * 16_000) == 16_000
    assert counter.count(asking(*(said("hello") for _ in range(100)))) == 100 * (3 + 4 + 5) + 3
    assert calls == []


def test_a_large_text_is_counted_off_the_loop_once() -> None:
    calls, run_off_loop = counting_calls()
    counter = counter_with(Letters(), run_off_loop=run_off_loop)
    assert counter.count_text("x" * 16_400) == 16_400
    assert len(calls) == 1


def test_many_small_messages_are_counted_off_the_loop_together() -> None:
    calls, run_off_loop = counting_calls()
    counter = counter_with(Letters(), run_off_loop=run_off_loop)
    counter.count(asking(*(said(f"message {number}") for number in range(1000))))
    assert len(calls) == 1


def test_the_encoder_itself_runs_off_the_loop() -> None:
    caller = threading.get_ident()
    seen: list[int] = []
    letters = Letters(before=lambda text: seen.append(threading.get_ident()))
    with ThreadPoolExecutor(1) as pool:
        counter = counter_with(letters, run_off_loop=lambda work: pool.submit(work).result(10))
        counter.count_text("x" * 16_400)
        counter.count_text("small")
    assert [ident == caller for ident in seen] == [False, True]


def test_at_most_two_large_texts_are_encoded_at_a_time() -> None:
    lock = threading.Lock()
    running = peak = 0
    second, third = threading.Event(), threading.Event()

    def run_off_loop(work: Callable[[], T]) -> T:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
            if running >= 2:
                second.set()
            if running >= 3:
                third.set()
        assert second.wait(10)
        # Room for a third to come in, were it let in.
        third.wait(0.2)
        with lock:
            running -= 1
        return work()

    counter = counter_with(Letters(), run_off_loop=run_off_loop)
    texts = [letter * 20_000 for letter in "abcdef"]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(counter.count_text, texts)) == [20_000] * 6
    assert peak == 2


def test_a_place_is_given_back_when_the_work_is_broken_off() -> None:
    class BrokenOff(BaseException):
        pass

    def run_off_loop(work: Callable[[], T]) -> T:
        raise BrokenOff

    counter = counter_with(Letters(), run_off_loop=run_off_loop)
    for _ in range(5):
        with pytest.raises(BrokenOff):
            counter.count_text("x" * 20_000)


@needs_vocabularies
def test_eight_threads_count_the_same_as_one() -> None:
    source = random.Random(11)
    words = ("token", " ", "count", "\n", "漢字", "😀", "=", "    ", "λ", "foo_bar")
    texts = ["".join(source.choices(words, k=size)) for size in (1, 30, 400, 5000, 20_000) for _ in range(12)]
    alone = [TokenCounter(opened()).count_text(text) for text in texts]
    shared = TokenCounter(opened())
    shuffled = source.sample(range(len(texts)), len(texts)) * 3
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda index: shared.count_text(texts[index]), shuffled))
    assert together == [alone[index] for index in shuffled]


# What is remembered


def test_a_message_seen_before_is_not_encoded_again() -> None:
    letters = Letters()
    counter = counter_with(letters)
    history = [said("first"), said("second")]
    before = counter.count(asking(*history))
    letters.texts.clear()
    assert counter.count(asking(*history, said("third"))) == before + 3 + 4 + 5
    assert letters.texts == ["user", "third"]


def test_strings_that_only_join_alike_are_told_apart() -> None:
    counter = counter_with(ByLastLetter())
    assert counter.count(asking(said("ab", "c"))) != counter.count(asking(said("a", "bc")))


def test_tokenizers_remember_apart() -> None:
    counter = counter_with(Letters("o200k_base"), ByLastLetter("cl100k_base"))
    assert counter.count_text("hello", "o200k_base") == 5
    assert counter.count_text("hello", "cl100k_base") == ord("o")
    assert counter.count_text("hello", "o200k_base") == 5


def test_five_thousand_texts_are_remembered_and_the_least_used_forgotten() -> None:
    letters = Letters()
    counter = counter_with(letters)
    for number in range(5000):
        counter.count_text(f"text {number}")
    counter.count_text("text 0")
    counter.count_text("one more")
    letters.texts.clear()
    counter.count_text("text 0")
    assert letters.texts == []
    counter.count_text("text 1")
    assert letters.texts == ["text 1"]


def test_no_text_is_kept() -> None:
    counter = counter_with(Letters())
    counter.count_text("a secret prompt")
    assert "a secret prompt" not in repr(vars(counter._recent))


# When there is no encoder, or it fails


@pytest.mark.usefixtures("no_network")
def test_without_vocabularies_text_is_four_bytes_a_token(tmp_path: Path) -> None:
    calls, run_off_loop = counting_calls()
    counter = TokenCounter(open_vocabularies(tmp_path / "nowhere"), run_off_loop=run_off_loop)
    assert counter.count_text("") == 0
    assert counter.count_text("x") == 1
    assert counter.count_text("x" * 401) == 101
    assert counter.count_text("漢" * 4) == 3
    assert counter.count_text("\ud800" * 4) == 3
    assert counter.count_text(" " * 2 * MIB) == MIB // 2
    assert calls == []


def test_without_vocabularies_json_is_two_and_a_half_bytes_a_token() -> None:
    counter = counter_with()
    result = ToolResult("call_1", (Text("x" * 90),))
    assert counter.count(asking(said(result))) == 3 + 3 + 100 / 2.5
    tool = Tool("x" * 75, "", {})
    assert counter.count(asking(tools=(tool,))) == 3 + (16 + 8 + 100 / 2.5) * 11 // 10


def test_one_missing_vocabulary_is_estimated_and_the_other_counted() -> None:
    counter = counter_with(Letters("o200k_base"))
    assert counter.count_text("x" * 400, "cl100k_base") == 100
    assert counter.count_text("x" * 400, "o200k_base") == 400


def raising(exception: BaseException) -> Callable[[str], object]:
    def raise_it(text: str) -> None:
        raise exception

    return raise_it


PanicException = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})


@pytest.mark.parametrize("failure", [PanicException("a secret prompt"), ValueError("a secret prompt")])
@pytest.mark.parametrize("size", [400, 40_000, 4_000_000])
def test_an_encoder_that_fails_gives_the_estimate_and_a_warning_without_the_text(
    failure: BaseException, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert counter_with(Letters(before=raising(failure))).count_text("x" * size) == size / 4
    (warning,) = caplog.records
    assert (warning.levelname, warning.reason) == ("WARNING", type(failure).__name__)
    assert "secret" not in repr(vars(warning))


class GreenletExit(BaseException):
    pass


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), GreenletExit()])
@pytest.mark.parametrize("size", [400, 40_000, 4_000_000])
def test_the_end_of_a_greenlet_or_the_process_is_not_held_up(ending: BaseException, size: int) -> None:
    counter = counter_with(Letters(before=raising(ending)))
    with pytest.raises(type(ending)):
        counter.count_text("x" * size)


def test_an_estimate_is_not_remembered() -> None:
    letters = Letters(before=raising(ValueError()))
    counter = counter_with(letters)
    assert counter.count_text("x" * 400) == 100
    letters.before = lambda text: None
    assert counter.count_text("x" * 400) == 400


def test_one_message_the_encoder_fails_on_leaves_the_others_exact() -> None:
    def fail_on_bad(text: str) -> None:
        if text.startswith("bad"):
            raise ValueError

    counter = counter_with(Letters(before=fail_on_bad))
    assert counter.count(asking(said("good"), said("bad" + "x" * 393))) == (3 + 4 + 4) + (3 + 100) + 3
