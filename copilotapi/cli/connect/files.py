"""A client's settings file changed and changed back: with a backup beside it, whole or not at all.

Beside the file lie, while our entries are in it, `<file>.copilotapi-<time>.bak`, as it was without them, where there
was one, and `<file>.copilotapi-<time>.written`, as we left it. It knows no client.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from copilotapi.cli.connect.documents import BrokenDocument, Document, Format
from copilotapi.cli.connect.merging import CannotMerge, put_in, take_out
from copilotapi.cli.terminal import one_line

_BOM = "\ufeff"
_RECORD = re.compile(r"\.copilotapi-(\d{8}T\d{6}Z(?:-\d+)?)\.written")
_PRIVATE = 0o600
_MOST_OF_ONE_SECOND = 100


class FileRefused(Exception):
    """Nothing was written. The message says why in one line; `has_comments` where only they stand against it."""

    def __init__(self, message: str, *, has_comments: bool = False) -> None:
        super().__init__(message)
        self.has_comments = has_comments


class NothingToUndo(Exception):
    """The file holds nothing that we know to be ours."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a file holds now, what it would hold without our entries, and with them. None: there is no file."""

    target: Path
    before: bytes | None
    without: bytes | None
    after: bytes

    @property
    def changes_nothing(self) -> bool:
        return self.before == self.after


@dataclass(frozen=True, slots=True)
class _Record:
    backup: Path
    written: Path


def planned(path: Path, form: Format, content: Mapping[str, Any], defaults: tuple[str, ...]) -> Change:
    """The change that brings our entries in. FileRefused when the file cannot be read, understood or written."""
    target = _target(path)
    before = _read(target)
    _check_writable(target, exists=before is not None)
    record = _record(target)
    without = before if record is None else _without_ours(target, form, before, record)
    after = _merged(path, form, content, defaults, without or b"")
    return Change(target, before, without, after)


def check(path: Path, form: Format) -> None:
    """FileRefused where `planned` would refuse whatever is to come in: for before anything is asked or spent."""
    target = _target(path)
    content = _read(target)
    _check_writable(target, exists=content is not None)
    _document(path, form, content or b"")


def write(change: Change, now: datetime) -> Path | None:
    """Brings the change about; the backup's path, or None where there was no file. FileRefused."""
    earlier = _record(change.target)
    try:
        change.target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_unchanged(change)
        record = _fresh_record(change.target, now)
        _write_beside_and_over(change, record)
        if earlier is not None:
            _forget(earlier)
    except OSError as exc:
        raise _unwritable(change.target, exc) from exc
    return record.backup if change.without is not None else None


def _write_beside_and_over(change: Change, record: _Record) -> None:
    try:
        if change.without is not None:
            _create(record.backup, change.without)
        _create(record.written, change.after)
        _replace(change.target, change.after)
    except OSError:
        _forget(record)
        raise


def undo(path: Path, form: Format) -> str:
    """What was done about it, as a sentence. NothingToUndo, FileRefused."""
    target = _target(path)
    record = _record(target)
    current = _read(target)
    if record is None or current is None:
        raise NothingToUndo(f"There is nothing to undo: copilotapi has written nothing that is still in {path}.")
    without = _without_ours(target, form, current, record)
    if without == current:
        raise NothingToUndo(f"There is nothing to undo: {path} holds none of copilotapi's entries any more.")
    _check_writable(target, exists=True)
    is_as_written = current == _read(record.written)
    try:
        _put_back(target, without)
        _forget(record, backup_too=is_as_written)
    except OSError as exc:
        raise _unwritable(target, exc) from exc
    if is_as_written:
        return f"{path} is as it was before." if without is not None else f"Removed {path}, which copilotapi had made."
    kept = f" As it was before, it is in {record.backup}." if record.backup.exists() else ""
    return f"{path} was changed since it was written: only copilotapi's entries were taken out.{kept}"


def _put_back(target: Path, without: bytes | None) -> None:
    if without is None:
        target.unlink()
    else:
        _replace(target, without)


def _without_ours(target: Path, form: Format, current: bytes | None, record: _Record) -> bytes | None:
    """The file as it would be without our entries; None for no file."""
    written, backup = _read(record.written), _read(record.backup)
    if current is None:
        return None
    if written is None or current == written:
        return backup
    document = _document(target, form, current)
    earlier = _plain(target, form, backup) if backup is not None else {}
    with _merging(target):
        take_out(document.tree, earlier, _plain(target, form, written), form.table)
    if _plain(target, form, current) == form.plain(document.render()):
        return current
    return _encoded(document.render(), current) if document.tree or backup is not None else None


def _merged(path: Path, form: Format, content: Mapping[str, Any], defaults: tuple[str, ...], text: bytes) -> bytes:
    document = _document(path, form, text)
    plain, expected = _plain(path, form, text), _plain(path, form, text)
    with _merging(path):
        put_in(document.tree, content, defaults, form.table)
        put_in(expected, content, defaults, dict)
    if plain == expected:
        return text
    after = document.render()
    # What the client's own reader will make of it is what counts, not what a writer of comments believes.
    if form.plain(after) != expected:
        raise FileRefused(f"{path} is laid out in a way that cannot be changed without loss. Nothing was written.")
    return _encoded(after, text)


def _document(path: Path, form: Format, content: bytes) -> Document:
    try:
        return form.read(_decoded(path, content))
    except BrokenDocument as exc:
        if exc.has_comments:
            raise FileRefused(
                f"{path} has comments or trailing commas (line {exc.line}), which would be lost. Nothing was written.",
                has_comments=True,
            ) from exc
        advice = "Nothing was written; mend the file first."
        raise FileRefused(f"{path}, line {exc.line}: {one_line(str(exc))}. {advice}") from exc


def _plain(path: Path, form: Format, content: bytes) -> dict[str, Any]:
    """Of a text that could be read before."""
    plain: dict[str, Any] = form.plain(_decoded(path, content))
    return plain


def _decoded(path: Path, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise FileRefused(f"{path}, line {line}: it is not UTF-8. Nothing was written; mend the file first.") from exc
    return text.removeprefix(_BOM).replace("\r\n", "\n")


def _encoded(text: str, like: bytes) -> bytes:
    """With the line ends and the mark at the start that the file had."""
    if b"\r\n" in like:
        text = text.replace("\n", "\r\n")
    return (_BOM.encode() if like.startswith(_BOM.encode()) else b"") + text.encode()


@contextlib.contextmanager
def _merging(path: Path) -> Iterator[None]:
    try:
        yield
    except CannotMerge as exc:
        raise FileRefused(f"{path}: {exc}. Nothing was written; mend the file first.") from exc


def _target(path: Path) -> Path:
    """The file itself where `path` is a symbolic link to it."""
    try:
        return path.resolve(strict=False)
    except (OSError, RuntimeError) as exc:
        raise FileRefused(
            f"{path} cannot be followed: its symbolic links go in a circle. Nothing was written."
        ) from exc


def _read(path: Path) -> bytes | None:
    try:
        # Else a FIFO would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileRefused(f"{path} is not a file. Nothing was written.")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unwritable(path, exc) from exc


def _check_writable(target: Path, *, exists: bool) -> None:
    """The file's own mode counts too: who may write the folder may replace it."""
    if exists and not target.stat().st_mode & stat.S_IWUSR:
        raise FileRefused(f"{target} is read-only. Nothing was written.")
    folder = next(folder for folder in target.parents if os.path.lexists(folder) or folder == folder.parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise FileRefused(f"{target} cannot be written: {folder} is not a folder to write in. Nothing was written.")


def _check_unchanged(change: Change) -> None:
    if _read(change.target) != change.before:
        raise FileRefused(f"{change.target} was changed meanwhile. Nothing was written; run the command again.")


def _record(target: Path) -> _Record | None:
    """The newest, if several were left."""
    try:
        names = [entry.name for entry in target.parent.iterdir() if entry.name.startswith(target.name)]
    except OSError:
        return None
    ours = sorted(name for name in names if _RECORD.fullmatch(name.removeprefix(target.name)))
    return _record_of(target, ours[-1].removesuffix(".written")) if ours else None


def _fresh_record(target: Path, now: datetime) -> _Record:
    stem = f"{target.name}.copilotapi-{now:%Y%m%dT%H%M%SZ}"
    for number in range(1, _MOST_OF_ONE_SECOND):
        record = _record_of(target, stem if number == 1 else f"{stem}-{number:02}")
        if not record.backup.exists() and not record.written.exists():
            return record
    raise FileRefused(f"There are too many backups beside {target}. Nothing was written; remove some.")


def _record_of(target: Path, stem: str) -> _Record:
    return _Record(target.with_name(f"{stem}.bak"), target.with_name(f"{stem}.written"))


def _forget(record: _Record, *, backup_too: bool = True) -> None:
    record.written.unlink(missing_ok=True)
    if backup_too:
        record.backup.unlink(missing_ok=True)


def _create(path: Path, content: bytes) -> None:
    """Readable by its owner only, whatever the file itself is: what is kept may hold keys."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _replace(target: Path, content: bytes) -> None:
    """Written beside, flushed, then moved over the old file, whose mode it takes."""
    descriptor, written = tempfile.mkstemp(prefix=f".{target.name}.copilotapi-", dir=target.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if target.exists():
            os.chmod(written, stat.S_IMODE(target.stat().st_mode))
        os.replace(written, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(written)
        raise


def _unwritable(path: Path, exc: OSError) -> FileRefused:
    return FileRefused(f"{path} cannot be read or written: {exc.strerror or type(exc).__name__}. Nothing was written.")
