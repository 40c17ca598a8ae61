"""What gunicorn serves: `gunicorn -c gunicorn.conf.py wsgi:app`."""

from copilotapi.app import create_app
from copilotapi.logs import configure_logging
from copilotapi.settings import Settings
from copilotapi.token_file import signed_in

_settings = signed_in(Settings.from_env())
configure_logging(_settings)
app = create_app(_settings)
