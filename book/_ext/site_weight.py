"""Sphinx extension: leaves out of the built book what no page needs.

- The theme's icon script (1.5 MB on every page) is replaced by a style sheet with the few icons that pages use, cut out
  of that script.
- MathJax is kept only if a page has a formula, and then only what a formula loads.
- Source maps, fonts of icons, and the theme's translations are left out.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ICON_SCRIPT = "scripts/fontawesome.js"
ICON_STYLE = "icons.css"
MATHJAX = "_static/mathjax/"
UNUSED = ("vendor", "locales", "sbt-webpack-macros.html", "webpack-macros.html", "scripts/*.map",
          "styles/*.map", f"{ICON_SCRIPT}*")  # fmt: skip
MATHJAX_USED = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions")
_ICON_CLASS = re.compile(r"\bfa(?:-solid|-regular|-brands|[srb])\s+fa-([a-z0-9-]+)")
_LICENCE = (
    "/* Icons: Font Awesome Free, https://fontawesome.com, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). */"
)
_SHAPE = """
i[class*="fa-"], span[class*="fa-"] { font-family: inherit !important; }
[class*="fa-"].fa-solid::before, .fas::before, .fa-brands::before, .fab::before, .fa-regular::before, .far::before {
  content: ""; display: inline-block; width: 1.1em; height: 1em; background: currentColor; vertical-align: -0.125em;
  -webkit-mask: var(--bk-icon) center / contain no-repeat; mask: var(--bk-icon) center / contain no-repeat;
}
.theme-switch-button .theme-switch { vertical-align: middle; }
"""


def icon_names(texts: Iterable[str]) -> list[str]:
    """Return the names of the icons that pages and scripts use, such as ``moon``."""
    return sorted({name for text in texts for name in _ICON_CLASS.findall(text)} - {"lg", "fw", "xs"})


def read_icon(script: str, name: str) -> tuple[int, int, str]:
    """Return an icon's width, height and path out of the icon script; the solid one where there are several.

    Raises:
        LookupError: If the script has no such icon.
    """
    shapes = re.findall(
        rf'[{{,"]{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+",(?:"([^"]+)"|\[[^\]]*\])\]', script
    )
    if not shapes or not shapes[-1][2]:
        raise LookupError(f"the theme's icon script has no icon {name!r}")
    width, height, path = shapes[-1]
    return int(width), int(height), path


def icon_style(script: str, names: Iterable[str]) -> str:
    """Return a style sheet that draws the named icons as masks."""
    rules = []
    for name in names:
        width, height, path = read_icon(script, name)
        picture = (
            f"%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'%3E"
            f"%3Cpath d='{path}'/%3E%3C/svg%3E"
        )
        rules.append(f'.fa-{name} {{ --bk-icon: url("data:image/svg+xml,{picture}"); }}')
    return "\n".join([_LICENCE, *rules, _SHAPE.strip(), ""])


def trim(html: Path) -> None:
    """Trim a built book in place."""
    static = html / "_static"
    pages = {file: file.read_text(encoding="utf8") for file in html.rglob("*.html") if static not in file.parents}
    icons = static / ICON_SCRIPT
    if icons.is_file():
        scripts = [file.read_text(encoding="utf8") for file in static.rglob("*.js")
                   if file != icons and "mathjax" not in file.parts]  # fmt: skip
        style = icon_style(icons.read_text(encoding="utf8"), icon_names([*pages.values(), *scripts]))
        (static / ICON_STYLE).write_text(style, encoding="utf8")
        tag = re.compile(rf'<script defer src="([^"]*){re.escape(ICON_SCRIPT)}[^"]*"></script>')
        for file, text in pages.items():
            pages[file] = tag.sub(rf'<link rel="stylesheet" href="\g<1>{ICON_STYLE}" />', text)
            file.write_text(pages[file], encoding="utf8")
    _drop_icon_fonts(static / "styles")
    for file, text in pages.items():
        if MATHJAX in text and 'class="math' not in text:  # a formula that stands nowhere on the page
            pages[file] = re.sub(rf'<script[^>]*src="[^"]*{MATHJAX}[^"]*"></script>', "", text)
            file.write_text(pages[file], encoding="utf8")
    for pattern in UNUSED:
        for path in static.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _trim_mathjax(static / "mathjax", any(MATHJAX in text for text in pages.values()))


def _drop_icon_fonts(styles: Path) -> None:
    """Take the fonts of icons out of the theme's style sheets, since their files are left out."""
    for file in styles.glob("*.css"):
        text = file.read_text(encoding="utf8")
        kept = re.sub(r"@font-face\s*\{[^}]*fontawesome[^}]*\}", "", text)
        if kept != text:
            file.write_text(kept, encoding="utf8")


def _trim_mathjax(folder: Path, used: bool) -> None:
    """Keep of MathJax what a formula loads; nothing of it where no page has one."""
    if not used:
        shutil.rmtree(folder, ignore_errors=True)
        return
    keep = [folder / name for name in MATHJAX_USED]
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        if not any(file == kept or kept in file.parents for kept in keep):
            file.unlink()
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def on_finish(app: Any, error: Exception | None) -> None:
    """Trim what was built (Sphinx's ``build-finished``), after the extensions that copy files there."""
    if error is None and app.builder.format == "html":
        trim(Path(app.outdir))


def setup(app: Any) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", on_finish, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
