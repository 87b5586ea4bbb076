"""What tests of several rooms of carclf use."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def browser():
    """A real Chromium."""
    from tests.carclf.browsers import CHROMIUM, playwright_api

    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
