"""`python -m copilotapi.settings`, in the folder of the repository, writes the two pages."""

from pathlib import Path

from copilotapi.settings.pages import configuration_page, env_example

Path(".env.example").write_text(env_example(), encoding="utf-8")
Path("docs", "configuration.md").write_text(configuration_page(), encoding="utf-8")
