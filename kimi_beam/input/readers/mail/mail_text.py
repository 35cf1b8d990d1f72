"""The text of a mail: its headers, and of a body in two forms the one that a person sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kimi_beam.input.readers.content import Attachment, Content, HiddenText, Page, UnreadableError
from kimi_beam.input.readers.text.table_rows import BETWEEN_CELLS, joined_lines
from kimi_beam.input.readers.web import web_pages

HEADERS = ("From", "To", "Cc", "Date", "Subject")
"""The headers that stand above a mail's text, in their order."""
MOST_ATTACHMENTS = 1_000
_LINK = re.compile(r"<?\b(?:https?|mailto|cid):[^\s>]*>?", re.I)
_WORD = re.compile(r"\w+")
_UNLIKE = 0.05
"""The share of words in one form alone from which the two forms of a body say different things."""
_NAME_PARTS = re.compile(r"[\\/]")


@dataclass(frozen=True, slots=True)
class Body:
    """A part of a mail's text.

    Attributes:
        text: What a person sees of it.
        is_html: Whether it was written in HTML.
        hidden: What they do not see of it.
    """

    text: str
    is_html: bool = False
    hidden: tuple[HiddenText, ...] = ()


def html_body(html: str) -> Body:
    """A body in HTML.

    Args:
        html: The text of the page.
    """
    content = web_pages.read_text(html, shows_title=False)
    return Body(content.pages[0].text, True, content.hidden)


def plain_body(text: str) -> Body:
    """A body in plain text.

    Args:
        text: The text.
    """
    return Body(joined_lines(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")))


def chosen_body(plain: Body | None, html: Body | None) -> Body:
    """The one of two forms of a body that becomes text.

    A person sees the HTML. The plain text is taken where it says the same, because a mail program wrapped its lines as
    the writer did; not where the HTML has a table, whose rows it keeps together.

    Args:
        plain: The plain text; None if there is none.
        html: The HTML; None if there is none.

    Returns:
        One of the two, with what is hidden in the HTML.
    """
    if plain is None or html is None or not plain.text or not html.text:
        return (html if html and html.text else plain or html) or Body("")
    words, others = _words(plain.text), _words(html.text)
    if BETWEEN_CELLS in html.text or len(words ^ others) > _UNLIKE * len(words | others):
        return html
    return Body(plain.text, False, html.hidden)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_LINK.sub(" ", text).casefold()))


def mail_content(
    headers: Mapping[str, str],
    bodies: Iterable[Body],
    attachments: Sequence[Attachment],
    date: str = "",
) -> Content:
    """What is given of a mail.

    Args:
        headers: Those of `HEADERS` that it has.
        bodies: The parts of its text, in order.
        attachments: The files that are attached.
        date: When it was sent, as ISO writes it; empty if that is not known.

    Raises:
        UnreadableError: It has too many attachments.
    """
    if len(attachments) > MOST_ATTACHMENTS:
        message = f"has {len(attachments):,} attachments, and {MOST_ATTACHMENTS:,} are read at most"
        raise UnreadableError("too_many_members", message)
    head = [f"{name}: {headers[name]}" for name in HEADERS if headers.get(name)]
    parts = list(bodies)
    text = joined_lines([*head, "", *(line for part in parts for line in (part.text, ""))])
    found = {"subject": headers.get("Subject"), "from": headers.get("From"), "date": date}
    metadata = {key: value for key, value in found.items() if value}
    hidden = tuple(hidden for part in parts for hidden in part.hidden)
    return Content((Page(text),), metadata, hidden, tuple(attachments))


def attachment_name(name: str) -> str:
    """A name of an attachment as that of a file: its last part, on one line.

    Args:
        name: The name as the mail has it.
    """
    last = _NAME_PARTS.split(" ".join(name.split()))[-1].strip()
    return "".join(letter for letter in last if letter.isprintable())[-200:]
