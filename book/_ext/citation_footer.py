"""Sphinx extension: the footer of every page (paper, how to cite, licence, version, commit) and the head's citation.

All of it is read from ``CITATION.cff`` and from git, so that it stands in one place. The date is the commit's: two
builds of one commit give the same text.
"""

from __future__ import annotations

import html
import subprocess
from pathlib import Path
from typing import Any

import yaml


def read_citation(folder: Path) -> dict[str, Any]:
    """Return ``CITATION.cff`` of a folder."""
    return yaml.safe_load((folder / "CITATION.cff").read_text(encoding="utf8"))


def read_commit(folder: Path) -> tuple[str, str]:
    """Return the short name and the date of the commit that is checked out; empty outside a git checkout."""
    line = ["git", "-C", str(folder), "log", "-1", "--format=%h %cs"]
    try:
        shown = subprocess.run(line, capture_output=True, text=True, timeout=20).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return "", ""
    return (shown[0], shown[1]) if len(shown) == 2 else ("", "")


def author_names(paper: dict[str, Any]) -> list[str]:
    """Return the paper's authors, given name first."""
    return [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]]


def bibtex(paper: dict[str, Any]) -> str:
    """Return the paper's entry for BibTeX."""
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    first = paper["authors"][0]["family-names"].lower()
    fields = {
        "title": "{" + paper["title"] + "}", "author": authors, "journal": paper["journal"], "year": paper["year"],
        "url": paper["url"],
    }  # fmt: skip
    lines = [f"  {name:<7} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@article{{{first}{paper['year']}mammoth,", *lines, "}"])


def footer_html(citation: dict[str, Any], commit: str, date: str, project_url: str = "") -> str:
    """Return the footer; the commit is a link where the project's address is known."""
    paper = citation["preferred-citation"]
    if commit and project_url:
        commit = f'<a href="{html.escape(project_url, quote=True)}/commit/{commit}">{commit}</a>'
    about = [
        f"{html.escape(citation['title'])}, version {html.escape(str(citation['version']))}",
        f"{html.escape(citation['license'])} licence",
        *([f"commit {commit} of {date}"] if commit else []),
    ]
    if project_url:
        about.append(f'<a href="{html.escape(project_url, quote=True)}">repository</a>')
    return (
        '<div class="bk-cite">'
        f'<p>The paper: <a href="{html.escape(paper["url"], quote=True)}">{html.escape(paper["title"])}</a>, by '
        f"{html.escape(', '.join(author_names(paper)))} ({paper['year']}).</p>"
        f"<details><summary>How to cite</summary><p>{html.escape(citation['message'])}</p>"
        f'<pre id="bk-bibtex">{html.escape(bibtex(paper))}</pre>'
        '<button type="button" data-copies="bk-bibtex" hidden>Copy BibTeX</button></details>'
        f"<p>{' · '.join(about)}</p></div>"
    )


def on_config(app: Any, config: Any) -> None:
    """Set the footer before the theme reads its options."""
    folder = Path(app.confdir)
    citation = read_citation(folder)
    footer = footer_html(citation, *read_commit(folder), (getattr(config, "project_url", "") or "").rstrip("/"))
    config.html_theme_options = {
        **config.html_theme_options, "extra_footer": footer, "footer_content_items": ["extra-footer.html"],
    }  # fmt: skip


def on_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Name the paper in a page's head, where reference managers look for it."""
    paper = read_citation(Path(app.confdir))["preferred-citation"]
    values = [("citation_title", paper["title"]), *(("citation_author", name) for name in author_names(paper))]
    values += [("citation_publication_date", str(paper["year"])), ("citation_public_url", paper["url"])]
    tags = "".join(f'<meta name="{name}" content="{html.escape(value, quote=True)}" />\n' for name, value in values)
    context["metatags"] = context.get("metatags", "") + tags


def setup(app: Any) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("config-inited", on_config, priority=110)  # after the project's address, before the theme's options
    app.connect("html-page-context", on_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
