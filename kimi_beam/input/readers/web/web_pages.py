"""Reads HTML as a browser shows it, without scripts and without fetching anything.

A block is a line, a row of a table is a line, a heading begins with ``#``, an item of a list with ``-`` or its number,
a picture is ``[image: its alternative text]``. Scripts, styles, comments, ``<template>``, ``<noscript>`` and what
embedded objects hold are no text. What styles hide is in `Content.hidden`.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kimi_beam.input.readers.content import Content, Page, ReadOptions, UnreadableError
from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.optional_libraries import missing_extra
from kimi_beam.input.readers.pictures.embedded_pictures import pages_with_pictures
from kimi_beam.input.readers.text.declared_encodings import decode_declared
from kimi_beam.input.readers.text.text_flow import TableFlow, TextFlow
from kimi_beam.input.readers.web.element_visibility import Look, look_of
from kimi_beam.input.readers.web.style_rules import Ancestor, StyleRules

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_SAYS_ENCODING = re.compile(
    rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,200}encoding\s*=\s*[\"']([\w.:-]+)", re.I
)
_HEAD = 8_192
"""The bytes at the beginning in which a page says its encoding."""
_NO_TEXT = frozenset(
    {
        "applet", "area", "audio", "canvas", "datalist", "embed", "frameset", "head", "iframe", "map",
        "meta", "noembed", "noframes", "noscript", "object", "param", "rp", "script", "source", "style", "template",
        "track", "video", "annotation", "annotation-xml", "defs", "desc", "metadata", "link", "base", "title",
    }
)  # fmt: skip
_LINES = frozenset(
    {
        "address", "article", "aside", "body", "caption", "center", "dd", "details", "dialog", "div", "dt", "fieldset",
        "figcaption", "footer", "form", "header", "html", "legend", "li", "main", "nav", "optgroup", "option", "search",
        "section", "summary", "tbody", "tfoot", "thead",
    }
)  # fmt: skip
_PARAGRAPHS = frozenset(
    {"blockquote", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "menu", "ol", "p", "pre", "table", "ul"}
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_MOST_INDENTS = 20
_LISTS = frozenset({"dir", "menu", "ol", "ul"})
_SHOWN_INPUTS = frozenset(
    {
        "", "button", "date", "datetime-local", "email", "month", "number", "reset", "search", "submit", "tel", "text",
        "time", "url", "week",
    }
)  # fmt: skip
_LEFT = _LINES | _PARAGRAPHS | {"td", "th", "tr"}
"""Elements at whose end something happens."""
_ENTERED = _LEFT | {"br", "img", "input", "select", "textarea"}
"""Elements at whose beginning something happens."""
_STYLED = ("style", "class", "id", "hidden", "bgcolor", "color", "text", "background")


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a web page.

    Args:
        content: The file.
        options: `encoding` is used for a page that names none and is not in UTF-8.

    Returns:
        One page, with the pictures in it where there is next to no text. `metadata` has its title.

    Raises:
        UnreadableError: It is no text.
    """
    tree = _parsed(decode_declared(content, (said_encoding(content),), options.encoding))
    found = _content(tree, shows_title=True)
    return replace(found, pages=pages_with_pictures([found.pages[0].text], {0: list(_data_pictures(tree))}, options))


def said_encoding(content: bytes) -> str | None:
    """The encoding that a page says of itself; None if it says none.

    Args:
        content: The page.
    """
    said = _SAYS_ENCODING.search(content, 0, _HEAD)
    return (said[1] or said[2]).decode("ascii", "replace") if said else None


def read_text(html: str, *, shows_title: bool = True) -> Content:
    """Reads a web page whose encoding is known.

    Args:
        html: Its text.
        shows_title: Whether the title stands above the text where the text does not hold it.

    Returns:
        One page. `metadata` has its title.
    """
    return _content(_parsed(html), shows_title=shows_title)


def _parsed(html: str) -> LexborHTMLParser:
    try:
        from selectolax.lexbor import LexborHTMLParser, SelectolaxError
    except ImportError:
        raise missing_extra("documents") from None

    try:
        return LexborHTMLParser(html)
    except (SelectolaxError, ValueError) as e:
        raise UnreadableError("damaged", f"cannot be read as HTML ({e})") from e


def _content(tree: LexborHTMLParser, *, shows_title: bool) -> Content:
    title_element = tree.css_first("title")
    title = "" if title_element is None else " ".join(title_element.text().split())
    walk = _Walk(tree)
    text = walk.text()
    if shows_title and title and title not in text:
        text = f"{title}\n\n{text}".rstrip()
    return Content((Page(text),), {"title": title} if title else {}, walk.hidden.all())


def _data_pictures(tree: LexborHTMLParser) -> Iterator[bytes]:
    """The pictures that a page itself holds."""
    for element in tree.css("img"):
        kind, _, content = (element.attributes.get("src") or "").strip().partition(";base64,")
        if kind.lower().startswith("data:image/"):
            with contextlib.suppress(ValueError):
                yield base64.b64decode(content)


class _Walk:
    """One walk over a page, without recursion: a page may be nested as deep as it likes."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        self.hidden = HiddenTexts()
        self._tree = tree
        self._rules = StyleRules((style.text() for style in tree.css("style")), self._search)
        self._around: list[Ancestor] = []
        self._flow = TextFlow()
        self._cells: list[TextFlow] = []
        """The flows around the cell whose text is collected, the outermost first."""
        self._tables: list[TableFlow] = []
        self._lists: list[int | None] = []
        """For each list around, the number of its next item; None if its items have no numbers."""
        self._verbatim = 0

    def _search(self, selector: str) -> list[int] | None:
        from selectolax.lexbor import SelectolaxError

        try:
            return [node.mem_id for node in self._tree.css(selector)]
        except (SelectolaxError, ValueError):
            return None

    def text(self) -> str:
        """The text that a person sees."""
        is_certain = self._rules.is_complete and not self._tree.css('link[rel~="stylesheet" i]')
        look = Look() if is_certain else Look(background=None)
        reason, has_rules = "", bool(self._rules)
        node: LexborNode | None = self._tree.root
        around: list[tuple[LexborNode, Look, str]] = []
        while node is not None:
            tag = node.tag
            child = None
            if tag == "-text":
                self._add_text(node.text_content or "", reason)
            elif tag is not None and tag[0] != "-" and tag not in _NO_TEXT:
                attributes = node.attributes
                own, own_reason = look, reason
                if attributes or has_rules or tag == "dialog":
                    own = self._look(node, tag, attributes, look)
                    own_reason = reason if own is look else own.why_hidden()
                if own.removed:
                    self.hidden.add(_text_of(node), own.removed)
                else:
                    if tag in _ENTERED:
                        self._enter(node, tag, attributes, own_reason)
                    child = node.first_child if tag not in ("select", "textarea") else None
                    if child is None:
                        if tag in _LEFT:
                            self._leave(tag, attributes)
                    else:
                        around.append((node, look, reason))
                        self._around.append(Ancestor(tag, attributes))
                        node, look, reason = child, own, own_reason
                        continue
            following = node.next
            while following is None and around:
                node, look, reason = around.pop()
                left = self._around.pop()
                if left.tag in _LEFT:
                    self._leave(*left)
                following = node.next
            node = following
        return self._flow.text()

    def _look(self, node: LexborNode, tag: str, attributes: Mapping[str, str | None], around: Look) -> Look:
        if not self._rules and tag != "dialog" and not any(name in attributes for name in _STYLED):
            if tag == "a" and "href" in attributes:
                return look_of(tag, attributes, {}, around)
            return around
        declared = self._rules.declarations(tag, attributes, self._around, lambda: node.mem_id)
        if not attributes and not declared and tag not in ("dialog", "mark"):
            return around
        if (
            not declared
            and tag not in ("a", "body", "dialog", "font", "mark")
            and not any(name in attributes for name in ("hidden", "bgcolor", "background"))
        ):
            return around
        return look_of(tag, attributes, declared, around)

    def _add_text(self, text: str, reason: str) -> None:
        if reason:
            self.hidden.add(text, reason)
            return
        if self._verbatim:
            self._flow.add_verbatim(text)
        else:
            self._flow.add(text)
        self.hidden.separate()

    def _enter(self, node: LexborNode, tag: str, attributes: Mapping[str, str | None], reason: str) -> None:
        flow = self._flow
        if tag in ("td", "th"):
            self._cells.append(flow)
            self._flow = TextFlow()
        elif tag == "tr":
            flow.begin_line()
            if self._tables:
                self._tables[-1].begin_row()
        elif tag in _PARAGRAPHS:
            flow.begin_paragraph()
            if tag in _HEADINGS and not self._cells:
                flow.add_verbatim(_HEADINGS[tag])
            elif tag == "table":
                if self._cells and self._tables:
                    self._tables[-1].mark_holds_table()
                self._tables.append(TableFlow())
            elif tag in _LISTS:
                self._lists.append(_number(attributes.get("start"), 1) if tag == "ol" else None)
            elif tag == "pre":
                self._verbatim += 1
        elif tag in _LINES:
            flow.begin_line()
            if tag == "li":
                self._begin_item(attributes)
        elif tag == "br":
            flow.break_line()
        elif not reason:
            self._add_replaced(node, tag, attributes)

    def _begin_item(self, attributes: Mapping[str, str | None]) -> None:
        mark = "- "
        if self._lists and self._lists[-1] is not None:
            number = _number(attributes.get("value"), self._lists[-1])
            self._lists[-1] = number + 1
            mark = f"{number}. "
        self._flow.begin_item("  " * min(len(self._lists) - 1, _MOST_INDENTS) + mark)

    def _add_replaced(self, node: LexborNode, tag: str, attributes: Mapping[str, str | None]) -> None:
        """Adds what an element shows in place of the text in it."""
        if tag == "img":
            alternative = " ".join((attributes.get("alt") or "").split())
            if alternative:
                self._flow.add(f" [image: {alternative}] ")
        elif tag == "input":
            kind = (attributes.get("type") or "").lower()
            value = attributes.get("value") or ""
            if kind in ("checkbox", "radio"):
                self._flow.add(" [x] " if "checked" in attributes else " [ ] ")
            elif kind in _SHOWN_INPUTS:
                self._flow.add(f" {value} ")
        elif tag == "select":
            chosen = node.css("option[selected]") or node.css("option")[:1]
            self._flow.add(f" {' '.join(option.text() for option in chosen)} ")
        elif tag == "textarea":
            self._flow.add_verbatim(node.text().strip())

    def _leave(self, tag: str, attributes: Mapping[str, str | None]) -> None:
        if tag in ("td", "th"):
            text = self._flow.text()
            self._flow = self._cells.pop()
            if self._tables:
                columns, rows = _number(attributes.get("colspan"), 1), _number(attributes.get("rowspan"), 1)
                self._tables[-1].add_cell(text, columns, rows)
            elif text:
                self._flow.add_lines(text.split("\n"))
        elif tag == "tr":
            if self._tables:
                self._flow.add_lines(self._tables[-1].end_row())
        elif tag in _PARAGRAPHS:
            if tag == "table":
                self._tables.pop()
            elif tag in _LISTS:
                self._lists.pop()
            elif tag == "pre":
                self._verbatim -= 1
            self._flow.begin_paragraph()
        elif tag == "li":
            self._flow.end_item()
        elif tag in _LINES:
            self._flow.begin_line()


def _text_of(node: LexborNode) -> str:
    """The words in an element that is not shown."""
    texts = [
        part.text_content or ""
        for part in node.traverse(include_text=True)
        if part.tag == "-text" and (part.parent is None or part.parent.tag not in _NO_TEXT)
    ]
    return " ".join(" ".join(texts).split())


def _number(text: Any, otherwise: int) -> int:
    """A whole number as HTML writes it in attributes."""
    text = (text or "").strip()
    return int(text) if text.isdecimal() and len(text) < 9 else otherwise
