"""Walks through the console in a browser, as `test_console.py` says, and prints what it saw as JSON on its last line.

Runs in an environment of its own (requirements/browser.txt) with the system's Chromium.
"""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT = 1100, 720
PATIENCE = 30_000


class Walk:
    """A browser that notes what should not happen: dialogs, errors of scripts, and what axe finds."""

    def __init__(self, browser: Browser, url: str, pictures: Path | None) -> None:
        self._browser = browser
        self.url = url
        self._pictures = pictures
        self.wrong: list[str] = []
        self._schemes_of_sign_in: set[str] = set()

    @contextmanager
    def signed_in(self, token: str = "", **options: Any) -> Iterator[Page]:
        """Sign in with a token, or else at the provider, and sign out at the end."""
        context = self._browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, **options)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("dialog", self._refuse)
        page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.goto(f"{self.url}/ui")
        scheme = options.get("color_scheme", "light")
        if scheme not in self._schemes_of_sign_in:
            self._schemes_of_sign_in.add(scheme)
            self.look(page, "sign-in")
        if token:
            page.get_by_label("Token").fill(token)
            page.get_by_role("button", name="Sign in").click()
        else:
            page.get_by_role("link", name="Sign in with localhost").click()
        page.wait_for_url("**/ui/jobs")
        yield page
        page.goto(f"{self.url}/ui/jobs")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/ui/sign-in")
        context.close()

    def _refuse(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def go(self, page: Page, path: str, name: str = "") -> None:
        page.goto(f"{self.url}/ui/{path}")
        self.look(page, name or path)

    def look(self, page: Page, name: str) -> None:
        found = Axe().run(page).response["violations"]
        self.wrong += [f"{name}: {one['id']}, {one['nodes'][0]['html'][:100]}" for one in found]

    def picture(self, page: Page, name: str, height: int | None = None) -> None:
        """Keep a picture of a page, as much of it as is `height` high, or all of it."""
        if self._pictures is not None:
            page.set_viewport_size({"width": WIDTH, "height": height or 1})
            page.screenshot(path=self._pictures / f"console-{name}.png", full_page=height is None)
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def jobs_on(page: Page) -> list[str]:
    return list(page.locator("tbody th a.id").all_inner_texts())


def by_provider(walked: Walk) -> Iterator[str]:
    """Yield who has signed in at the provider, and who that is after the page was loaded again."""
    with walked.signed_in() as page:
        yield page.locator(".who span").inner_text()
        page.reload()
        yield page.locator(".who span").inner_text()


def learned_rates(walked: Walk, page: Page, job: str) -> list[str]:
    """Return which generators a job of the noise learner has rates of."""
    walked.go(page, f"jobs/{job}", "job of the noise learner")
    page.locator("circle.point").first.wait_for()
    walked.look(page, "job with its rates")
    walked.picture(page, "layer", 1000)
    return list(page.locator("svg text.label").all_text_contents())


def walk(
    browser: Browser, url: str, done: str, waits: str, plain: str, of_class: str, learned: str, pictures: Path | None
) -> dict[str, Any]:
    walked = Walk(browser, url, pictures)
    seen: dict[str, Any] = {}
    with walked.signed_in("alice") as page:
        walked.look(page, "jobs")
        seen["own jobs"] = jobs_on(page)
        walked.picture(page, "jobs")
        walked.go(page, f"jobs/{done}", "job")
        page.locator("rect.bar").first.wait_for()
        page.locator("pre.drawing").first.wait_for()
        walked.look(page, "job with its outcomes")
        seen["bars"] = page.locator("svg text.label").all_text_contents()
        seen["drawing"] = page.locator("pre.drawing").first.inner_text()
        seen["name"] = page.locator("#circuit-0").inner_text()
        walked.picture(page, "job", 1000)
        walked.go(page, f"jobs/{waits}", "queued job")
        seen["waits"] = page.locator(".summary .state").inner_text()
        page.get_by_role("button", name="Cancel this job").click()
        page.get_by_text("Cancelled by its owner.").wait_for()
        seen["cancelled"] = page.locator(".summary .state").inner_text()
        walked.go(page, "devices")
        walked.go(page, "devices/fake_torino@aer", "device")
        seen["qubits drawn"] = page.locator(".map circle").count()
        walked.picture(page, "device", 760)
        for path in ("executors", "sessions"):
            walked.go(page, path)
        seen["rates"] = learned_rates(walked, page, learned)
    with walked.signed_in("alice", color_scheme="dark") as page:
        page.set_viewport_size({"width": 390, "height": 720})
        for path in ("jobs", f"jobs/{done}", "devices/fake_torino@aer", "executors"):
            walked.go(page, path, f"dark {path}")
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > 390:
                walked.wrong.append(f"{path} is {width} wide on a phone")
    seen |= walk_without_scripts(walked, done, plain)
    seen |= walk_as_teacher(walked, done, of_class)
    seen |= walk_as_stranger(walked, done)
    with walked.signed_in("ada") as page:
        for path in ("all-jobs", "usage", "executors"):
            walked.go(page, path)
            if path == "all-jobs":
                seen["all jobs"] = jobs_on(page)
        walked.picture(page, "executors")
    seen["by the provider"], seen["still"] = by_provider(walked)
    with walked.signed_in("alice") as page:
        page.goto(f"{url}/ui/jobs/{done}")
        page.locator("summary", has_text=re.compile("^Delete")).click()
        page.get_by_role("button", name="Delete it").click()
        page.wait_for_url("**/ui/jobs")
        seen["after deleting"] = jobs_on(page)
    return seen | {"wrong": walked.wrong}


def walk_as_teacher(walked: Walk, done: str, of_class: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with walked.signed_in("tess") as page:
        seen["jobs of tess"] = jobs_on(page)
        walked.go(page, "class")
        seen["jobs of the class"] = jobs_on(page)
        walked.picture(page, "class")
        walked.go(page, "class-usage")
        walked.go(page, f"jobs/{done}", "a job of the class")
        page.locator("rect.bar").first.wait_for()
        seen["the class's job can be deleted"] = page.locator("summary", has_text=re.compile("^Delete")).count() > 0
        walked.go(page, f"jobs/{of_class}", "a queued job of the class")
        page.get_by_role("button", name="Cancel this job").click()
        page.get_by_text("Cancelled by tess, a teacher.").wait_for()
        seen["cancelled by a teacher"] = page.locator(".summary .state").inner_text()
    return seen


def walk_as_stranger(walked: Walk, done: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with walked.signed_in("bob") as page:
        seen["jobs of bob"] = jobs_on(page)
        expected = len(walked.wrong)
        walked.go(page, f"jobs/{done}", "a job of another's")
        seen["another's job"] = page.get_by_role("alert").inner_text()
        walked.go(page, "class", "no class")
        seen["no class"] = page.get_by_role("alert").inner_text()
        # Browsers tell of the statuses 403 and 404 themselves.
        told = re.compile("40[34]")
        walked.wrong = [each for i, each in enumerate(walked.wrong) if i < expected or not told.search(each)]
    return seen


def walk_without_scripts(walked: Walk, done: str, plain: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with walked.signed_in("alice", java_script_enabled=False) as page:
        seen["jobs without scripts"] = jobs_on(page)
        page.locator(f"a.id[href$='{done}']").click()
        page.get_by_role("link", name="Show the outcomes").click()
        seen["bars without scripts"] = page.locator("svg text.label").all_text_contents()
        page.get_by_role("link", name=f"Job {done}").click()
        page.get_by_role("link", name="Show the circuits and the options").click()
        seen["drawing without scripts"] = page.locator("pre.drawing").first.inner_text()
        waiting = page.context.new_page()
        for each in (waiting, page):
            each.goto(f"{walked.url}/ui/jobs/{plain}")
        seen["waits without scripts"] = waiting.locator(".summary .state").inner_text()
        page.get_by_role("button", name="Cancel this job").click()
        # The one by its answer, the other as it has loaded itself again.
        for each in (page, waiting):
            each.get_by_text("Cancelled by its owner.").wait_for(timeout=PATIENCE)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--done", required=True, help="id of a job of alice's that has ended")
    parser.add_argument("--waits", required=True, help="id of one that waits")
    parser.add_argument("--plain", required=True, help="id of one that waits, to be looked at without scripts")
    parser.add_argument("--of-class", required=True, help="id of another one that waits")
    parser.add_argument("--learned", required=True, help="id of one of the noise learner")
    parser.add_argument("--pictures", type=Path)
    said = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        jobs = (said.done, said.waits, said.plain, said.of_class, said.learned)
        print(json.dumps(walk(browser, said.url, *jobs, said.pictures)))
        browser.close()


if __name__ == "__main__":
    main()
