"""Finding what one label means in a page: candidates of the kind that is expected, best first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from kimi_beam.emulator.rules import letterhead, typed_text
from kimi_beam.emulator.rules.amounts import find_amounts
from kimi_beam.emulator.rules.clauses import CLAUSES, parties
from kimi_beam.emulator.rules.document_kinds import is_contract
from kimi_beam.emulator.rules.labels import Label
from kimi_beam.emulator.rules.lexicon import CONCEPTS, EVERYDAY, word_set
from kimi_beam.emulator.rules.page import Page
from kimi_beam.emulator.rules.recipients import recipient
from kimi_beam.emulator.rules.typed_text import Amount, Date

Candidate = str | Date | Amount

_LEAST: Final = 60  # score below which a mention is taken for prose
_LONGEST: Final = 300
_SIDES: Final = {"company": 0, "buyer": 1}  # which of a contract's parties
_ASIDE = re.compile(r"\s*(?:[<(\[{]|,\s+(?=\d))")  # an address, web or postal, or a remark
_BARE_NUMBER = re.compile(r"(?:number|num|nummer|numéro|no|nr|nº|n°|#|ref\w*|our ref\w*)")
_MONEY = re.compile(r"\D{0,3}\d{1,3}(?:[.,]\d{3})*[.,]\d\d")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][\w/.-]*")
_GAP = re.compile(r" {2,}|\t|\|")  # what divides columns
_PLACE = re.compile(r"(?:^|\s{2})[A-ZÀ-Þ][^\W\d_][\w' -]{0,30}, ?(?:le |den |on |am |the )?$")
_SIGNED_AT = re.compile(r"(?:fait|signed|made|done|geschehen|unterzeichnet)\b[^\d\n]{0,50}$", re.IGNORECASE)
_PHONE = re.compile(r"\+?\(?\d[\d ()./-]{5,18}\d")
_GLUE: Final = word_set(
    "on the is of as at by in this day and be to from am vom den der le du no nr mon tue wed thu fri sat sun"
)
_WORDS = re.compile(r"[^\W\d_]+")
_OTHER_DATES: Final = re.compile(
    r"(?:due|payable|commenc\w*|einfahrt|ausfahrt|later than"
    r"|(?<![^\W_])(?:begin\w*|beginnt|ends?|endet|effet|prend fin|läuft|letter dated|leaves?|ab|ordered|last"
    r"|before)|deliver\w*|ship\w*|expir\w*|valid|until|birth|born|print\w*"
    r"|version|stand|fällig\w*|liefer\w*|bis|échéance"
    r"|effective|from|arriv\w*|depart\w*|check|since)\b[^\n]{0,14}$"
)


def find(page: Page, label: Label) -> list[Candidate]:
    """Return what a label may mean, best first; nothing when the page does not say.

    Args:
        page: The document, or the part of it that is about one thing.
        label: What to look for.
    """
    candidates: list[Candidate]
    if label.kind == "date":
        candidates = [*_dates(page, label)]
    elif label.kind in ("amount", "percent"):
        candidates = [*find_amounts(page, label)]
    elif label.kind == "currency":
        candidates = [*_currencies(page, label)]
    elif label.kind == "email":
        candidates = [*_in_mentions(page, label, typed_text.emails), *typed_text.emails(page.text)]
    elif label.kind == "url":
        candidates = [*_in_mentions(page, label, typed_text.urls), *typed_text.urls(page.text)]
    else:
        candidates = [*_texts(page, label)]
        side = _SIDES.get(label.concept.name) if label.concept else None
        if side is not None and (names := parties(page)) and is_contract(page):
            candidates.insert(0, names[side])
    clause = CLAUSES.get(label.concept.name) if label.concept else None
    if clause is not None:
        candidates = [*candidates, *clause(page)]
    return candidates or [*_unlabelled(page, label)]


def _dates(page: Page, label: Label) -> Iterator[Date]:
    """Yield the dates behind the label; the date of the document itself needs none."""
    starts = [date.start for date in page.dates]
    scored = []
    for mention in page.mentions(label) if starts else ():
        for date in page.typed_after(mention, page.dates, starts=starts)[:1]:
            between = page.lower[mention.end : date.start] if date.start < mention.line_end else ""
            strange = [word for word in _WORDS.findall(between) if word not in _GLUE]
            # A word of the document such as "issued" is followed by its date at once, or it is only a word.
            score = mention.score_typed - 15 * len(strange) - max(0, len(between) - 20)
            if _OTHER_DATES.search(page.lower, max(0, mention.start - 16), mention.start) and label.means("date"):
                score -= 60
            if score >= _LEAST:
                scored.append((score, date))
    scored.sort(key=lambda pair: -pair[0])
    yield from (date for _, date in scored)
    if label.means("date"):
        yield from (date for date in page.dates if _is_dateline(page, date))
        for date in page.dates:
            if not _OTHER_DATES.search(page.lower, max(0, date.start - 30), date.start):
                yield date


def _is_dateline(page: Page, date: Date) -> bool:
    """Whether a date stands alone behind a place: "Lyon, le 3 mars 2026", "Signed at York on 3 March 2026"."""
    begin = page.text.rfind("\n", 0, date.start) + 1
    before = page.text[max(begin, date.start - 80) : date.start]
    return bool(_SIGNED_AT.search(before)) or (
        page.end_of_line(date.end) - date.end < 3 and bool(_PLACE.search(before))
    )


def _currencies(page: Page, label: Label) -> Iterator[str]:
    yield from _in_mentions(page, label, lambda text: typed_text.currencies(text.lower()))
    codes = [amount.currency for amount in page.amounts if amount.currency] or typed_text.currencies(page.lower)
    if codes:
        yield max(codes, key=codes.count)  # the first of the most frequent


def _in_mentions(page: Page, label: Label, read: Callable[[str], list[str]]) -> Iterator[str]:
    for _, text in _labelled_texts(page, label):
        yield from read(text)


def _labelled_texts(page: Page, label: Label) -> list[tuple[int, str]]:
    found = []
    for mention in page.mentions(label):
        if mention.score >= _LEAST:
            text = page.value_after(mention)
            if text and len(text) <= _LONGEST:
                found.append((mention.score, text))
    found.sort(key=lambda pair: -pair[0])
    return found


def _texts(page: Page, label: Label) -> Iterator[str]:
    if label.kind == "identifier":
        yield from _identifiers(page, label)
    elif label.kind == "phone":
        for _, text in _labelled_texts(page, label):
            match = _PHONE.search(text)
            if match:
                yield match[0].strip()
    elif label.kind == "party":
        yield from _parties(page, label)
    elif label.kind == "address":
        for mention in sorted(page.mentions(label), key=lambda mention: -mention.score):
            if mention.score >= _LEAST:
                yield _address_after(page, mention.value)
    else:
        for _, text in _labelled_texts(page, label):
            yield text


def _parties(page: Page, label: Label) -> Iterator[str]:
    """Yield the names behind a party's label, or below it where another heading stands beside it."""
    found = []
    for mention in page.mentions(label):
        colon = ":" in page.text[mention.end : mention.value]
        if mention.score < _LEAST or not (mention.first or colon):
            continue
        text = page.value_after(mention)
        if _PARTY_HEADINGS.get(text.lower()):
            text = _GAP.split(page.below(mention), maxsplit=1)[0]
        name = _party(text)
        everyday = page.lower[mention.start : mention.end] in EVERYDAY
        if name and not (everyday and (name[0].isdigit() or name[0].islower())):
            found.append((mention.score, name))
    found.sort(key=lambda pair: -pair[0])
    yield from (name for _, name in found)


def _party(text: str) -> str:
    """Return the name that stands behind a party's label, empty when it is none: a place, a date, a sentence."""
    name = _ASIDE.split(text, maxsplit=1)[0].strip(' ,;*_"') if text[:1] not in "([{<" else ""
    letters = sum(letter.isalpha() for letter in name)
    if letters < 2 or len(name) >= 120 or name.endswith("!") or letterhead.is_prose(name) or name[:2] in ("<<", "{{"):
        return ""
    if name[0].isdigit() and (letterhead.looks_like_address(name) or letters < 4):
        return ""
    bare = name.lower().removeprefix("the ").removeprefix("le ").removeprefix("la ")
    return "" if bare in _PARTY_HEADINGS else name


def _address_after(page: Page, offset: int) -> str:
    """Return the lines from here to the end of the address: a street may be followed by its town."""
    line = page.line_of(offset)
    first = page.text[offset : page.end_of_line(offset)].strip()
    lines = [first] if first else []
    for text in page.lines[line + 1 : line + 6]:
        if not text.strip() and not lines:
            continue
        if not text.strip() or ":" in text or not letterhead.looks_like_address(text):
            break
        lines.append(text.strip())
    return " ".join(lines)


def _identifiers(page: Page, label: Label) -> Iterator[str]:
    """Yield numbers and codes: with a colon all of a short value, without one the next word if it has a digit."""
    found = []
    own = label.means("document number")
    for mention in page.mentions(label):
        if own and not mention.first and _BARE_NUMBER.fullmatch(page.lower, mention.start, mention.end):
            continue  # "Customer no.", "Tax number": not the document's
        if mention.score >= _LEAST and (mention.marked or mention.alone):
            text = page.value_after(mention)
            words = text.split()
            plain = (
                len(words) <= 3
                and any(letter.isdigit() for letter in text)
                and not typed_text.dates(text, text.lower())
            )
            plain = plain and not any(word.isalpha() and len(word) > 3 and not word.isupper() for word in words)
            value = text if plain else _code(words[:4]) if not mention.alone else ""
            score = mention.score
        else:
            match = _IDENTIFIER.match(page.text, mention.value, mention.line_end)
            value = _code([match[0].rstrip(".-/")]) if match else ""
            score = mention.score_typed
        value = value.strip(" #:.")
        if value and len(value) <= 60 and any(letter.isdigit() for letter in value) and score >= _LEAST:
            found.append((score, value))
    found.sort(key=lambda pair: -pair[0])
    yield from (value for _, value in found)


def _code(words: list[str]) -> str:
    """Return the first of some words that has a digit and is neither a date nor money; empty when there is none."""
    for word in words:
        if any(letter.isdigit() for letter in word):
            bare = word.strip(".,;:()")
            dates = typed_text.dates(bare, bare.lower())
            return "" if (dates and dates[0].text == bare) or _MONEY.fullmatch(bare) else bare
    return ""


def _unlabelled(page: Page, label: Label) -> Iterator[str]:
    """Yield what a page says without a label: its issuer, that one's address, the title."""
    name = label.concept.name if label.concept else ""
    if name == "company":
        found = letterhead.company(page)
    elif name == "buyer":
        found = recipient(page)
    elif name == "address":
        found = letterhead.address(page, name=letterhead.company(page))
    elif name in ("postcode", "city", "street", "state"):
        found = letterhead.part_of_address(page, name)
    elif name == "title":
        found = next((line.strip() for line in page.lines if line.strip()), None)
    else:
        found = None
    if found and len(found) <= _LONGEST:
        yield found


def section(page: Page, label: Label) -> Page | None:
    """Return the part of a page about one party, from its label to the next party's; None without such a label."""
    if label.concept is None or label.concept.kind != "party":
        return None
    mentions = (m for m in page.mentions(label) if m.score >= _LEAST and page.lower[m.start : m.end] not in EVERYDAY)
    best = max(mentions, key=lambda mention: mention.score, default=None)
    if best is None:
        return None
    begin = page.starts[page.line_of(best.start)]
    column = best.start - begin
    row = page.line_of(best.start)
    # Another heading on the same line: two columns, of which this is one.
    gap = _GAP.search(page.text, best.end, best.line_end)
    right = gap.end() - begin if gap and _is_party_heading(page.lower[gap.end() : best.line_end], label) else None
    head = page.text[best.value : begin + right if right else best.line_end].strip(" |\t")
    lines = [head] if head else []
    blank = 0
    for text in page.lines[row + 1 : row + 40]:
        part = text[max(0, column - 1) if column else 0 : right - 1 if right else None].strip(" |\t")
        if not part:
            blank += 1
            if (blank > 3 or (blank and right)) and len(lines) > 1:
                break
            continue
        blank = 0
        if _is_party_heading(part.lower(), label):
            break
        lines.append(part)
        if len(lines) == 14:
            break
    return Page("\n".join(lines)) if lines else None


_PARTY_HEADINGS: Final = {
    phrase: concept.name for concept in CONCEPTS if concept.kind == "party" for phrase in concept.phrases
}


def _is_party_heading(lower: str, label: Label) -> bool:
    """Whether a line is the heading of another party than the label's."""
    first = re.split(r"[:/|]|\s{2,}|\s-\s", lower.strip(), maxsplit=1)[0].strip(" .")
    owner = _PARTY_HEADINGS.get(first)
    return owner is not None and label.concept is not None and owner != label.concept.name


def typed_in(text: str) -> list[Candidate]:
    """Return a short text, such as a cell of a table, as every type it can be read as: dates, numbers, then itself."""
    page = Page(text)
    found: list[Candidate] = [*page.dates, *page.amounts]
    found.sort(key=lambda value: value.start if not isinstance(value, str) else 0)
    return [*found, text]
