"""How Sphinx builds these pages: ``sphinx-build -W -n -b html share/docs build/docs``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpydoc.numpydoc
from sphinx.application import Sphinx

import dbm_gmx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # command_options.py, formulas.py

project = "dbm-gmx"
author = "the dbm-gmx developers"
release = version = dbm_gmx.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "command_options",
    "formulas",
]
exclude_patterns = ["scripts", "_*"]
smartquotes = False  # what is quoted may be typed

# Markdown: equations, definition lists, links to every heading
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Notebooks are Markdown with cells of code, and hold no outputs: they are run when pages are built, each in a
# folder of its own.
nb_execution_mode = "auto"
nb_execution_excludepatterns = [] if shutil.which("gmx") else ["notebooks/martini*"]
if (
    os.environ.get("DBM_GMX_NOTEBOOKS") == "one"
):  # in the checks of a commit, whose tests do the work of the others
    nb_execution_excludepatterns = [
        f"notebooks/{name}*" for name in ("martini", "polystyrene", "report", "training")
    ]
suppress_warnings = ["myst-nb.lexer"]  # a notebook that is not run does not tell its language
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900  # of a cell, s; a busy machine
nb_merge_streams = True

# docstrings are those of numpydoc; types stand in the signatures
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {
    "members": True,
    "exclude-members": "triclinic_box, ProtoReader, MemoryReader",  # of MDAnalysis; numpydoc cannot read it
}
numpydoc_show_class_members = False
add_module_names = False

# Every link between pages, to a heading, an option or a term must lead somewhere (-n).  Names of Python may
# be those of other packages, or not be part of the reference: tests/test_docs.py sees that they exist.
nitpick_ignore_regex = [(r"py:.*", r".*")]

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"dbm-gmx {release}"
html_static_path = ["notebooks/tables.css"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = ":not(.cell_output) > div.highlight > pre"


def for_own(handler: Callable[..., object]) -> Callable[..., object]:
    """Leave out what modules import from other packages, which numpydoc cannot always read."""

    def handle(app: Sphinx, what: str, name: str, thing: object, *others: object) -> object:
        home = getattr(thing, "__module__", None) or getattr(thing, "__name__", None) or "dbm_gmx"
        return handler(app, what, name, thing, *others) if home.startswith("dbm_gmx") else None

    return handle


for hook in ("mangle_docstrings", "mangle_signature"):  # before numpydoc is set up
    setattr(numpydoc.numpydoc, hook, for_own(getattr(numpydoc.numpydoc, hook)))
