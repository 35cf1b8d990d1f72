"""Texts of others, as a terminal may show them: ids, file names, answers and the service's own words are untrusted."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text as one line that cannot steer a terminal or deceive its reader.

    Whatever is no printable character is shown as Python escapes it (``\x1b``): control characters of both sets, line
    ends, and the marks that turn the direction of writing. Files hold the text itself.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
