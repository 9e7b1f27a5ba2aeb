"""A browser for pages that the engine writes, what it says about them, and pages to look at.

Chromium as the system has it, headless, driven by Playwright. Where there is none these tests are skipped, unless
``NEUROSIEVE_REQUIRE_CHROMIUM=1`` makes that a failure.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import neurosieve as ns

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHECKS = (Path(__file__).parent / "checks.js").read_text(encoding="utf-8")

# Every section of a report has something to show, and the study takes seconds.
SPECIFICATION = {
    "name": "python-tokens",
    "seed": 0,
    "probe": {"lambda_ratios": [0.1, 0.03, 0.01], "relative_gap": 1e-2},
    "clusters": {"thresholds": [0.1, 0.3, 0.5, 0.7]},
    "layers": {"deltas": [0.03, 0.01]},
    "minimal_set": {"deltas": [0.03, 0.01], "bootstrap": 2, "random_sets": 3, "disjoint": 2},
    "combined": {"thresholds": [0.3], "deltas": [0.03]},
    "control": {"draws": 2},
}


class Shown:
    """A page that is open, and what the browser had to say about it."""

    def __init__(self, context: Any, file: Path):
        self.said: list[str] = []
        context.set_default_timeout(120_000)  # a machine that runs tests is busy
        self.asked: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda message: self.said.append(f"console, {message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        # What is asked for is counted and goes nowhere.
        context.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
        self.file = file
        self.page.goto(file.as_uri())

    def complaints(self) -> list[str]:
        """Whatever the console says, errors of scripts, and every request but that for the file."""
        asked = [url.partition("#")[0] for url in self.asked]
        return self.said + [f"request: {url}" for url in asked if url != self.file.as_uri()]

    def check(self, what: str, *arguments: float) -> Any:
        """What a function of ``checks.js`` finds."""
        return self.page.evaluate(f"(arguments) => {CHECKS.strip()}.{what}(...arguments)", list(arguments))

    def saved(self, button: Any) -> list[list[str]]:
        """The rows of the CSV file that a button saves."""
        with self.page.expect_download() as download:
            button.click()
        with open(download.value.path(), encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    def names_of_files(self) -> list[str]:
        """What the files of all buttons are called, as the page's script says it; the first is saved and is called so."""
        names = self.page.evaluate("all('button.csv').map(file_name)")
        with self.page.expect_download() as download:
            self.page.locator("button.csv").first.click()
        assert download.value.suggested_filename == names[0]
        return names


Opener = Callable[..., Shown]


def absent(why: str) -> None:
    if os.environ.get("NEUROSIEVE_REQUIRE_CHROMIUM", "0") != "0":
        pytest.fail(f"{why}, and NEUROSIEVE_REQUIRE_CHROMIUM is set", pytrace=False)
    pytest.skip(why)


# Of a module, not of the session: while Playwright is at work no other test could run an event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        absent(f"there is no Chromium: none of {', '.join(NAMES)} can be run")
    if importlib.util.find_spec("playwright") is None:
        absent("Playwright is not installed, which the extra `test` brings")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def look(chromium) -> Iterator[Opener]:
    """Opens a file as somebody with such a screen sees it."""
    contexts = []

    def opened(file: Path, width: int = 1280, scheme: str = "light", scripts: bool = True) -> Shown:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts, reduced_motion="reduce"
        )
        contexts.append(context)
        return Shown(context, file)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def page_of(tmp_path) -> Callable[[str], Path]:
    """A page of this body, for what shows that a check can fail."""

    def written(body: str, head: str = "") -> Path:
        file = tmp_path / "page.html"
        file.write_text(f"<!doctype html><html><head><meta charset=utf-8>{head}</head><body>{body}</body></html>", encoding="utf-8")
        return file

    return written


@pytest.fixture(scope="session")
def study(engine, tokens) -> ns.Study:
    parts = {part: tokens / f"{part}.safetensors" for part in ("train", "dev", "test")}
    return engine.study(SPECIFICATION | {"data": parts | {"tasks": ["fine", "coarse"]}})


@pytest.fixture(scope="session")
def studied(study, tmp_path_factory) -> Path:
    """The folder of a study."""
    folder = tmp_path_factory.mktemp("study")
    study.save(folder)
    return folder


@pytest.fixture(scope="session")
def report(studied) -> Path:
    return studied / "report.html"
