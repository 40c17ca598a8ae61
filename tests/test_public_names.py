import subprocess
import sys

import copilotapi


def test_every_public_name_is_there() -> None:
    assert all(getattr(copilotapi, name) is not None for name in copilotapi.__all__)


def test_the_package_loads_nothing_before_it_is_asked() -> None:
    program = "import sys, copilotapi; sys.exit('flask' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
