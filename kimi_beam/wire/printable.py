"""Makes untrusted texts (ids, file names, answers, the service's messages) safe to print on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text as one line in which every unprintable character is escaped as in Python (``\x1b``).

    These are control characters, line ends and the marks that reverse the direction of writing. Output files hold the
    text itself.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
