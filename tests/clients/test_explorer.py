"""/docs in a real browser: it loads without an error, asks nobody else, and its requests are answered."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from copilotapi.simulator import Simulator
from tests.gateway_process import GatewayProcess

KEY = "client-key-0123456789"
_WAIT_MS = 15_000


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with Simulator() as simulator, GatewayProcess(simulator.url, API_KEYS=KEY, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no chromium on PATH")
        pytest.skip("there is no chromium on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page with all that went wrong on it, and every address it asked."""

    page: Page
    troubles: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(_WAIT_MS)
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        self.page.on("requestfailed", lambda request: self.troubles.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.troubles.append(f"{kind}: {text}")

    def operation(self, name: str) -> Locator:
        return self.page.locator(f"#operations-{name}")

    def open(self, name: str) -> Locator:
        operation = self.operation(name)
        operation.locator(".opblock-summary-control").first.click()
        return operation

    def authorize(self, key: str) -> None:
        self.page.get_by_role("button", name="Authorize").first.click()
        dialog = self.page.locator(".modal-ux")
        dialog.locator("#auth-bearer-value").fill(key)
        dialog.get_by_role("button", name="Apply credentials").first.click()
        dialog.get_by_role("button", name="Close").first.click()

    def execute(self, operation: Locator) -> Locator:
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()
        answer = operation.locator(".live-responses-table")
        answer.wait_for()
        return answer


@pytest.fixture
def visit(browser: Browser, gateway: GatewayProcess) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 1800})
    visit = Visit(context.new_page())
    # Before anything of the page runs, so that none is missed.
    visit.page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective))"
    )
    visit.page.goto(f"{gateway.url}/docs")
    visit.operation("Chat_Completions-createChatCompletion").wait_for()
    yield visit
    context.close()


def test_a_chat_is_tried_out_without_an_error_and_without_asking_anyone_else(
    visit: Visit, gateway: GatewayProcess, tmp_path: Path
) -> None:
    visit.authorize(KEY)
    operation = visit.open("Chat_Completions-createChatCompletion")
    answer = visit.execute(operation)
    expect(answer.locator(".response-col_status").last).to_contain_text("200")
    expect(answer).to_contain_text("as played by the Copilot simulator")
    expect(operation.locator(".curl-command")).to_contain_text("Authorization: YOUR-KEY")
    assert KEY not in visit.page.content()
    visit.page.screenshot(path=tmp_path / "explorer.png")
    assert visit.troubles == []
    assert {urlsplit(url).netloc for url in visit.asked if not url.startswith("data:")} == {f"127.0.0.1:{gateway.port}"}
    assert f"{gateway.url}/v1/chat/completions" in visit.asked


def test_a_stream_is_tried_out(visit: Visit) -> None:
    visit.authorize(KEY)
    operation = visit.open("Chat_Completions-createChatCompletion")
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("textarea").fill('{"stream": true, "messages": [{"role": "user", "content": "Hello"}]}')
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text("[DONE]")
    assert visit.troubles == []


def test_the_key_is_kept_nowhere_and_gone_with_the_page(visit: Visit, gateway: GatewayProcess) -> None:
    visit.authorize(KEY)
    operation = visit.open("Models-listModels")
    expect(visit.execute(operation).locator(".response-col_status").last).to_contain_text("200")
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])"
    assert KEY not in visit.page.evaluate(kept)
    assert not visit.page.context.cookies()
    visit.page.reload()
    operation = visit.operation("Models-listModels")
    answer = visit.execute(operation)
    expect(answer.locator(".response-col_status").last).to_contain_text("401")
    assert KEY not in visit.page.content()
    assert KEY not in gateway.log


def test_a_link_cannot_make_the_page_show_another_document(visit: Visit, gateway: GatewayProcess) -> None:
    visit.asked.clear()
    visit.page.goto(f"{gateway.url}/docs?url=/health&configUrl=/health#/")
    visit.operation("Chat_Completions-createChatCompletion").wait_for()
    assert f"{gateway.url}/openapi.json" in visit.asked
    assert not any(url.endswith("/health") and "docs" not in url for url in visit.asked)


def test_each_surface_opens_without_an_error(visit: Visit) -> None:
    for name in (
        "Responses-createResponse",
        "Messages-createMessage",
        "Operator-showUsage",
        "Editors-issueEditorToken",
    ):
        expect(visit.open(name).locator(".responses-wrapper")).to_be_visible()
    assert visit.troubles == []
