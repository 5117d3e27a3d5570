"""Formulas as MathML, which browsers show without a network.

Sphinx itself knows MathJax, which pages fetch from a server, and pictures, which need LaTeX.
"""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

log = logging.getLogger(__name__)


def mathml(node: nodes.Element, *, as_block: bool) -> str:
    """Return a formula; one that is not understood is warned of."""
    try:
        return str(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        log.warning("formula: %s", error, location=node)
        return node.astext()


def visit_math(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a formula in a line."""
    translator.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_displaymath(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a formula in lines of its own, which scrolls where it is too wide."""
    formula = mathml(node, as_block=True)
    translator.body.append(f'<div class="math" style="overflow-x: auto">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the renderer."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True}
