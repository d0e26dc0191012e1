"""MkDocs hooks: the site shows the repository's Markdown files under their own paths.

README.md is the home page, and docs/README.md gives the navigation. Every file that a page links to becomes part of the
site, so a relative link works both in a checkout and on the site, and MkDocs checks all of them. A link to a folder
leads to the folder's README.md; if it has none, only the link's text stays.
"""

import logging
import posixpath
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown import Markdown
from markdown.blockprocessors import ListIndentProcessor
from markdown.extensions import Extension
from markdown.extensions.sane_lists import SaneOListProcessor, SaneUListProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
HOME = "README.md"
INDEX = "docs/README.md"
FRAMEWORKS = "docs/frameworks/README.md"
_LOG = logging.getLogger("mkdocs.hooks.site_pages")
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_RELATIVE = r"(?![a-z]+:|[#/])(?P<path>[^)#\s\"]+)"
_TARGET = re.compile(rf"(?:\]\(|^\[[^\]]+\]: +|\b(?:src|href)=\"){_RELATIVE}", re.MULTILINE)
_HTML_TARGET = re.compile(rf"\b(?:src|href)=\"{_RELATIVE}")
_WHOLE_LINK = re.compile(rf"\[(?P<text>[^\]]*)\]\({_RELATIVE}\)")
_INDEX_LINE = re.compile(r"^## (?P<section>.+)|^- \[(?P<title>[^\]]+)\]\((?P<path>[^)#]+)\)", re.MULTILINE)
_ITEM = re.compile(r"(?:[-*+]|\d+[.)]) ")


class NestedLists(Extension):  # type: ignore[misc]
    """Lists nest by two spaces, as on GitHub; Python-Markdown wants four."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Registers the list processors anew, with the smaller indentation."""
        usual, md.tab_length = md.tab_length, 2
        processors = md.parser.blockprocessors
        processors.register(ListIndentProcessor(md.parser), "indent", 90)
        processors.register(SaneOListProcessor(md.parser), "olist", 40)
        processors.register(SaneUListProcessor(md.parser), "ulist", 30)
        md.tab_length = usual


def links(path: str) -> list[str]:
    """The paths from the root that a page links to, whether they exist or not."""
    text = _FENCE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    return [_resolved(path, found["path"]) for found in _TARGET.finditer(text)]


def pages() -> list[str]:
    """The Markdown pages that the site starts from; it also gets every page that these link to."""
    own = sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md"))
    return [HOME, "ARCHITECTURE.md", "CHANGELOG.md", *own]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Writes the navigation from the index of the documentation."""
    config.nav = [{"iReasoner": HOME}, {"All pages": INDEX}, *_navigation()]
    config.markdown_extensions.append(NestedLists())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts the pages, and every file that they link to, under their paths in the repository."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    waiting, seen = [*pages(), *config.extra_css], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).is_file():
            continue
        seen.add(path)
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            waiting += [found for link in links(path) for found in (link, f"{link}/{HOME}")]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes what GitHub renders render here: links to folders, and Markdown inside <details>."""
    path = page.file.src_uri

    def to_file(found: re.Match[str]) -> str:
        folder = _resolved(path, found["path"])
        if not (ROOT / folder).is_dir():
            return found[0]
        if (ROOT / folder / HOME).is_file():
            return f"[{found['text']}]({posixpath.join(found['path'], HOME)})"
        return found["text"]

    for found in _HTML_TARGET.finditer(_FENCE.sub("", markdown)):
        if not (ROOT / (target := _resolved(path, found["path"]))).is_file():
            _LOG.warning(
                "Doc file '%s' has HTML with '%s', but '%s' is not found", path, found["path"], target
            )
    for line in _swallowed_lists(markdown):
        _LOG.warning("Doc file '%s' has a list without an empty line before it: %r", path, line)
    return re.sub(r"<details(?=[ >])", "<details markdown", _WHOLE_LINK.sub(to_file, markdown))


def _resolved(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _navigation() -> Iterator[dict[str, Any]]:
    """One section per heading of the index, with the pages listed under it."""
    title, entries = "", list[dict[str, Any]]()
    for found in _INDEX_LINE.finditer((ROOT / INDEX).read_text(encoding="utf-8")):
        if found["section"]:
            if entries:
                yield {title: entries}
            title, entries = found["section"], []
        elif (path := _resolved(INDEX, found["path"])) == FRAMEWORKS:
            entries.append({found["title"]: [FRAMEWORKS, *_siblings(FRAMEWORKS)]})
        elif path != HOME:
            entries.append({found["title"]: path})
    if entries:
        yield {title: entries}


def _siblings(index: str) -> list[str]:
    """The pages beside an index, in the order in which it links to them."""
    folder = posixpath.dirname(index)
    linked = [path for path in links(index) if posixpath.dirname(path) == folder and path.endswith(".md")]
    return list(dict.fromkeys(linked))


def _swallowed_lists(markdown: str) -> Iterator[str]:
    """List items right under a paragraph: a list on GitHub, part of the paragraph in Python-Markdown."""
    in_paragraph = False
    for before, line in pairwise(["", *_FENCE.sub("", markdown).splitlines()]):
        if not before.strip():
            in_paragraph = bool(line) and line[0] not in " #<|" and not _ITEM.match(line)
        elif in_paragraph and _ITEM.match(line):
            yield line
