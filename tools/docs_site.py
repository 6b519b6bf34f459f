"""What mkdocs does not know: sections of docs/README.md are the site's, and files that pages link to are in it.

https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"

_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)((?:#[^)\s]*)?)\)")
_SOURCES: Final = "sources"
"""The folder of the site that has files from outside docs/."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the navigation from docs/README.md, whose lists name every page."""
    _, *sections = re.split(r"^## (.+)$", (DOCS / "README.md").read_text(), flags=re.MULTILINE)
    doors: list[Any] = [{"Documentation": "README.md"}]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        doors.append({title: [{name[:1].upper() + name[1:]: path} for name, path, _ in _LINK.findall(body)]})
    config["nav"] = doors
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files beside docs/ that a page links to."""
    for page in DOCS.rglob("*.md"):
        for _, link, _ in _LINK.findall(page.read_text()):
            source = _beside(page, link)
            if source is not None and source.is_file():
                uri = _uri(source)
                if files.get_file_from_path(uri) is None:
                    files.append(File.generated(config, uri, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links to what is beside docs/ lead to its copy; folders have none, so that their names stand alone."""
    own = PurePosixPath(page.file.src_uri)
    here = DOCS / own

    def led(match: re.Match[str]) -> str:
        source = None if own.parts[0] == _SOURCES else _beside(here, match[2])
        if source is None:
            return match[0] if own.parts[0] != _SOURCES else match[1]
        if not source.is_file():
            return match[1]
        return f"[{match[1]}]({'../' * (len(own.parts) - 1)}{_uri(source)}{match[3]})"

    return _LINK.sub(led, markdown)


def _beside(page: Path, link: str) -> Path | None:
    """Return what a link of a page leads to if that is in the repository and not in docs/."""
    if re.match(r"[a-z]+:", link):
        return None
    target = (page.parent / link).resolve()
    return target if target.is_relative_to(ROOT) and not target.is_relative_to(DOCS) else None


def _uri(source: Path) -> str:
    return f"{_SOURCES}/{source.relative_to(ROOT).as_posix()}"
