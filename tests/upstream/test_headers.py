from copilotapi.upstream.headers import USER_AGENT, Identification

IDENTIFICATION = Identification("vscode/1.2.3", "copilot-chat/4.5.6", "vscode-chat", "2026-06-01")


def test_github_gets_the_github_token_in_its_own_scheme() -> None:
    assert IDENTIFICATION.to_github("gho_1") == {
        "Authorization": "token gho_1",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
        "X-GitHub-Api-Version": "2026-06-01",
        "Editor-Version": "vscode/1.2.3",
        "Editor-Plugin-Version": "copilot-chat/4.5.6",
    }


def test_copilot_gets_the_bearer_and_all_it_insists_on() -> None:
    assert IDENTIFICATION.to_copilot("tid=1", "request-7") == {
        "Authorization": "Bearer tid=1",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
        "Editor-Version": "vscode/1.2.3",
        "Editor-Plugin-Version": "copilot-chat/4.5.6",
        "Copilot-Integration-Id": "vscode-chat",
        "X-GitHub-Api-Version": "2026-06-01",
        "Openai-Intent": "conversation-panel",
        "X-Request-Id": "request-7",
    }


def test_the_gateway_names_itself_and_no_editor() -> None:
    assert USER_AGENT.startswith("copilotapi/")
