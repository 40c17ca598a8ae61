"""What gunicorn serves: `gunicorn -c gunicorn.conf.py wsgi:app`."""

import os
import sys

from copilotapi.app import create_app
from copilotapi.logs import configure_logging
from copilotapi.settings import Settings, SettingsError
from copilotapi.token_file import signed_in

try:
    _settings = signed_in(Settings.from_env())
    configure_logging(_settings)
    app = create_app(_settings)
except SettingsError as exc:
    print(*(f"copilotapi: {problem}" for problem in exc.problems), sep="\n", file=sys.stderr)
    sys.exit(os.EX_CONFIG)
