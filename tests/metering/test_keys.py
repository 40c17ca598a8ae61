import pytest

from copilotapi.metering.keys import ANONYMOUS, Caller, KeyRing, key_id

FIRST, SECOND, ADMIN = "sk-first-0123456789", "sk-second-0123456789", "sk-admin-0123456789"


def test_a_known_key_names_its_caller() -> None:
    keys = KeyRing([FIRST, SECOND], None)
    assert keys.caller(FIRST) == Caller(key_id(FIRST), is_admin=False)
    assert keys.caller(SECOND) == Caller(key_id(SECOND), is_admin=False)


@pytest.mark.parametrize("given", ["", "x", FIRST[:-1], FIRST + " ", FIRST.upper(), "schlüssel", "\udcff"])
def test_any_other_text_is_nobody(given: str) -> None:
    assert KeyRing([FIRST, SECOND], ADMIN).caller(given) is None


def test_the_admin_key_is_told_apart() -> None:
    keys = KeyRing([FIRST], ADMIN)
    assert keys.caller(ADMIN) == Caller("admin", is_admin=True)
    assert keys.has_admin
    assert not KeyRing([FIRST], None).has_admin


def test_a_key_that_is_both_is_the_admins() -> None:
    assert KeyRing([ADMIN], ADMIN).caller(ADMIN) == Caller("admin", is_admin=True)


def test_a_ring_without_keys_is_empty_and_knows_nobody() -> None:
    assert KeyRing([], None).is_empty
    assert not KeyRing([], ADMIN).is_empty
    assert KeyRing([], None).caller("") is None


def test_an_id_tells_nothing_of_its_key_and_stays_the_same() -> None:
    assert key_id(FIRST) == key_id(FIRST) != key_id(SECOND)
    assert len(key_id(FIRST)) == len("key-") + 8
    assert not any(part in key_id(FIRST) for part in ("sk-", "first", "0123"))


def test_ids_of_all_keys_are_known() -> None:
    keys = KeyRing([FIRST, SECOND], ADMIN)
    assert sorted(keys.key_ids) == sorted([key_id(FIRST), key_id(SECOND), "admin"])
    assert ANONYMOUS.is_admin


def test_no_key_shows_in_a_ring() -> None:
    keys = KeyRing([FIRST], ADMIN)
    assert FIRST not in repr(vars(keys))
    assert ADMIN not in repr(vars(keys))
