"""README and docs: links lead somewhere, figures are those of the generated pages, commands are run or say why not."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from kit.server.documented import NOT_RUN, PAGES, ROOT, blocks

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
DOCUMENTS = sorted({*PAGES, *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/*/*.md")})

MOST_COLUMNS = 200

MEASURED = [
    ROOT / f"docs/reference/{name}.md"
    for name in ("benchmarks", "end-to-end", "operator-benchmarks", "chaos", "scale", "simulators")
]
PROSE = [page for page in PAGES if page.parent.name != "reference"]
FIGURE = re.compile(
    r"(?<![\w.])\d[\d,.]*\s(?:ms|jobs/s)\b"  # times and rates that nobody sets
    r"|(?<![\w.])\d+\.\d+ s\b"
    r"|(?<![\w.])\d[\d,.]* (?:x|times) (?:faster|slower)\b"
)


@cache
def prose_of(page: Path) -> str:
    return FENCED.sub("", page.read_text())


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    shown = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in shown)


def local_links(page: Path) -> Iterator[str]:
    return (link for link in LINK.findall(prose_of(page)) if not re.match(r"[a-z]+:", link))


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in local_links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in anchors_of(target), link


def test_the_index_leads_to_every_page() -> None:
    pages = {page for page in PAGES if page.parent.name in {"how-to", "tutorial", "reference", "explanation"}}
    named = {(ROOT / "docs" / link).resolve() for link in local_links(ROOT / "docs" / "README.md")}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - named) == []


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_measured_figure_is_one_of_a_generated_page_that_its_section_links_to(page: Path) -> None:
    for section in re.split(r"^(?=#+ )", prose_of(page), flags=re.MULTILINE):
        linked = {(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(section)}
        tables = "\n".join(table.read_text() for table in MEASURED if table in linked)
        for figure in FIGURE.findall(section):
            assert re.search(rf"(?<![\d.,]){re.escape(figure)}", tables), f"{figure} in: {section[:80]}"


def test_every_reason_not_to_run_a_block_belongs_to_one() -> None:
    shown = [block for page in PAGES for block in blocks(page)]
    unused = [
        (page, first)
        for page, first in NOT_RUN
        if not any(block.page == page and block.text.startswith(first) for block in shown)
    ]
    assert unused == []


def test_how_tos_and_tutorials_say_what_language_a_block_is_in() -> None:
    indented = re.compile(r"\n\n    \S")
    bare = [
        str(page.relative_to(ROOT))
        for page in PAGES
        if page.parent.name in {"how-to", "tutorial"} and indented.search(prose_of(page))
    ]
    assert bare == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_prose_fit_into_a_window(page: Path) -> None:
    prose = (line for line in prose_of(page).splitlines() if not line.startswith(("|", "#")))
    assert [line[:60] for line in prose if len(line) > MOST_COLUMNS and page.parent.name != "reference"] == []
