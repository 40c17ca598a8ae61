"""What the gateway tells GitHub and Copilot about itself. Every value is the operator's to set; `doctor` shows them."""

from dataclasses import dataclass

from copilotapi.version import VERSION

USER_AGENT = f"copilotapi/{VERSION}"


@dataclass(frozen=True, slots=True)
class Identification:
    """Copilot answers 400 without Editor-Version and filters its models by the integration id (copilot-wire 4.2)."""

    editor_version: str
    editor_plugin_version: str
    integration_id: str
    github_api_version: str

    def to_github(self, github_token: str) -> dict[str, str]:
        return {
            "Authorization": f"token {github_token}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            "X-GitHub-Api-Version": self.github_api_version,
            "Editor-Version": self.editor_version,
            "Editor-Plugin-Version": self.editor_plugin_version,
        }

    def to_copilot(self, bearer: str, request_id: str, intent: str = "conversation-panel") -> dict[str, str]:
        return {
            "Authorization": f"Bearer {bearer}",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            "Editor-Version": self.editor_version,
            "Editor-Plugin-Version": self.editor_plugin_version,
            "Copilot-Integration-Id": self.integration_id,
            "X-GitHub-Api-Version": self.github_api_version,
            "Openai-Intent": intent,
            "X-Request-Id": request_id,
        }
