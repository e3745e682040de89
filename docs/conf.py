"""The book: `pip install -e '.[docs,serve]' && sphinx-build -W docs docs/_build`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).parent))

from asd import __version__

project = "asd"
copyright = "the authors of asd"  # noqa: A001 - its name in Sphinx
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Examples of commands, and tables, are parts of other pages.
exclude_patterns = ["_build", "reference/commands", "reference/generated/included"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_title = f"asd {version}"
html_show_sourcelink = False
# Docstrings name code by single backticks, in the way of Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "show-inheritance": False, "undoc-members": False}
napoleon_numpy_docstring = False
# Attributes that docstrings tell of have no entry beside their class.
napoleon_use_ivar = True
nitpicky = False
