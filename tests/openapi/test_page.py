"""docs/protocols.md is what the document's data make of it."""

from copilotapi.openapi import operations
from copilotapi.openapi.page import protocols_page
from tests.gateway_process import ROOT

PAGE = ROOT / "docs" / "protocols.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == protocols_page(), "run python -m copilotapi.openapi"


def test_the_page_names_every_path_and_is_no_dump() -> None:
    text = protocols_page()
    assert [path for one in operations() for path in one.paths if f"`{path}`" not in text] == []
    assert len(text.splitlines()) < 300
