"""Formulas as MathML, which browsers show without a script and without a network."""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml


def _inline(translator, node):
    translator.body.append(tex2mathml(node.astext()))
    raise SkipNode


def _block(translator, node):
    mathml = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math">\n{mathml}\n</div>\n')
    raise SkipNode


def setup(app):
    """Add the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
