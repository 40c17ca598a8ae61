"""The files for systemd, containers and Kubernetes, held against the program they run."""

import fnmatch
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from copilotapi.settings import Settings, SettingsError
from tests.deploy.shipped import (
    DEPLOY,
    ROOT,
    SETTINGS,
    dockerfile,
    documents,
    image_command,
    image_environment,
    of,
    unit,
    unit_environment,
    unit_path,
    unknown_settings,
)
from tests.faults.processes import eventually
from tests.gateway_process import GatewayProcess, free_port
from tests.redis_server import require_redis

_SECRETS = {"GITHUB_COPILOT_TOKEN", "API_KEYS", "ADMIN_KEY", "REDIS_PASSWORD"}


def own_number(name: str) -> float:
    [value] = re.findall(rf"^{name} = (.+)$", (ROOT / "gunicorn.conf.py").read_text(), re.M)
    return float(value)


def environments() -> dict[str, dict[str, str]]:
    """What each way to run it puts into the environment."""
    [compose] = documents("compose.yaml")
    return {
        "systemd": dict(unit_environment()),
        "image": image_environment(),
        "compose": {**image_environment(), **compose["services"]["gateway"]["environment"]},
        "kubernetes": {**image_environment(), **{env["name"]: env["value"] for env in container()["env"]}},
    }


@pytest.mark.parametrize("way", ["systemd", "image", "compose", "kubernetes"])
def test_every_variable_is_a_setting(way: str) -> None:
    assert unknown_settings(set(environments()[way])) == set()


@pytest.mark.parametrize("way", ["systemd", "compose", "kubernetes"])
def test_the_variables_make_settings_that_start(way: str, tmp_path: Path) -> None:
    environment = environments()[way]
    assert {name for name in _SECRETS if f"{name}_FILE" in environment} == _SECRETS
    for number, name in enumerate(sorted(_SECRETS)):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(f"gho_canary_number_{number}\n")
        environment[f"{name}_FILE"] = str(path)
    environment |= {"PORT": "8001", "ALLOWED_HOSTS": "api.example.com"}
    settings = Settings.from_env(environment, dotenv=None)
    assert settings.trusted_proxy_count == 1
    assert settings.admin_key is not None
    with pytest.raises(SettingsError):
        Settings.from_env({**environment, "API_KEYS_FILE": str(tmp_path / "nowhere")}, dotenv=None)


# systemd.


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    here = {"/opt/copilotapi/.venv/bin/gunicorn": "/bin/true", "WorkingDirectory=/opt/copilotapi": "WorkingDirectory=/"}
    text = unit_path().read_text()
    for shipped, put_in in here.items():
        assert shipped in text
        text = text.replace(shipped, put_in)
    instance = tmp_path / "copilotapi@8001.service"
    instance.write_text(text)
    verified = subprocess.run(["systemd-analyze", "verify", str(instance)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    # 1.0 is 10 there; systemd calls anything below 2 "OK".
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(instance)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_the_unit_waits_longer_than_the_gateway_and_knows_its_exit_code() -> None:
    keys = unit()
    assert float(keys["TimeoutStopSec"][0]) > own_number("graceful_timeout")
    assert keys["RestartPreventExitStatus"] == [str(os.EX_CONFIG)]
    assert (keys["KillMode"], keys["KillSignal"]) == (["mixed"], ["SIGTERM"])
    assert int(keys["LimitNOFILE"][0]) > 2 * Settings(api_keys="k-for-a-test").worker_connections


def test_each_credential_of_the_unit_is_read_and_each_that_is_read_is_there() -> None:
    loaded = {value.partition(":")[0] for value in unit()["LoadCredential"]}
    read = {value.removeprefix("%d/") for name, value in unit_environment() if name.endswith("_FILE")}
    assert loaded == read


# The image.


def is_in_the_context(path: str) -> bool:
    """As Docker decides: the last rule of .dockerignore that fits counts; ! lets in; a folder's rule holds within it."""
    parts = Path(path).parts
    prefixes = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    is_in = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#"):
            pattern = rule.removeprefix("!")
            names = [parts[-1]] if pattern.startswith("**/") else prefixes
            if any(fnmatch.fnmatchcase(name, pattern.removeprefix("**/")) for name in names):
                is_in = rule.startswith("!")
    return is_in


def copied() -> list[str]:
    """What comes from the context."""
    return [word for copy in of("COPY") if not copy.text.startswith("--from") for word in copy.text.split()[:-1]]


def test_each_file_that_the_image_copies_is_there_and_let_in() -> None:
    assert {"copilotapi", "gunicorn.conf.py", "wsgi.py", "requirements.lock"} <= set(copied())
    assert [path for path in copied() if not (ROOT / path).exists() or not is_in_the_context(path)] == []


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", ".cache/tiktoken", ".venv/bin/python", "tests", "copilotapi/.env", "deploy", "x.log"],
)
def test_nothing_else_gets_into_the_image(path: str) -> None:
    assert not is_in_the_context(path)


def test_the_project_is_installed_from_what_was_copied() -> None:
    metadata = (ROOT / "pyproject.toml").read_text()
    named = {name for name in ("README.md", "requirements.txt") if f'"{name}"' in metadata}
    assert named == {"README.md", "requirements.txt"}
    assert named <= set(copied())


def test_only_hashed_requirements_are_installed() -> None:
    installs = [run.text for run in of("RUN") if "pip install" in run.text]
    assert [("--require-hashes" in text) or ("--no-deps" in text) for text in installs] == [True, True]


def test_the_image_runs_as_nobody_in_particular_and_is_ended_by_term() -> None:
    last = max(instruction.stage for instruction in dockerfile())
    final = {instruction.name: instruction.text for instruction in dockerfile() if instruction.stage == last}
    assert final["USER"] == "10001:10001"
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert final["EXPOSE"] == image_environment()["PORT"]
    assert "RUN" not in final
    assert not SETTINGS & {row.name for row in Settings.documentation() if row.secret} & set(image_environment())
    assert image_command("CMD")[-1] == "wsgi:app"


# Compose.


def service(name: str) -> dict[str, Any]:
    [compose] = documents("compose.yaml")
    found: dict[str, Any] = compose["services"][name]
    return found


@pytest.mark.parametrize("name", ["gateway", "redis"])
def test_each_service_is_confined(name: str) -> None:
    found = service(name)
    assert (found["read_only"], found["cap_drop"], found["user"]) == (True, ["ALL"], "10001:10001")
    assert found["security_opt"] == ["no-new-privileges:true"]


def test_only_nginx_on_the_same_machine_reaches_the_gateway_and_only_the_gateway_redis() -> None:
    assert [port.rpartition(":")[0].partition(":")[0] for port in service("gateway")["ports"]] == ["127.0.0.1"]
    assert "ports" not in service("redis")
    [compose] = documents("compose.yaml")
    assert [compose["networks"][network].get("internal") for network in service("redis")["networks"]] == [True]


def test_each_secret_of_compose_is_a_file_that_a_service_reads() -> None:
    [compose] = documents("compose.yaml")
    read = {
        value.removeprefix("/run/secrets/")
        for name, value in service("gateway")["environment"].items()
        if name.endswith("_FILE")
    }
    assert set(compose["secrets"]) == set(service("gateway")["secrets"]) == read
    assert set(service("redis")["secrets"]) <= read
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())


def test_compose_builds_the_image_and_waits_for_its_answers() -> None:
    build = service("gateway")["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert float(service("gateway")["stop_grace_period"].removesuffix("s")) > own_number("graceful_timeout")
    assert service("gateway")["ports"][0].endswith(f":{image_environment()['PORT']}")


def test_redis_takes_its_password_from_the_file_and_shows_it_nowhere(tmp_path: Path) -> None:
    require_redis()
    secret = tmp_path / "redis_password"
    secret.write_text("canary-redis-password\n")
    port, here = free_port(), {"/run/secrets": str(tmp_path), "/run/redis": str(tmp_path), "/data": str(tmp_path)}
    [script] = service("redis")["command"]
    check: str = service("redis")["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -p {port}")
    script = script.replace("--dir", f"--bind 127.0.0.1 --port {port} --dir")
    for inside, outside in {**here, "$$": "$"}.items():
        script, check = script.replace(inside, outside), check.replace(inside, outside)
    with subprocess.Popen([*service("redis")["entrypoint"], script], stdout=subprocess.DEVNULL) as server:
        try:
            assert eventually(lambda: subprocess.run(["sh", "-c", check], capture_output=True).returncode == 0, 10)
            assert "canary" not in Path(f"/proc/{server.pid}/cmdline").read_text()
            assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
            with (
                redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client,
                pytest.raises(redis.AuthenticationError),
            ):
                client.ping()
        finally:
            server.terminate()
    assert server.returncode == 0


# Kubernetes.


def pod() -> dict[str, Any]:
    deployment = documents("kubernetes.yaml")[0]
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    [found] = pod()["containers"]
    result: dict[str, Any] = found
    return result


def test_the_service_and_the_budget_find_the_pods() -> None:
    deployment, exposed, budget = documents("kubernetes.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"], exposed["spec"]["selector"]]
    assert [*selectors, budget["spec"]["selector"]["matchLabels"]] == [labels] * 3
    [port] = container()["ports"]
    assert exposed["spec"]["ports"][0]["targetPort"] == port["name"]
    assert str(port["containerPort"]) == image_environment()["PORT"]


def test_a_pod_is_confined_and_its_writable_folders_are_mounts() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod()["volumes"]}
    files = {env["value"] for env in container()["env"] if env["name"].endswith("_FILE")}
    assert {str(Path(file).parent) for file in files} == {mounts["secrets"]}
    assert "/tmp" in mounts.values()


def test_a_pod_has_more_time_to_end_than_the_gateway_takes() -> None:
    pre_stop_seconds = float(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod()["terminationGracePeriodSeconds"] > own_number("graceful_timeout") + pre_stop_seconds


def test_services_of_the_cluster_do_not_become_settings() -> None:
    """Kubernetes sets REDIS_PORT=tcp://10.0.0.1:6379 for a Service called redis."""
    assert pod()["enableServiceLinks"] is False
    with pytest.raises(SettingsError, match="REDIS_PORT"):
        Settings.from_env({"REDIS_PORT": "tcp://10.0.0.1:6379"}, dotenv=None)


def test_the_probes_are_answered_though_they_come_by_address(played_gateway: GatewayProcess) -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container()[probe]["httpGet"]
        headers = {header["name"]: header["value"] for header in asked["httpHeaders"]}
        assert played_gateway.request("GET", asked["path"], headers=headers).status == 200
        assert played_gateway.request("GET", asked["path"], headers={"Host": "10.1.2.3:8000"}).status == 421


def test_a_gateway_without_its_redis_stays_in_service(played_gateway: GatewayProcess) -> None:
    reply = played_gateway.request("GET", container()["readinessProbe"]["httpGet"]["path"])
    assert (reply.status, reply.json["status"]) == (200, "degraded")
    assert [reason["name"] for reason in reply.json["reasons"]] == ["redis_unavailable"]
