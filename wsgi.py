"""What gunicorn serves: `gunicorn -c gunicorn.conf.py wsgi:app`."""

from copilotapi.app import create_app
from copilotapi.logs import configure_logging
from copilotapi.settings import Settings

_settings = Settings.from_env()
configure_logging(_settings)
app = create_app(_settings)
