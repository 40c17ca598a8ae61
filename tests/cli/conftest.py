from collections.abc import Iterator
from pathlib import Path

import pytest

from copilotapi.simulator import Simulator
from tests.cli.terminal_user import ADMIN_KEY, API_KEY, TerminalUser
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess, free_port


@pytest.fixture(scope="package")
def upstream() -> Iterator[Simulator]:
    """For all tests that leave it as it is."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="package")
def running(upstream: Simulator) -> Iterator[GatewayProcess]:
    """gunicorn with a key for clients and one for its operator."""
    settings = {"API_KEYS": f"{API_KEY},key-of-somebody-else", "ADMIN_KEY": ADMIN_KEY, "FALLBACK_MODEL": "gpt-4o"}
    with GatewayProcess(upstream.url, **settings) as gateway:
        yield gateway


@pytest.fixture
def user(upstream: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TerminalUser:
    """Signed in, with no gateway running at HOST and PORT."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTPS_PROXY", "https_proxy", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return TerminalUser(
        {
            "GITHUB_COPILOT_TOKEN": GITHUB_TOKEN,
            "GITHUB_URL": upstream.url,
            "GITHUB_API_URL": upstream.url,
            "REDIS_URL": "memory://",
            "COPILOTAPI_HOME": str(tmp_path / "home"),
            "TIKTOKEN_CACHE_DIR": str(tmp_path / "none"),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "API_KEYS": API_KEY,
        }
    )
