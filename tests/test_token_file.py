"""The stored GitHub token is private, whole, and read only when it can be trusted."""

import os
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from copilotapi.settings import Settings, SettingsError
from copilotapi.token_file import TokenFileError, check_writable, forget, load, path_in, save, signed_in

CANARY = "gho_canary_0123456789"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "config" / "copilotapi"


def write(home: Path, content: bytes, mode: int = 0o600) -> Path:
    home.mkdir(parents=True)
    path = path_in(home)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_what_was_saved_is_loaded(home: Path) -> None:
    save(home, CANARY)
    assert load(home) == CANARY


def test_nothing_stored_is_none(home: Path) -> None:
    assert load(home) is None
    assert load(Path(__file__)) is None


def test_the_file_is_0600_in_a_folder_of_0700_whatever_the_umask(home: Path) -> None:
    earlier = os.umask(0)
    try:
        save(home, CANARY)
    finally:
        os.umask(earlier)
    assert (mode_of(path_in(home)), mode_of(home)) == (0o600, 0o700)


def test_a_folder_open_to_others_is_closed(home: Path) -> None:
    home.mkdir(parents=True)
    home.chmod(0o755)
    save(home, CANARY)
    assert mode_of(home) == 0o700


def test_a_second_save_replaces_the_first_and_leaves_nothing_beside_it(home: Path) -> None:
    save(home, "gho_first")
    save(home, CANARY)
    assert load(home) == CANARY
    assert list(home.iterdir()) == [path_in(home)]


def test_a_save_replaces_a_link_and_not_what_it_points_to(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    target = tmp_path / "another"
    target.write_text("keep")
    path_in(home).symlink_to(target)
    save(home, CANARY)
    assert target.read_text() == "keep"
    assert load(home) == CANARY


def test_a_save_that_fails_keeps_the_old_token_and_leaves_nothing_beside_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(home, "gho_first")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TokenFileError, match="No space left on device"):
        save(home, CANARY)
    assert load(home) == "gho_first"
    assert list(home.iterdir()) == [path_in(home)]


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "gho_ä", "gho_x\n", "a" * 20_000])
def test_what_is_not_one_word_is_not_saved(home: Path, text: str) -> None:
    with pytest.raises(TokenFileError, match="one word of printable ASCII"):
        save(home, text)
    assert not home.exists()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_line_end_is_tolerated(home: Path, end: bytes) -> None:
    write(home, CANARY.encode() + end)
    assert load(home) == CANARY


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\r\n", "is empty"),
        (f"{CANARY}\n\n".encode(), "one token on one line"),
        (f"{CANARY}\n{CANARY}\n".encode(), "one token on one line"),
        (f"{CANARY} ".encode(), "one token on one line"),
        (f"\ufeff{CANARY}".encode(), "one token on one line"),
        (CANARY.encode() + b"\0", "one token on one line"),
        (b"x" * 20_000, "one token on one line"),
    ],
)
def test_a_file_that_is_no_token_is_refused_without_showing_it(home: Path, content: bytes, why: str) -> None:
    path = write(home, content)
    with pytest.raises(TokenFileError) as caught:
        load(home)
    assert why in str(caught.value)
    assert str(path) in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_open_to_others_is_refused(home: Path, mode: int) -> None:
    path = write(home, CANARY.encode(), mode)
    with pytest.raises(TokenFileError, match=f"chmod 600 {path}"):
        load(home)


def test_a_link_is_refused_even_to_a_private_file(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    target = write(tmp_path / "elsewhere", CANARY.encode())
    path_in(home).symlink_to(target)
    with pytest.raises(TokenFileError, match="is a symbolic link"):
        load(home)


def test_a_folder_and_a_pipe_are_refused(home: Path, tmp_path: Path) -> None:
    path_in(home).mkdir(parents=True)
    with pytest.raises(TokenFileError, match="is not a file"):
        load(home)
    os.mkfifo(path_in(tmp_path), mode=0o600)
    with pytest.raises(TokenFileError, match="is not a file"):
        load(tmp_path)


def test_a_token_is_not_stored_where_a_folder_stands(home: Path) -> None:
    path_in(home).mkdir(parents=True)
    with pytest.raises(TokenFileError, match="it is a folder"):
        check_writable(home)
    with pytest.raises(TokenFileError, match="cannot be written: Is a directory"):
        save(home, CANARY)
    assert list(home.iterdir()) == [path_in(home)]


def test_a_home_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    with pytest.raises(TokenFileError, match="file is not a folder"):
        check_writable(home)
    with pytest.raises(TokenFileError, match="Not a directory"):
        save(home, CANARY)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_home_without_the_right_to_write_is_told_before_anything_is_done(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(TokenFileError, match="Permission denied"):
            check_writable(tmp_path / "home")
    finally:
        tmp_path.chmod(0o700)


def test_looking_whether_a_home_can_be_written_creates_nothing(home: Path) -> None:
    check_writable(home)
    assert not home.parent.exists()


def test_forgetting_removes_the_file_once(home: Path) -> None:
    save(home, CANARY)
    assert forget(home)
    assert not forget(home)
    assert load(home) is None


def test_a_broken_file_can_be_forgotten(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    path_in(home).symlink_to(tmp_path / "nowhere")
    assert forget(home)
    assert list(home.iterdir()) == []


def test_a_folder_in_its_place_is_not_removed(home: Path) -> None:
    path_in(home).mkdir(parents=True)
    with pytest.raises(TokenFileError, match="cannot be removed"):
        forget(home)


def test_the_stored_token_serves_where_none_is_given(home: Path) -> None:
    save(home, CANARY)
    assert signed_in(Settings(copilotapi_home=home)).github_copilot_token == SecretStr(CANARY)
    given = Settings(copilotapi_home=home, github_copilot_token="gho_given")
    assert signed_in(given) is given


def test_settings_without_a_home_or_a_stored_token_stay_as_they_are(home: Path) -> None:
    for settings in (Settings(), Settings(copilotapi_home=home)):
        assert signed_in(settings) is settings


def test_a_broken_file_is_a_problem_of_the_settings(home: Path) -> None:
    write(home, CANARY.encode(), 0o644)
    with pytest.raises(SettingsError) as caught:
        signed_in(Settings(copilotapi_home=home))
    (problem,) = caught.value.problems
    assert problem.startswith("COPILOTAPI_HOME: ")
    assert "chmod 600" in problem
