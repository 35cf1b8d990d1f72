"""The rules of a web page's style sheets that may hide text or change its colour, and which elements they are for.

Only what the page itself holds is read: nothing is fetched. Rules for print, small screens and the like are left out,
as are those of states such as ``:hover``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Declarations = Mapping[str, str]
"""Values of CSS by the names of their properties, in lower case."""
PROPERTIES = frozenset(
    {
        "background", "background-clip", "background-color", "background-image", "bottom", "clip", "clip-path", "color",
        "content-visibility", "display", "filter", "font", "font-size", "height", "left", "margin-left", "margin-top",
        "max-height", "max-width", "opacity", "overflow", "position", "right", "text-indent", "text-shadow", "top",
        "transform", "visibility", "width", "-webkit-background-clip", "-webkit-text-fill-color",
    }
)  # fmt: skip
_COMMENT = re.compile(r"/\*.*?(\*/|$)|<!--|-->", re.S)
_BRACE = re.compile(r"[{}]")
_SCREEN = re.compile(r"@(media\s+(only\s+)?(screen|all)\s*|(layer|supports)\b[^{]*)", re.I)
_COMPOUND = re.compile(r"([a-z][a-z0-9]*|\*)?((?:[.#][\w-]+)*)", re.I)
_NEVER_MET = re.compile(r"::|:(hover|focus|active|visited|before|after|checked|disabled|target|link)\b", re.I)
_MOST_OF_A_VALUE = 500
"""The letters of a value that are looked at: only pictures have more."""
_MOST_RULES = 5_000
_MOST_COMPOUNDS = 8
_MOST_SEARCHES = 100
"""The most selectors for which the whole page is searched: those with more in them than tags, classes and ids."""
_INLINE = (1, 0, 0)


def parse_declarations(text: str) -> list[tuple[str, str, bool]]:
    """The declarations of `PROPERTIES`: name, value, and whether it is ``!important``.

    Args:
        text: What stands between braces, or in a ``style`` attribute.
    """
    found = []
    for declaration in text.split(";"):
        name, colon, value = declaration.partition(":")
        name = name.strip().lower()
        if colon and name in PROPERTIES:
            value, mark, _ = value.strip().lower().partition("!important")
            found.append((name, value.strip()[:_MOST_OF_A_VALUE], bool(mark)))
    return found


class Ancestor(NamedTuple):
    """An element around the one that is looked at: its name and attributes."""

    tag: str
    attributes: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class _Compound:
    """A selector of one element by its tag, id and classes; empty where it may have any."""

    tag: str
    identifier: str
    classes: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> _Compound | None:
        """None if it asks for anything else."""
        found = _COMPOUND.fullmatch(text)
        if found is None or not text:
            return None
        names = re.findall(r"([.#])([\w-]+)", found[2])
        identifiers = [name for mark, name in names if mark == "#"]
        classes = frozenset(name for mark, name in names if mark == ".")
        return cls((found[1] or "").lower().replace("*", ""), identifiers[0] if identifiers else "", classes)

    @property
    def key(self) -> str:
        """What an element that it is for has, by which the rules are found."""
        if self.identifier:
            return f"#{self.identifier}"
        return f".{min(self.classes)}" if self.classes else self.tag

    def fits(self, tag: str, attributes: Mapping[str, str | None]) -> bool:
        """Whether it is for an element."""
        if self.tag not in ("", tag) or self.identifier not in ("", attributes.get("id")):
            return False
        return not self.classes or self.classes <= set((attributes.get("class") or "").split())


@dataclass(frozen=True, slots=True)
class _Rule:
    declarations: list[tuple[str, str, bool]]
    weight: tuple[int, int, int]
    """How specific its selector is: identifiers, classes, tags."""
    position: int
    subject: _Compound | None = None
    outside: tuple[tuple[str, _Compound], ...] = ()
    """The elements that it must stand in, the innermost first, each with ``>`` if it must be the parent, or space."""

    def is_within(self, around: Sequence[Ancestor], position: int = 0) -> bool:
        """Whether the elements around are those that it asks for, from one of `outside` on."""
        if position == len(self.outside):
            return True
        combinator, compound = self.outside[position]
        for at in range(len(around) - 1, -1, -1):
            if compound.fits(*around[at]):
                if self.is_within(around[:at], position + 1):
                    return True
                if self.outside[position + 1][0] == " ":
                    return False  # around those further out there are fewer still
            if combinator == ">":
                break
        return False


class StyleRules:
    """The rules of a page.

    Args:
        sheets: The texts of its ``<style>`` elements.
        search: Gives the numbers (`mem_id`) of the elements that a selector is for, or None if it does not know it.

    Attributes:
        is_complete: Whether all rules are known; else the colour of no background is certain.
    """

    def __init__(self, sheets: Iterable[str], search: Callable[[str], list[int] | None]) -> None:
        on_screen = [_on_screen(_COMMENT.sub(" ", sheet)) for sheet in sheets]
        self.is_complete = all(is_complete for _, is_complete in on_screen)
        self._by_key: dict[str, list[_Rule]] = {}
        self._by_element: dict[int, list[_Rule]] = {}
        self._known: dict[tuple[str, str, str, str], dict[str, str] | list[_Rule]] = {}
        """By tag, classes, id and style: what is declared, or the rules if it depends on the elements around."""
        searches = 0
        for position, (selector, declarations) in enumerate(_rules(sheet for sheet, _ in on_screen)):
            if position >= _MOST_RULES:
                self.is_complete = False
                break
            classes = selector.count(".") + selector.count("[") + selector.count(":")
            weight = selector.count("#"), classes, len(selector.split())
            subject, outside = _parse_selector(selector)
            if subject is not None:
                rule = _Rule(declarations, weight, position, subject, outside)
                self._by_key.setdefault(subject.key, []).append(rule)
                continue
            searches += 1
            elements = search(selector) if searches <= _MOST_SEARCHES else None
            if elements is None:
                self.is_complete = False
                continue
            for element in elements:
                self._by_element.setdefault(element, []).append(_Rule(declarations, weight, position))

    def __bool__(self) -> bool:
        """Whether there are any rules."""
        return bool(self._by_key or self._by_element)

    def declarations(
        self, tag: str, attributes: Mapping[str, str | None], around: Sequence[Ancestor], number: Callable[[], int]
    ) -> Declarations:
        """What the rules and its own ``style`` declare for an element.

        Args:
            tag: Its name.
            attributes: Its attributes.
            around: The elements around it, the outermost first.
            number: Gives its number.
        """
        if attributes:
            key = tag, attributes.get("class") or "", attributes.get("id") or "", attributes.get("style") or ""
        else:
            key = tag, "", "", ""
        known = self._known.get(key)
        if known is None:
            candidates = self._candidates(tag, attributes)
            depends = any(rule.outside for rule in candidates)
            known = candidates if depends else _cascade(candidates, key[3])
            self._known[key] = known
        found = self._by_element.get(number(), ()) if self._by_element else ()
        if isinstance(known, dict) and not found:
            return known
        candidates = known if isinstance(known, list) else self._candidates(tag, attributes)
        return _cascade([*found, *(rule for rule in candidates if rule.is_within(around))], key[3])

    def _candidates(self, tag: str, attributes: Mapping[str, str | None]) -> list[_Rule]:
        """The rules whose last compound is for an element."""
        by_key = self._by_key
        if not by_key:
            return []
        rules = [*by_key.get("", ()), *by_key.get(tag, ())]
        if identifier := attributes.get("id"):
            rules += by_key.get(f"#{identifier}", ())
        for name in set((attributes.get("class") or "").split()):
            rules += by_key.get(f".{name}", ())
        return [rule for rule in rules if rule.subject is not None and rule.subject.fits(tag, attributes)]


def _parse_selector(selector: str) -> tuple[_Compound | None, tuple[tuple[str, _Compound], ...]]:
    """The subject of a selector and the elements that it must stand in; no subject if it asks for anything else."""
    words = selector.replace(">", " > ").split()
    compounds = [
        (">" if at and words[at - 1] == ">" else " ", _Compound.parse(word))
        for at, word in enumerate(words)
        if word != ">"
    ]
    known = [(combinator, compound) for combinator, compound in compounds if compound is not None]
    if len(known) < len(compounds) or not known or len(known) > _MOST_COMPOUNDS:
        return None, ()
    outside = [(known[at + 1][0], known[at][1]) for at in range(len(known) - 1)]
    return known[-1][1], tuple(reversed(outside))


def _cascade(rules: list[_Rule], style: str) -> dict[str, str]:
    weighed = [
        ((is_important, rule.weight, rule.position), name, value)
        for rule in rules
        for name, value, is_important in rule.declarations
    ]
    if style:
        weighed += [
            ((is_important, _INLINE, _MOST_RULES), name, value)
            for name, value, is_important in parse_declarations(style)
        ]
    weighed.sort(key=lambda declaration: declaration[0])
    return {name: value for _, name, value in weighed}


def _rules(sheets: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, str, bool]]]]:
    """The selectors and declarations of all rules of sheets that hold on a screen."""
    for sheet in sheets:
        for block in sheet.split("}"):
            selectors, brace, text = block.rpartition("{")
            declarations = parse_declarations(text) if brace else []
            if not declarations:
                continue
            for selector in re.split("[;{]", selectors)[-1].split(","):
                selector = " ".join(selector.split())
                if selector and not selector.startswith("@") and not _NEVER_MET.search(selector):
                    yield selector, declarations


def _on_screen(sheet: str) -> tuple[str, bool]:
    """A sheet without the blocks that hold under conditions, and with those for any screen in their place.

    Returns:
        The sheet, and whether nothing was left out that may put a colour behind text on a screen.
    """
    kept: list[str] = []
    at, is_complete = 0, "@import" not in sheet
    while (begin := sheet.find("@", at)) >= 0:
        kept.append(sheet[at:begin])
        brace = sheet.find("{", begin)
        semicolon = sheet.find(";", begin, brace if brace >= 0 else len(sheet))
        if brace < 0 or semicolon >= 0:  # `@import …;`, `@charset …;`
            at = len(sheet) if semicolon < 0 else semicolon + 1
            continue
        depth, end = 1, brace + 1
        for mark in _BRACE.finditer(sheet, end):
            depth += 1 if mark[0] == "{" else -1
            if not depth:
                end = mark.start()
                break
        else:
            end = len(sheet)
        if _SCREEN.fullmatch(sheet[begin:brace]):
            kept.append(sheet[brace + 1 : end])
        elif "print" not in sheet[begin:brace] and "background" in sheet[brace:end]:
            is_complete = False
        at = end + 1
    kept.append(sheet[at:])
    return " ".join(kept), is_complete
