"""The site of the documentation: ``make docs`` builds it into ``docs/_build/html``, without a network."""

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
os.chdir(HERE.parent)  # a schema that a help text or a docstring names lies in the repository

import kimi_beam  # noqa: E402 - found on the path that the lines above set

project = "kimi_beam"
author = "The kimi_beam authors"
version = release = kimi_beam.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_help", "public_errors"]
exclude_patterns = ["_build", "_ext"]
nitpicky = False  # the types of Beam and Arrow have no inventory here, and fetching one would need a network
smartquotes = False  # it would make an en dash of the two hyphens of an option
default_role = "code"  # docstrings name code in single backticks

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4

_CODE = re.compile(r"(``.+?``|`[^`]+`)([a-z])?")
"""Code, and the first letter of an ending right behind it, such as that of a plural."""


def _mend_docstring(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    # reStructuredText wants a mark between code and an ending of it.
    lines[:] = [_CODE.sub(lambda found: f"{found[1]}\\ {found[2]}" if found[2] else found[1], line) for line in lines]


def setup(app: Sphinx) -> None:
    """Connects what this file does beyond settings."""
    app.connect("autodoc-process-docstring", _mend_docstring)


html_theme = "furo"
html_title = f"kimi_beam {version}"
html_show_sourcelink = False
html_copy_source = False
