"""Sphinx configuration; ``make docs`` builds with warnings as errors."""

import re
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import generate  # noqa: E402

from bids_app import __version__  # noqa: E402

project = "LatentAtlas"
author = "The LatentAtlas developers"
release = version = __version__
project_copyright = "The LatentAtlas developers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
smartquotes = False  # quotes in examples are to be typed as they stand
autodoc_inherit_docstrings = False  # other libraries' texts are not ours to print
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say more: shapes and units
autodoc_member_order = "bysource"
add_module_names = False
python_use_unqualified_type_names = True

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"LatentAtlas {release}"
html_copy_source = False
html_show_sourcelink = False


def _draw(display):
    """Turn LaTeX into MathML, which browsers draw by themselves: no script, no network."""

    def visit(translator, node):
        translator.body.append(convert(node.astext(), display=display))
        raise SkipNode

    return visit, None


def _absolute_values(app, what, name, obj, options, lines):
    """In docstrings |x| is an absolute value and no substitution of reStructuredText."""
    lines[:] = ["".join(_bars(part) for part in re.split(r"(``.*?``|`.*?`)", line)) for line in lines]


def _bars(part):
    return part if part.startswith("`") else part.replace("|", "\\|")


def _outside(app, name, source):
    """Links to files above docs/ work in a checkout; here the file is named."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", source[0])


def setup(app):
    """Make the generated pages before Sphinx looks for pages."""
    generate.write()
    app.connect("autodoc-process-docstring", _absolute_values)
    app.connect("source-read", _outside)
    app.add_html_math_renderer("mathml", inline_renderers=_draw("inline"), block_renderers=_draw("block"))
