"""The doctor's table: a row for each check, in the order in which they run. docs/operations.md names every one."""

from copilotapi.cli.doctor import account, gateway, hosts, machine
from copilotapi.cli.doctor.examination import Check

_LIVE_LIMIT_SECONDS = 60.0

CHECKS = (
    Check("settings", machine.settings),
    Check("env-file", machine.env_file),
    Check("token-file", machine.token_file, ("settings",)),
    Check("log-file", machine.log_file, ("settings",)),
    Check("versions", machine.versions),
    Check("certificates", hosts.certificates, ("settings",)),
    Check("proxy", hosts.proxy, ("settings",)),
    Check("github-web", hosts.github_web, ("settings",)),
    Check("github-api", hosts.github_api, ("settings",)),
    Check("clock", hosts.clock, ("github-api",)),
    Check("sign-in", account.sign_in, ("token-file", "github-api"), 15.0),
    Check("exchange", account.exchange, ("sign-in",), 30.0),
    Check("copilot-host", hosts.copilot_host, ("exchange",)),
    Check("models", account.models, ("copilot-host",), 20.0),
    Check("model-names", account.model_names, ("models",)),
    Check("live", account.live, ("models",), _LIVE_LIMIT_SECONDS),
    Check("identification", machine.identification, ("settings",)),
    Check("store", gateway.store, ("settings",)),
    Check("vocabularies", machine.vocabularies, ("settings",)),
    Check("port", gateway.port, ("settings",)),
    Check("public-url", gateway.public_url, ("settings",)),
    Check("forwarding", gateway.forwarding, ("public-url",), 15.0),
    Check("streaming", gateway.streaming, ("public-url", "models"), _LIVE_LIMIT_SECONDS),
)
