"""Everything an operator can set, in one frozen object: the only reader of the environment and of `.env`.

It imports nothing else of copilotapi, opens no connection and never shows a secret. gunicorn.conf.py reads only
gunicorn's own knobs (bind, workers, worker_connections) through Settings.
"""

from copilotapi.settings.model import SettingRow, Settings, SettingsError
from copilotapi.settings.pages import configuration_page, env_example

__all__ = ["SettingRow", "Settings", "SettingsError", "configuration_page", "env_example"]
