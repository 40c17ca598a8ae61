"""What a gateway's processes used."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.ground import plain_environment
from bench.processes import ProcessEnded, ProcessTree

_BUSY = """
import subprocess, sys
code = '''
import time
while time.process_time() < 0.5: pass
print("used", flush=True)
input()
'''
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
print("started", flush=True)
child.wait()
"""
_BRIEF = """
import os, subprocess, sys
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
print("started", flush=True)
while not os.path.exists("go"): pass
child.kill(), child.wait()
print("gone", flush=True)
while True: os.read(os.pipe()[0], 1)
"""


@contextmanager
def started(code: str, folder: Path) -> Iterator[ProcessTree]:
    argv = (sys.executable, "-c", code)
    processes = ProcessTree(argv, folder=folder, environment=plain_environment(), log=folder / "log", stop_seconds=0.2)
    try:
        await_word("started", folder)
        yield processes
    finally:
        processes.stop()


def await_word(word: str, folder: Path) -> None:
    end = time.monotonic() + 20
    while word not in (folder / "log").read_text():
        assert time.monotonic() < end, f"it never said {word}"


def test_the_work_of_a_child_counts(tmp_path: Path) -> None:
    with started(_BUSY, tmp_path) as processes:
        before = processes.cpu()
        await_word("used", tmp_path)
        used = processes.cpu_since(dict.fromkeys(before, 0.0))
    assert len(before) == 2
    assert 0.5 <= used < 1.5


def test_time_spent_waiting_does_not_count(tmp_path: Path) -> None:
    with started("import time\nprint('started', flush=True)\ntime.sleep(60)", tmp_path) as processes:
        before = processes.cpu()
        subprocess.run(["sleep", "0.3"], check=True)
        assert processes.cpu_since(before) < 0.1


def test_a_process_that_ended_meanwhile_spoils_the_measurement(tmp_path: Path) -> None:
    with started(_BRIEF, tmp_path) as processes:
        before = processes.cpu()
        (tmp_path / "go").touch()
        await_word("gone", tmp_path)
        with pytest.raises(ProcessEnded):
            processes.cpu_since(before)


def test_memory_and_descriptors_are_those_of_all_processes(tmp_path: Path) -> None:
    with started(_BRIEF, tmp_path) as processes:
        memory = processes.memory_kb()
        assert memory["rss"] >= memory["pss"] > 1000
        assert processes.open_descriptors() >= 7


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    with started(_BRIEF, tmp_path) as processes:
        pids = processes.pids
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids if pid != pids[1])
    end = time.monotonic() + 10
    while Path(f"/proc/{pids[1]}").exists() and "Z" not in Path(f"/proc/{pids[1]}/stat").read_text():
        assert time.monotonic() < end
