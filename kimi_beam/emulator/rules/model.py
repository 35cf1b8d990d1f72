"""The rule-based stand-in for Kimi: it fills a JSON Schema with what a document says, and with nothing else.

It knows labels (`lexicon`), typed values (`values`) and the habits of letterheads, tills, tables and contracts. What it
does not find is null where the schema allows null, and is left out where it does not, even if it is required: an empty
string would be a lie, and a client has to notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from kimi_beam.emulator.chat import Wanted, document_in, question, text_of
from kimi_beam.emulator.rules import letterhead, typed_text
from kimi_beam.emulator.rules.choices import chosen, occurrence, truth
from kimi_beam.emulator.rules.clauses import parties
from kimi_beam.emulator.rules.finders import Candidate, find, section, typed_in
from kimi_beam.emulator.rules.item_tables import find_rows
from kimi_beam.emulator.rules.labels import Label, label_for
from kimi_beam.emulator.rules.lexicon import words
from kimi_beam.emulator.rules.markup import plain
from kimi_beam.emulator.rules.page import Page
from kimi_beam.emulator.rules.plan import Node, Property, plan
from kimi_beam.emulator.rules.readings import MISSING, first_of, nothing, readings

_LABELLED = re.compile(r"^[ \t]*([^\W\d_][^:\n]{0,38}?)[ \t]*:[ \t]*(\S[^\n]{0,300})$", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(.+)$")
_ROOT: Final = label_for("document")
_MOST_LABELS: Final = 100


def answer(messages: Sequence[object], want: Wanted, more: str = "") -> str:
    """Answer a chat.

    Args:
        messages: The chat; the document is in the last user message.
        want: What shape the answer is to have.
        more: What else is known beside the document, such as the answers of tools.
    """
    text = document_in(text_of(question(messages)))
    text = f"{text}\n{more}" if more else text
    if want.kind == "prose":
        first = next((line.strip() for line in text[:2_000].splitlines() if line.strip()), "nothing")
        return f'A text of {len(text.split())} words that begins with "{first[:80]}".'
    text, headers = plain(text.replace("\r\n", "\n").replace("\r", "\n"))
    page = Page(text)
    if want.kind == "object":
        return orjson.dumps(flat(Page(f"{headers}\n{text}"))).decode()
    value = fill(plan(want.schema), page, Page(headers) if headers else None)
    return orjson.dumps(value).decode()


def flat(page: Page) -> dict[str, str]:
    """Return a document's labelled values as one flat object; the first of equal labels counts."""
    found: dict[str, str] = {}
    for match in _LABELLED.finditer(page.text):
        name = "_".join(words(match[1]))
        if name and len(found) < _MOST_LABELS:
            found.setdefault(name, match[2].strip())
    return found


def fill(node: Node, page: Page, headers: Page | None = None) -> Any:
    """Return an instance of a schema; null when the root is not an object or array and nothing is found.

    Args:
        node: The schema.
        page: The document.
        headers: Those of the mail it came in: they are asked for what it does not say itself.
    """
    if node.kind in ("object", "any") and not node.properties:
        return flat(page)
    value = _fill(node, _ROOT, page, root=True)
    if headers is not None and isinstance(value, dict):
        for rule in node.properties:
            if value.get(rule.name) is None and rule.label.pattern and rule.label.pattern.search(headers.lower):
                found = _fill(rule.node, rule.label, headers)
                if found is not MISSING:
                    value[rule.name] = found
    return ({} if node.kind == "object" else None) if value is MISSING else value


def _fill(node: Node, label: Label, page: Page, *, root: bool = False) -> Any:
    """Return the value of one place in the schema, or `MISSING`."""
    if node.kind == "object":
        return _object(node, label, page, root=root)
    if node.kind == "array":
        return _array(node, label, page)
    if node.kind == "choice":
        return chosen(node, label, page)
    if node.kind == "variants":
        return _best_variant(node, label, page, root=root)
    if node.kind == "boolean":
        return truth(node, label, page)
    if node.kind == "null":
        return None
    return first_of(node, find(page, label), page)


def _object(node: Node, label: Label, page: Page, *, root: bool) -> Any:
    party = section(page, label) if not root else None
    part = party or page
    filled: dict[str, Any] = {}
    found = False
    for rule in node.properties:
        value = _property(rule, label, part, named=party is not None, root=root)
        if value is not MISSING:
            filled[rule.name] = value
            found = found or (value is not None and value != [] and not rule.node.fixed)
    if found or root:
        return filled
    return nothing(node)


def _property(rule: Property, parent: Label, page: Page, *, named: bool, root: bool) -> Any:
    """Fill a property; inside a party, its name and address need no label of their own."""
    about_party = parent.concept is not None and parent.concept.kind == "party" and not root
    if about_party and rule.node.kind in ("string", "any"):
        name = _name_of(parent, page, named=named)
        if rule.label.words in (("name",), ("company",), ("company", "name"), ("legal", "name")):
            labelled = [] if named is False else find(page, rule.label)
            return first_of(rule.node, [*labelled, *([name] if name else [])], page)
        if not named and not parent.means("company"):
            return first_of(rule.node, _prefixed(rule, parent, page), page)
        if rule.label.means("address"):
            address = letterhead.address(page, name=name)
            return first_of(rule.node, [*([address] if address else []), *find(page, rule.label)], page)
    return _fill(rule.node, rule.label, page)


def _prefixed(rule: Property, parent: Label, page: Page) -> list[Candidate]:
    """Find a property of a party that has no part of its own, under labels such as "Customer email"."""
    label = label_for(" ".join((*parent.words, *rule.label.words)))
    # Only mentions count: what needs no label belongs to the issuer, not to this party.
    return find(page, label) if any(mention.score >= 100 for mention in page.mentions(label)) else []


def _name_of(parent: Label, page: Page, *, named: bool) -> str | None:
    if not named:
        return next((str(c) for c in find(page, parent) if isinstance(c, str)), None)
    for line in page.lines:
        if ":" not in line and sum(letter.isalpha() for letter in line) > 1 and not letterhead.looks_like_address(line):
            return line.strip()
    return None


def _array(node: Node, label: Label, page: Page) -> Any:
    least, most = node.length
    items = list(_items(node.items, label, page)) if node.items is not None else []
    if len(items) > most:
        items = items[: int(most)]
    if len(items) >= least and (items or not node.nullable):
        return items
    return nothing(node)


def _items(item: Node, label: Label, page: Page) -> Iterator[Any]:
    kind = next((v for v in item.variants if v.kind == "object"), item)
    if kind.kind == "object":
        yield from _records(kind, label, page)
    elif item.kind == "choice":
        found = [(at, choice.value) for choice in item.choices if (at := occurrence(choice.names, page)) is not None]
        yield from (value for _, value in sorted(found, key=lambda pair: pair[0]))
    else:
        for candidate in _listed(label, page):
            for value in readings(item, candidate, page):
                yield value
                break


def _records(item: Node, label: Label, page: Page) -> Iterator[Any]:
    """Yield the rows of a table, or the parties of a contract."""
    columns = [(rule.name, rule.label) for rule in item.properties]
    if label.means("parties"):
        for name in parties(page):
            record = _record(
                item, {rule.name: [name] for rule in item.properties if rule.label.words[-1:] == ("name",)}, page
            )
            if record is not MISSING:
                yield record
        return
    for row in find_rows(page, columns):
        record = _record(item, row, page)
        if record is not MISSING:
            yield record


def _record(item: Node, row: dict[str, list[Candidate]], page: Page) -> Any:
    record: dict[str, Any] = {}
    found = False
    for rule in item.properties:
        candidates = row.get(rule.name, [])
        if rule.node.kind == "choice":
            value = chosen(rule.node, rule.label, Page(str(candidates[-1]) if candidates else ""))
        elif rule.node.kind == "array":
            value = [] if rule.node.length[0] == 0 else MISSING
        elif rule.node.kind == "variants":
            tries = (first_of(variant, candidates, page) for variant in rule.node.variants)
            value = next((v for v in tries if v is not MISSING and v is not None), nothing(rule.node))
        else:
            value = first_of(rule.node, candidates, page)
        if value is not MISSING:
            record[rule.name] = value
            found = found or (value is not None and not rule.node.fixed)
        elif rule.required:  # an amount without what it is for is no position
            return MISSING
    return record if found else MISSING


def _listed(label: Label, page: Page) -> list[Candidate]:
    """Return the members of a list of plain values: behind a label, as bullets below it, or all of one type."""
    if label.means("parties") and (names := parties(page)):
        return list(names)
    if label.kind == "email" or label.words[-1:] == ("emails",):
        return list(dict.fromkeys(typed_text.emails(page.text)))
    if label.kind == "url" or label.words[-1:] in (("urls",), ("links",)):
        return list(dict.fromkeys(typed_text.urls(page.text)))
    if label.kind == "date" or label.words[-1:] == ("dates",):
        return list(page.dates)
    for mention in sorted(page.mentions(label), key=lambda mention: -mention.score):
        if mention.score < 60:
            break
        row = page.line_of(mention.start)
        bullets = [_BULLET.match(line) for line in page.lines[row + 1 : row + 51]] if mention.alone else []
        members = []
        for bullet in bullets:
            if bullet is None:
                break
            members.append(bullet[1].strip())
        if not members:
            text = page.value_after(mention)
            members = [part.strip(" .") for part in re.split(r"[,;|]|\s(?:and|und|et)\s", text) if part.strip(" .")]
        if members:
            return [
                reading
                for member in members
                for reading in ([member] if label.kind != "amount" else typed_in(member)[:1])
            ]
    return []


def _best_variant(node: Node, label: Label, page: Page, *, root: bool) -> Any:
    """Fill every alternative and keep the one that says most; the first of equals."""
    best, weight = nothing(node), -1
    for variant in node.variants:
        value = _fill(variant, label, page, root=root and variant.kind == "object")
        if value is not MISSING and value is not None and _weight(value) > weight:
            best, weight = value, _weight(value)
    return best


def _weight(value: object) -> int:
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    if isinstance(value, list):
        return sum(map(_weight, value))
    return 0 if value is None else 1
