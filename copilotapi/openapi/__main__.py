"""`python -m copilotapi.openapi`, in the folder of the repository, writes docs/protocols.md."""

from pathlib import Path

from copilotapi.openapi.page import protocols_page

Path("docs", "protocols.md").write_text(protocols_page(), encoding="utf-8")
