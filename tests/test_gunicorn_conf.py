"""gunicorn.conf.py: what its hooks do before the fork. What runs after it, the tests of a whole gateway see."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_LOAD = f"import runpy\nconf = runpy.run_path({str(ROOT / 'gunicorn.conf.py')!r})\n"
# Of blocks that lie side by side all but a few are freed: those few keep the C library from giving back anything itself.
_LEAVE_HOLES = """\
import os
from pathlib import Path
def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000
blocks = [bytes(1000) for _ in range(40_000)]
before = resident_mb()
blocks = blocks[::100]
"""


def run(script: str, home: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "REDIS_URL": "memory://", "COPILOTAPI_HOME": str(home)}
    command = [sys.executable, "-c", _LOAD + script]
    done = subprocess.run(
        command, cwd=home, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_memory_freed_during_the_start_is_given_back_before_the_fork(tmp_path: Path) -> None:
    told = run(f"{_LEAVE_HOLES}conf['when_ready'](None)\nprint(before - resident_mb())\n", tmp_path)
    assert int(told) > 20


def test_a_c_library_that_keeps_nothing_is_not_asked(tmp_path: Path) -> None:
    run("import ctypes\nctypes.CDLL = lambda name: object()\nconf['when_ready'](None)\n", tmp_path)
