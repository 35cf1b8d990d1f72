"""Who issued a document and where they live, when no label says so: the lines at its top."""

from __future__ import annotations

import re
from typing import Final

from kimi_beam.emulator.rules.document_kinds import is_title, names_kind
from kimi_beam.emulator.rules.lexicon import word_set
from kimi_beam.emulator.rules.page import Page

_TOP: Final = 14  # lines that can be a letterhead
_WIDTH: Final = 300  # characters of a line that are looked at
_LEGAL: Final = word_set(
    """
    bhd bnd gmbh mbh ag kg ohg ek ug ltd limited llc llp inc incorporated corp corporation plc sarl sas sa nv bv pty
    pte spa srl oy ab aps kk company
    """
)
_TRADE: Final = word_set(
    """
    enterprise enterprises trading shop store stores mart market supermarket hypermarket minimarket restaurant
    restoran cafe café coffee bakery cake kitchen food foods seafood hardware stationery stationers pharmacy farmasi
    apotheke hotel motor motors auto garage workshop supply supplies service services group associates partners
    holding holdings international industries electrical electronics book books gift gifts home house centre center
    clinic klinik salon studio bros brothers sons perniagaan syarikat kedai pasar bank marketing solutions systems
    consulting software technologies logistics transport travel bar grill bistro station petrol fashion beauty
    furniture construction engineering
    """
)
_STREET: Final = word_set(
    """
    jalan jln lorong lrg taman tmn kampung kg bandar seksyen section persiaran lebuh lebuhraya kawasan batu desa
    street st road rd avenue ave lane ln drive dr boulevard blvd highway hwy way square plaza court place park floor
    flr level lvl lot unit suite ste block blk building bldg tower mall box rue chemin allée quai impasse platz
    allee weg gasse bahnhof ring postfach
    """
)
_STOP: Final = word_set(
    """
    invoice receipt date datum time cashier bill table order qty total amount description item customer thank
    welcome owned branch served staff terminal slip cash rechnung facture document doc
    """
)
_CONTACT: Final = word_set(
    """
    tel telephone telefon phone ph fax mobile hp hotline whatsapp whatsapps email mail website www careline
    """
)
_COMPOUND_STREET: Final = ("straße", "strasse", "str", "weg", "platz", "gasse", "allee")
_WORD = re.compile(r"[^\W\d_]+")
_NUMBERED = re.compile(r"\W*(?:(?:no|nr)\b\.?\s*\d|(?:pt|lg|g|b)\d|\d+[-/]?\w?,)")
_TITLE = re.compile(
    r"^[\W_]*(?:simplified |tax |sales |cash |commercial |pro ?forma |vat |gst |original |official |handels)*"
    r"(?:invoice|receipt|bill|cash sales?|rechnung|facture|quotation|purchase order|credit note|gutschrift|lieferschein"
    r"|delivery (?:note|order)|statement|contract|agreement|copy|welcome|duplicate|reprint|page \d.*|seite \d.*)"
    r"[\W_]*(?:(?:no|nr|#).*)?$"
)
_REGISTRATION = re.compile(
    r"(?<![^\W_])(?:co\.?\s*reg|company\s*(?:reg|no)|reg(?:istration)?\.?\s*(?:no|nr|#)|gst|vat|sst|tax\s*(?:id|no)"
    r"|ust|steuernummer|siret|siren|roc|brn|business\s*reg)(?![^\W_])"
)
_POSTCODE = re.compile(
    r"(?<![\w./-])(?:[a-z]{1,2}[- ])?\d{4,6}(?:-\d{4})?(?![\w/-]|\.\d)[,.]? ?[a-zà-ÿ]"  # 80333 München
    r"|(?<![^\W_])[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}(?![^\W_])"  # SW1A 1AA
    r"|,? [a-z]{2} \d{5}(?!\d)"  # Springfield, IL 62701
)
_CODE = re.compile(r"^\W*[\w/-]*\d[\w/-]*\W*$")
_SUFFIX = re.compile(
    r"\s*(?:\(\s*(?:co\.?\s*(?:reg)?\.?\s*(?:no)?\.?\s*:?\s*)?[a-z]{0,3}\d[\d\s/-]*[a-z]?\s*\)|(?<!\w)\d{4,}-[a-z])\s*$",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_GAP = re.compile(r" {3,}|\t+|\s*\|\s*")
_MONEY_AT_END = re.compile(r"(?:^|[ .$€£])\d[\d,.']*[.,]\d\d(?: ?\w{1,3})?$")
_DATED = re.compile(r"^\W*(?:\w+,? )?\d{1,2}(?:st|nd|rd|th|\.)? [^\W\d_]{3,9}\.? \d{4}\W*$")
_HOUSE = re.compile(r",\s+(?=\d+[a-z]?[ ,])")
_SIGNED = re.compile(
    r"(?:best wishes|(?:kind|best|warm)(?:est)? regards|yours (?:sincerely|faithfully|truly)|sincerely(?: yours)?"
    r"|mit freundlichen grüßen|freundliche grüsse|cordialement)[,.]?\s+([^\W\d_][^\n(,;:]{3,60})",
    re.IGNORECASE,
)
_TOWN = re.compile(r"(?:(?<![\w-])[A-Z]{1,2}[- ])?(?<![\w-])(\d{4,6})[, ]{1,3}([^\W\d_][^\d\n,;|]{1,40})")
_TOWN_ZIP = re.compile(r"([^\W\d_][^\d\n,;|]{1,40}),\s*([A-Z]{2})\s+(\d{5}(?:-\d{4})?)")


def _top(page: Page, count: int) -> list[str]:
    """Return the first lines, none of them longer than a line of a letter is."""
    return [line[:_WIDTH] for line in page.lines[:count]]


def company(page: Page) -> str | None:
    """Return the issuer: the line with a legal form, else one that names a trade, else the first that can be a name.

    A letterhead ends where the address, the telephone number or the tax number begins, so what stands below is not the
    issuer, even if it has a legal form: it is the customer.
    """
    head = _head(page)
    best: tuple[int, int] | None = None
    for position, line in enumerate(head):
        lower = line.lower()
        score = 60 if _legal(lower) else 40 if _TRADE.intersection(_WORD.findall(lower)) or "&" in lower else 20
        score -= 3 * position
        if best is None or score > best[0]:
            best = score, position
    if best is None:
        return _anywhere(page) or _signature(page)
    position = best[1]
    name = head[position]
    if position and (_is_rest(name) or head[position - 1].rstrip().endswith(("&", "-", "(", ","))):
        name = f"{head[position - 1].strip()} {name.strip()}"
        if position > 1 and _is_rest(name, words=5) and "(" in head[position - 1]:
            name = f"{head[position - 2].strip()} {name}"
    return _clean(name)


def _is_rest(name: str, words: int = 2) -> bool:
    """Whether a line is only the end of a name: a legal form and hardly more, or a bracket that was opened above."""
    lower = name.lower()
    if name.count(")") > name.count("("):
        return True
    return _legal(lower) and len(lower.split()) <= words


def _head(page: Page) -> list[str]:
    """Return the lines above the first address, telephone or registration number, without titles and numbers."""
    head: list[str] = []
    for line in _top(page, 2 * _TOP):
        if len(head) >= _TOP or (_WORD.search(line) and _MONEY_AT_END.search(line.rstrip(" |"))):
            break
        for position, cell in enumerate(_GAP.split(line.strip(" |\t"))):
            verdict = _verdict(cell)
            if verdict == "name":
                head.append(cell.strip())
            elif verdict == "end" or (verdict == "below" and head):
                if position == 0 or not head:
                    return head
                break
    return head


def _verdict(cell: str) -> str:
    """Say what a part of a letterhead is: a ``name``, its ``end``, what stands ``below`` it, or to be ``skipped``."""
    lower = cell.strip().lower()
    if not sum(letter.isalpha() for letter in lower) > 2 or _TITLE.match(lower) or _CODE.match(lower):
        return "skipped"
    if is_title(cell) or (lower[-1:] in (".", "!") and names_kind(lower)) or _DATED.match(lower) or is_prose(cell):
        return "skipped"
    if _is_contact(lower) or (looks_like_address(lower) and not _HOUSE.search(lower)):
        return "end"
    return "below" if _REGISTRATION.search(lower) or ":" in lower or _stops(lower) else "name"


def is_prose(line: str) -> bool:
    """Whether a line is a sentence or a part of one, not a name."""
    words = line.split()
    small = sum(word[0].islower() for word in words)
    return len(words) >= 6 and (small >= 4 or (small >= 2 and line.rstrip(" )\"'")[-1:] in (".", "!", "?", ",")))


def _signature(page: Page) -> str | None:
    """Return who signed a letter that has no letterhead."""
    match = _SIGNED.search(page.text)
    return match[1].strip(" .") if match else None


def _anywhere(page: Page) -> str | None:
    """Return the first line near the top that has a legal form, wherever it stands."""
    for line in _top(page, 3 * _TOP):
        if len(line) < 100 and ":" not in line and _legal(line.lower()):
            return _clean(line)
    return None


def _clean(name: str) -> str | None:
    name = _HOUSE.split(_SUFFIX.sub("", name.strip()), maxsplit=1)[0].strip(" *-=_|:,")
    return name[:150] or None


def _legal(lower: str) -> bool:
    """Whether a line has a legal form: "Sdn. Bhd.", "GmbH", "S.A."."""
    return not _LEGAL.isdisjoint(_WORD.findall(lower.replace(".", "")))


def _is_contact(lower: str) -> bool:
    return "@" in lower or "http" in lower or not _CONTACT.isdisjoint(_WORD.findall(lower))


def _stops(lower: str) -> bool:
    """Whether a line begins with a word that belongs below a letterhead."""
    first = _WORD.search(lower)
    return first is not None and first[0] in _STOP


def looks_like_address(line: str) -> bool:
    """Whether a line has a street, a house number or a postcode."""
    lower = line.lower()
    has_digit = _DIGIT.search(lower) is not None
    if not has_digit and ("," not in lower or _legal(lower)):
        return False
    words = _WORD.findall(lower)
    if not _STREET.isdisjoint(words) or (has_digit and _NUMBERED.match(lower)):
        return True
    return has_digit and (any(word.endswith(_COMPOUND_STREET) for word in words) or bool(_POSTCODE.search(lower)))


def address(page: Page, *, name: str | None = None) -> str | None:
    """Return the first address: neighbouring lines that look like one, joined by a space as they are printed.

    Args:
        page: The document, or the part of it that is about one party.
        name: That party's name; its line is not part of the address. None when it is not known.
    """
    lines = address_lines(page, name=name)
    return " ".join(lines) if lines else None


def address_lines(page: Page, *, name: str | None = None) -> list[str]:
    """Return the lines of the first address; see `address`."""
    found: list[str] = []
    for line in _top(page, 3 * _TOP):
        text = line.strip()
        lower = text.lower()
        if not text or (name and name in text):
            if found:
                break
            continue
        over = _is_contact(lower) or _REGISTRATION.search(lower) or _TITLE.match(lower) or _stops(lower)
        if over or (found and _CODE.match(lower) and not re.fullmatch(r"\W*\d{4,6}\W*", lower)):
            if found:
                break
            continue
        if (looks_like_address(lower) and not _SUFFIX.fullmatch(" " + text)) or (
            found and _continues(found[-1], lower)
        ):
            found.append(text)
        elif found:
            break
        if len(found) == 6:
            break
    return found


def _continues(before: str, lower: str) -> bool:
    """Whether a line without street or postcode continues the address above it: a comma is open, or it is a place."""
    if ":" in lower or len(lower) > 60 or "(" in lower:
        return False
    return before.endswith(",") or bool(
        re.fullmatch(r"[^\W\d_][^\d]*[.,]?", lower) and len(lower.split()) <= 3 and before[-1] != "."
    )


def part_of_address(page: Page, what: str) -> str | None:
    """Return the ``postcode``, ``city``, ``state`` or ``street`` of the first address; None if it is not told apart."""
    for line in _top(page, 3 * _TOP):
        western = _TOWN_ZIP.search(line)
        if western is not None:
            town = {"city": western[1].split(",")[-1].strip(), "state": western[2], "postcode": western[3]}
        else:
            match = _TOWN.search(line)
            town = {"postcode": match[1], "city": match[2].strip(" .,")} if match else {}
        if what in town:
            return town[what]
        if what == "street" and not town and looks_like_address(line) and _DIGIT.search(line):
            return line.rpartition(":")[2].strip(" ,")
    return None
