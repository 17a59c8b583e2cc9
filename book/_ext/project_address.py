"""Sphinx extension: sets the links that follow from ``project_url`` in ``_config.yml``; none while it is unset."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

BRANCH = "main"


def pages_address(project_url: str) -> str:
    """Return the GitHub Pages address of a repository on GitHub; empty for another host."""
    parts = urlsplit(project_url)
    if parts.hostname != "github.com":
        return ""
    owner, _, name = parts.path.strip("/").partition("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def theme_options(project_url: str) -> dict[str, Any]:
    """Return the theme's link options for an address; none for an empty one.

    Raises:
        ValueError: If the address is not ``https://HOST/OWNER/NAME``.
    """
    if not project_url:
        return {}
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", project_url):
        raise ValueError(f"project_url is {project_url!r}; expected https://HOST/OWNER/NAME, or nothing")
    options: dict[str, Any] = {
        "repository_url": project_url,
        "repository_branch": BRANCH,
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
        "use_edit_page_button": True,
    }
    if urlsplit(project_url).hostname == "github.com":
        options["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        }
    return options


def apply(app: Any, config: Any) -> None:
    """Set the options before the theme reads them."""
    address = (config.project_url or "").rstrip("/")
    options = theme_options(address)
    if options:
        config.html_theme_options = {**config.html_theme_options, **options}
        config.html_baseurl = config.html_baseurl or pages_address(address)


def setup(app: Any) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    if "project_url" not in app.config:
        app.add_config_value("project_url", "", "html", types=(str,))
    app.connect("config-inited", apply, priority=100)  # before the theme, which reads its options at 500
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
