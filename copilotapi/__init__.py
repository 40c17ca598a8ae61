"""CopilotAPI: a gateway in front of GitHub Copilot."""
