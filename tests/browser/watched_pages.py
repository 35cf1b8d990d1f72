"""Pages in Chromium, watched for all that a page must not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY = "html[data-ready]"
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@dataclass
class Watched:
    """A page and what it has done.

    Attributes:
        page: Playwright's page.
        done: What a page must not do: dialogs, requests, errors, windows.
    """

    page: Any
    done: list[str] = field(default_factory=list)

    def misdeeds(self) -> list[str]:
        """All of it, with what the page's policy has forbidden and what a payload has left."""
        found = [*self.done, *self.page.evaluate("window.violations.map((name) => `forbidden: ${name}`)")]
        return [*found, "a payload ran"] if self.page.evaluate("'PWNED' in window") else found

    def wait(self) -> None:
        """Waits until the page has drawn twice, and has done what it was to do later."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@contextmanager
def watched(
    browser: Any, path: Path, *, dark: bool = False, width: int = 1280, ready: bool = True
) -> Iterator[Watched]:
    """Opens a page.

    Args:
        browser: Playwright's browser.
        path: The file.
        dark: Whether the system is dark.
        width: The width of the window.
        ready: Whether the page is a report, which says when it is ready.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    try:
        context.add_init_script(_VIOLATIONS)
        page = context.new_page()
        watch = Watched(page)
        page.on("dialog", lambda dialog: _dismiss(watch, dialog))
        page.on("pageerror", lambda error: watch.done.append(f"error: {error}"))
        page.on("popup", lambda popup: watch.done.append(f"window: {popup.url}"))
        page.on("console", lambda message: watch.done.append(f"{message.type}: {message.text}"))
        page.on("request", lambda request: _note(watch, request.url, path))
        page.goto(path.absolute().as_uri())
        if ready:
            page.wait_for_selector(READY, state="attached")
            assert page.get_attribute("html", "data-ready") == "yes", page.inner_text("#trouble")
        yield watch
    finally:
        context.close()


def _dismiss(watch: Watched, dialog: Any) -> None:
    watch.done.append(f"dialog: {dialog.message}")
    dialog.dismiss()


def _note(watch: Watched, url: str, path: Path) -> None:
    if url != path.absolute().as_uri() and not url.startswith("data:image/"):
        watch.done.append(f"request: {url}")
