"""The GitHub token that `copilotapi login` keeps: one line in one file that only its owner may read.

It knows nothing of GitHub and never shows the token.
"""

import contextlib
import errno
import os
import re
import stat
import tempfile
from pathlib import Path

from pydantic import SecretStr

from copilotapi.settings import Settings, SettingsError

_NAME = "github-token"
_MAX_BYTES = 16_384
_TOKEN = re.compile(r"[!-~]+")


class TokenFileError(Exception):
    """The file cannot be used or written. The message names it and says what to do, without its content."""


def path_in(home: Path) -> Path:
    return home / _NAME


def load(home: Path) -> str | None:
    """The stored GitHub token; None when there is none. TokenFileError for a file that is not safe or not a token."""
    path = path_in(home)
    try:
        # A FIFO would block here for ever without O_NONBLOCK; it makes no difference to a file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise _unusable(path, "is a symbolic link; put the file itself there") from exc
        raise _unusable(path, f"cannot be read: {exc.strerror}") from exc
    try:
        _check_is_private(path, os.fstat(descriptor))
        content = os.read(descriptor, _MAX_BYTES + 1)
    except OSError as exc:
        raise _unusable(path, f"cannot be read: {exc.strerror}") from exc
    finally:
        os.close(descriptor)
    return _github_token(path, content)


def save(home: Path, github_token: str) -> None:
    """Stores the token, whole or not at all, in place of an earlier one; `home` becomes a folder of mode 0700.

    TokenFileError when `github_token` is not one word of printable ASCII, or nothing can be written there.
    """
    path = path_in(home)
    if not _TOKEN.fullmatch(github_token) or len(github_token) >= _MAX_BYTES:
        raise TokenFileError("The GitHub token must be one word of printable ASCII; nothing was stored.")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(home.stat().st_mode) != 0o700:
            home.chmod(0o700)
        _replace(path, f"{github_token}\n".encode("ascii"))
    except OSError as exc:
        raise _unwritable(path, exc.strerror or type(exc).__name__) from exc


def check_writable(home: Path) -> None:
    """TokenFileError when `save` would fail there. Creates nothing."""
    path = path_in(home)
    folder = next(folder for folder in path.parents if os.path.lexists(folder) or folder == folder.parent)
    if not folder.is_dir():
        raise _unwritable(path, f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, os.strerror(errno.EACCES))
    if path.is_dir() and not path.is_symlink():
        raise _unwritable(path, "it is a folder")


def forget(home: Path) -> bool:
    """Removes the file, whatever is in it; False when there was none. TokenFileError when it cannot be removed."""
    path = path_in(home)
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise _unusable(path, f"cannot be removed: {exc.strerror}") from exc
    return True


def signed_in(settings: Settings) -> Settings:
    """The same settings, with the stored token where none is given. SettingsError for a file that cannot be used."""
    if settings.github_copilot_token is not None or settings.copilotapi_home is None:
        return settings
    try:
        github_token = load(settings.copilotapi_home)
    except TokenFileError as exc:
        raise SettingsError((f"COPILOTAPI_HOME: {exc}",)) from exc
    if github_token is None:
        return settings
    return settings.model_copy(update={"github_copilot_token": SecretStr(github_token)})


def _check_is_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path, "is not a file; move it away")
    if status.st_mode & 0o077:
        raise _unusable(path, f"can be read or changed by other users; chmod 600 {path}, or sign in again")


def _github_token(path: Path, content: bytes) -> str:
    text = content.decode("latin-1").removesuffix("\n").removesuffix("\r")
    if not text:
        raise _unusable(path, "is empty; sign in again with `copilotapi login`")
    if len(content) > _MAX_BYTES or not _TOKEN.fullmatch(text):
        raise _unusable(path, "does not hold one token on one line; sign in again with `copilotapi login`")
    return text


def _replace(path: Path, content: bytes) -> None:
    """Written beside, flushed to the disk, then moved over the old file: a crash leaves the old one or the new one."""
    descriptor, written = tempfile.mkstemp(prefix=f".{_NAME}-", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(written, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(written)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, why: str) -> TokenFileError:
    return TokenFileError(f"{path} {why}.")


def _unwritable(path: Path, why: str) -> TokenFileError:
    return TokenFileError(
        f"{path} cannot be written: {why}. Nothing was stored; set COPILOTAPI_HOME to another folder."
    )
