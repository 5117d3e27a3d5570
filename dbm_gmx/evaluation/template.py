"""Pages: one head for all, and the style and body of each."""

from __future__ import annotations

from importlib.resources import files
from string import Template


def filled(name: str, *, title: str, **parts: str) -> str:
    """A whole page, ``name`` being ``report`` or ``view``: its parts are HTML and stand in ``NAME.html``."""
    folder = files("dbm_gmx.evaluation")
    body = Template((folder / f"{name}.html").read_text()).substitute(parts)
    page = Template((folder / "page.html").read_text())
    return page.substitute(
        title=title, style=(folder / f"{name}.css").read_text().rstrip(), body=body.rstrip()
    )
