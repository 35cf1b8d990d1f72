"""``public-errors``: an entry for each exception that the package exports, found when the site is built."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import kimi_beam


def public_errors() -> list[str]:
    """The names in `kimi_beam.__all__` that are exceptions, in their order."""
    values = {name: getattr(kimi_beam, name) for name in kimi_beam.__all__}
    return [name for name, value in values.items() if isinstance(value, type) and issubclass(value, BaseException)]


class PublicErrors(SphinxDirective):
    """``{eval-rst}`` with ``.. public-errors::`` in it: an ``autoexception`` for each."""

    def run(self) -> list[nodes.Node]:
        """The entries."""
        lines = StringList()
        for name in public_errors():
            for line in (f".. autoexception:: kimi_beam.{name}", "   :no-members:", ""):
                lines.append(line, "public-errors")
        holder = nodes.Element()
        self.state.nested_parse(lines, self.content_offset, holder)
        return list(holder.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("public-errors", PublicErrors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
