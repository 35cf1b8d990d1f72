"""What kind of document it is: the words for each kind, where they stand, and the habits of tills, bills and deeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from kimi_beam.emulator.rules.lexicon import words
from kimi_beam.emulator.rules.page import Page

# Words for a kind, the longest first where one begins another. After "~" stand ends of compounds, as German has them;
# "?" marks a word that means the kind only in a title or as a label.
_KINDS: Final[dict[str, str]] = {
    "credit note": "credit note, credit memo, note de crédit, avoir?, ~gutschrift, ~stornorechnung, nota de crédito",
    "quotation": "quotation, quote?, estimate?, ~angebot, offerte, devis, ~kostenvoranschlag, offer?",
    "order": "purchase order, sales order, order confirmation, bon de commande, ~bestellung, ~auftragsbestätigung",
    "delivery": "delivery note, delivery order, packing list, packing slip, bon de livraison, ~lieferschein",
    "statement": "statement of account, account statement, bank statement, relevé de compte, ~kontoauszug",
    "reminder": "payment reminder, dunning letter, reminder?, ~mahnung, lettre de rappel",
    "receipt": "receipt, cash bill, cash sales, cash sale, till slip, sales slip, proof of payment, ~quittung,"
    " ~kassenbon, ~kassenzettel, ~zahlungsbeleg, bon?, billett?, reçu?, recu?, ticket de caisse, ticket?, resit,"
    " ricevuta, recibo, scontrino, kvitto, folio?, check?",
    "invoice": "invoice, ~rechnung, ~honorarnote, note d'honoraires, facture, faktura, ~factuur, fattura, factura,"
    " memoire d'honoraires, bill?",
    "contract": "agreement, contract, ~vertrag, ~vereinbarung, contrat, convention?, accord?,"
    " memorandum of understanding, non disclosure, nda?, lease, deed?, tenancy?, licence?, license?, loan?, perjanjian,"
    " contratto, contrato, overeenkomst, ~avtal",
}
# Signs of each kind that need no word for it: what is printed when money has changed hands, is asked for, or is agreed.
_SIGNS: Final[dict[str, str]] = {
    "receipt": r"(?:cash|bar|espèces|tunai|gegeben)\b[^\n\d]{0,60}\d|change\b[^\n\d]{0,60}\d|rückgeld|rendu\b|baki\b"
    r"|(?:card|visa|mastercard|kreditkarte|girocard)\b[^\n\d*]{0,60}[\d*]|carte (?:bancaire|accept)"
    r"|(?:paid|received) with (?:thanks|cash|card)|(?:bar|dankend|betrag) (?:bezahlt|erhalten)|payé\b|paid by"
    r"|cashier|till \d|kasse \d|kassierer|caisse \d|served by|bediente|table ?:? ?\d"
    r"|thank you|terima kasih|merci de votre visite|vielen dank für ihren",
    "invoice": r"due date|payment due|due on|payable within|payable on|pay within|please pay|zahlbar|fällig"
    r"|überweisen sie|bill(?:ed)? to|sold to|invoice to|échéance|à régler|règlement (?:à|sous)|iban\b",
    "contract": r"hereby|whereas|hereinafter|nachfolgend|ci-après|\(the [\"“„«]|\([\"“„«]|the parties"
    r"|les parties|die parteien"
    r"|agreed and signed|in witness|shall not|governed by|soussigné|il a été convenu|vertragspart|kündig"
    r"|lends?\b|borrows?\b|§ ?1\b|article 1\b",
}
_NAMES: Final[dict[str, str]] = {}
_WEAK: Final[set[str]] = set()
_COMPOUND: Final[set[str]] = set()
for _kind, _table in _KINDS.items():
    for _entry in map(str.strip, _table.split(",")):
        _phrase = _entry.strip("~?")
        _NAMES[_phrase] = _kind
        if "?" in _entry:
            _WEAK.add(_phrase)
        if "~" in _entry:
            _COMPOUND.add(_phrase)
# Nothing but words, so that the engine skips to letters that can begin one; what stands beside them is looked at later.
_WORD_FOR = re.compile("|".join(re.escape(n).replace(r"\ ", "[ _-]") for n in sorted(_NAMES, key=len, reverse=True)))
_ORDER: Final = tuple(_KINDS)
_SIGN = {kind: re.compile(rf"(?<![^\W_])(?:{pattern})") for kind, pattern in _SIGNS.items()}
_ENDING = re.compile(r"(?:en|er|e|s|n)?(?![^\W\d_])")
_CELL = re.compile(r" {2,}|\t|\|")
_BESIDE = re.compile(
    r"\b(?:tax|vat|gst|sales|simplified|commercial|pro ?forma|original|copy|duplicate|official|cash|payment|this is an?"
    r"|customer|e|no|nr|num|number|numéro|nummer|n|id|date|of|the|and|und|et|type|doctype"
    r"|from|von|vom|du|our|your|my|for|über)\b"
    r"|[^\W_]*\d[\w./-]*|[\W_]+"
)
_NUMBERED = re.compile(
    r"[ _-]?(?:no|nr|num|number|n°|nº|id|date)?\b[ .]*[:#=°]|[ _.-]?(?:no|nr|number|n°|date)\b|[ ]+\d"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_MARKS = re.compile(r"[:,]")
_FIRST: Final = 20_000  # characters that are looked at
_MOST: Final = 300  # words for kinds that are looked at
_TOP: Final = 16  # lines in which a title is expected


@dataclass
class _Score:
    best: int = 0
    count: int = 0


@dataclass(frozen=True)
class _Word:
    """A word for a kind of document, where it stands in a text."""

    start: int
    end: int
    kind: str
    weak: bool


def kind_named(value: object) -> str | None:
    """Return the kind of document that a member of an enumeration names, None when it is no such word."""
    if not isinstance(value, str):
        return None
    own = words(value)
    for name in (" ".join(own), " ".join(own[-2:]), own[-1] if own else ""):
        if name in _NAMES:
            return _NAMES[name]
    return None


def kind_of(page: Page, among: Sequence[str]) -> str | None:
    """Return the kind of a document, one of some; None when nothing says so."""
    scores = {kind: score.best + 3 * min(score.count, 6) for kind, score in _named(page).items() if kind in among}
    lower = page.lower[:_FIRST]
    signs = {kind: len({m[0][:6] for m in _SIGN[kind].finditer(lower)}) for kind in among if kind in _SIGN}
    if not scores:
        if not signs:
            return None
        best = max(signs, key=lambda kind: signs[kind])
        return best if signs[best] >= 2 else None
    if signs.get("receipt", 0) >= 3:  # whatever it is called, money has changed hands
        scores["receipt"] = max(scores.get("receipt", 0), 80)
    for kind in scores:
        scores[kind] += 8 * min(signs.get(kind, 0), 5)
    return max(scores, key=lambda kind: scores[kind])


def is_title(line: str) -> bool:
    """Whether a line says what kind of document this is, and nothing else but perhaps its number or date."""
    lower = line.lower()
    found = list(_words_for(lower))
    if not found:
        return False
    rest = _beside(lower, found)
    return not rest or (len(rest) <= 3 and line.isupper() and not lower[found[0].end :].strip(" *-=_"))


def names_kind(lower: str) -> bool:
    """Whether a text has a word for any kind of document."""
    return next(_words_for(lower), None) is not None


def is_contract(page: Page) -> bool:
    """Whether a document calls itself a contract, or is worded like one."""
    return kind_of(page, _ORDER) == "contract"


def _words_for(lower: str) -> Iterator[_Word]:
    """Yield the words for kinds of documents: whole words, or the ends of compounds."""
    for match in _WORD_FOR.finditer(lower):
        name = match[0].replace("_", " ").replace("-", " ")
        start = match.start()
        if start and lower[start - 1].isalnum() and name not in _COMPOUND:
            continue
        ending = _ENDING.match(lower, match.end())
        if ending is not None:
            yield _Word(start, ending.end(), _NAMES[name], name in _WEAK)


def _beside(lower: str, found: Sequence[_Word]) -> list[str]:
    """Return the words of a line that are neither for a kind nor usual beside one: "tax", "no.", numbers."""
    for word in reversed(found):
        start = word.start
        while start and lower[start - 1].isalpha():
            start -= 1
        lower = f"{lower[:start]} {lower[word.end :]}"
    return _BESIDE.sub(" ", lower).split()


def _named(page: Page) -> dict[str, _Score]:
    """Score the words for kinds by where they stand: as a title, as a label of a number, or somewhere."""
    found: dict[str, _Score] = {}
    rank = {number: rank for rank, number in enumerate(n for n, line in enumerate(page.lines) if line.strip())}
    for word in islice(_words_for(page.lower[:_FIRST]), _MOST):
        row = page.line_of(word.start)
        points = _points(page, row, rank.get(row, 99), word.start, word.end)
        if word.weak and points < 40:
            continue
        score = found.setdefault(word.kind, _Score())
        score.best = max(score.best, points)
        score.count += not word.weak
    return found


def _points(page: Page, row: int, rank: int, start: int, end: int) -> int:
    begin = page.starts[row]
    line = page.lines[row]
    left = max((m.end() for m in _CELL.finditer(line, 0, start - begin)), default=0)
    gap = _CELL.search(line, end - begin)
    cell = line[left : gap.start() if gap else None][:200]
    before = line[left : start - begin]
    after = page.lower[end : begin + (gap.start() if gap else len(line))]
    rest = _beside(cell.lower(), list(_words_for(cell.lower())))
    late = 4 * min(rank, _TOP)
    if not rest:
        return 100 - late
    first = not before.strip(" *#>\"'")
    last = not after.strip(" *:.#")
    sentence = cell.rstrip().endswith((".", ",")) or len(rest) > 6
    titled = cell.isupper() or all(word[0].isupper() or len(word) < 4 for word in _LETTERS.findall(before))
    if rank < 6 and not sentence and titled and (last or cell.isupper() or (first and not _MARKS.search(cell))):
        return 90 - late
    if _NUMBERED.match(after) and (first or ("/" in before and len(before) < 20)):
        return max(60 - rank, 30)
    if _NUMBERED.match(after) and len(before.split()) <= 3 and ":" not in after[:1]:
        return 45 if rank < _TOP else 20
    return 20 if rank < _TOP else 5
