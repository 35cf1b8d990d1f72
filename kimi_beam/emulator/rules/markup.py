"""What mail and Markdown put around a document: quoting marks, headers, headings, emphasis, quoted code."""

from __future__ import annotations

import re
from typing import Final

_HEADER_NAMES: Final = (
    r"from|to|cc|bcc|date|sent|subject|reply-to|message-id|von|an|datum|gesendet|betreff|de|à|a|envoyé|objet"
)
_HEADERS = re.compile(rf"^(?:(?:{_HEADER_NAMES})[ ]?:[^\n]*(?:\n[ \t]+\S[^\n]*)*(?:\n|\Z)){{3,12}}", re.I | re.M)
_SUBJECT = re.compile(r"^(?:subject|betreff|objet)[ ]?:", re.I | re.M)
_ATTRIBUTION = re.compile(
    r"^(?:(?:on|am|le) [^\n]{5,120}(?:wrote|schrieb[^\n]{0,40}|a écrit)[ ]?:"
    r"|[-_=]{3,20} ?(?:forwarded message|original message|weitergeleitete nachricht|ursprüngliche nachricht"
    r"|message transféré|message d'origine)[^\n]{0,40})[ \t]*$",
    re.I | re.M,
)
_QUOTED = re.compile(r"^(?:> ?){1,8}", re.M)
_HEADING = re.compile(r"^ {0,3}#{1,6} +(?=\S)", re.M)
_BOLD = re.compile(r"(?<![*_\w])(\*\*|__)(?=[^\s*_])([^*_\n]{1,200})(?<=\S)\1(?![*_])")
_ITALIC = re.compile(r"^([*_])(?=[^\s*_])([^*_\n]{1,200})(?<=\S)\1[ \t]*$", re.M)


def plain(text: str) -> tuple[str, str]:
    """Return a document without what only surrounds it, and the mail headers that stood there.

    Args:
        text: The document, its lines divided by line feeds.
    """
    headers: list[str] = []
    if ">" in text:
        text = _QUOTED.sub("", text)
    if "@" in text and _SUBJECT.search(text):
        text = _HEADERS.sub(lambda match: _kept(match[0], headers), text)
    if ":" in text or "--" in text:
        text = _ATTRIBUTION.sub("", text)
    if "```" in text:
        text = _without_code(text)
    if "# " in text:
        text = _HEADING.sub("", text)
    if "**" in text or "__" in text:
        text = _BOLD.sub(r"\2", text)
    if "*" in text or "_" in text:
        text = _ITALIC.sub(r"\2", text)
    return text, "\n".join(headers)


def _kept(block: str, headers: list[str]) -> str:
    if not _SUBJECT.search(block):
        return block
    headers.append(block.strip())
    return "\n"


def _without_code(text: str) -> str:
    """Leave out blocks between fences: a document that quotes code does not say it. All of it stays if it is all."""
    kept: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = line.strip()
        if fence:
            fence = "" if mark.startswith(fence) and not mark.strip("`") else fence
        elif mark.startswith("```"):
            fence = mark[: len(mark) - len(mark.lstrip("`"))]
        else:
            kept.append(line)
    rest = "\n".join(kept)
    return text if fence or not rest.strip() else rest
