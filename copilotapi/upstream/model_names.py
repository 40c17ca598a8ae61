"""Which model a name means. Pure: a name and the ids the account has, in; an id of those, or None, out."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

_MAX_ALIAS_STEPS = 16
_DATE_SUFFIX = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2}|latest)$")
_WINDOW_SUFFIX = re.compile(r"\[\d+m\]$")
# claude-3-5-sonnet and claude-sonnet-4-5: Anthropic writes versions with dashes, Copilot with dots (copilot-wire 4.4).
_DASHED_VERSION = re.compile(r"(?<=-)(\d{1,2})-(\d{1,2})(?=-|$)")
_CLAUDE_FAMILY = re.compile(r"(?:claude-)?(opus|sonnet|haiku)")
_CLAUDE_VERSIONS = (
    re.compile(r"claude-([a-z]+)-[0-9]{1,2}(?:[.-][0-9]{1,2})?"),
    re.compile(r"claude-[0-9]{1,2}(?:[.-][0-9]{1,2})?-([a-z]+)"),
)


def resolve(name: str, aliases: Mapping[str, str], ids: Collection[str]) -> str | None:
    """The id that `name` means: itself, an alias, or the same model written another way. None when there is none."""
    name = follow(name, aliases)
    by_lower = {model_id.lower(): model_id for model_id in ids}
    for spelling in _spellings(name.lower()):
        if (model_id := by_lower.get(spelling)) is not None:
            return model_id
    family = _CLAUDE_FAMILY.fullmatch(_undated(name.lower()))
    return _newest_of_family(family[1], ids) if family else None


def stand_in(name: str, aliases: Mapping[str, str], ids: Collection[str]) -> str | None:
    """The newest of the family, for a version of Claude that is not among `ids`. None when it is, and for other names.

    Claude Code asks for versions of its own time, newer than Copilot's list or already gone from it.
    """
    name = follow(name, aliases)
    if not name.isascii() or resolve(name, {}, ids) is not None:
        return None
    versions = (pattern.fullmatch(_undated(name.lower())) for pattern in _CLAUDE_VERSIONS)
    family = next((version[1] for version in versions if version), None)
    return _newest_of_family(family, ids) if family else None


def follow(name: str, aliases: Mapping[str, str]) -> str:
    """What `name` stands for, through aliases of aliases; `name` itself when it is none. Aliases in a circle end in it."""
    for _ in range(_MAX_ALIAS_STEPS):
        if name not in aliases:
            break
        name = aliases[name]
    return name


def near_matches(name: str, ids: Collection[str]) -> list[str]:
    """Up to three ids that look like `name`, best first."""
    return difflib.get_close_matches(name.lower(), sorted(ids), n=3, cutoff=0.4)


def _spellings(name: str) -> Iterator[str]:
    yield name
    undated = _undated(name)
    for spelling in (_plain(name), undated):
        yield spelling
        yield _DASHED_VERSION.sub(r"\1.\2", spelling)
    # claude-3.5-sonnet and claude-sonnet-3.5 are one model in two fashions of naming.
    dotted = _DASHED_VERSION.sub(r"\1.\2", undated)
    if swapped := re.fullmatch(r"claude-([\d.]+)-([a-z]+)", dotted):
        yield f"claude-{swapped[2]}-{swapped[1]}"
    if swapped := re.fullmatch(r"claude-([a-z]+)-([\d.]+)", dotted):
        yield f"claude-{swapped[2]}-{swapped[1]}"


def _plain(name: str) -> str:
    return _WINDOW_SUFFIX.sub("", name).removeprefix("anthropic/").removeprefix("openai/")


def _undated(name: str) -> str:
    return _DATE_SUFFIX.sub("", _plain(name))


def _newest_of_family(family: str, ids: Collection[str]) -> str | None:
    """The highest plain version the account has."""
    of_family = re.compile(rf"claude-{family}-(\d{{1,3}})(?:\.(\d{{1,3}}))?")
    versions = ((of_family.fullmatch(model_id), model_id) for model_id in ids)
    found = [(int(match[1]), int(match[2] or 0), model_id) for match, model_id in versions if match]
    return max(found)[2] if found else None
