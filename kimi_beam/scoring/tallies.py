"""`Tally`: adds up the scores of documents, in any order and in any parts, to one `Evaluation`."""

from __future__ import annotations

from collections import Counter

from kimi_beam.scoring.compared_places import Place
from kimi_beam.scoring.document_scores import DocumentScore, KindCounts
from kimi_beam.scoring.evaluation import Evaluation, MeanAccuracy, WorstDocument
from kimi_beam.scoring.field_scores import FieldScore
from kimi_beam.scoring.leaf_verdicts import ERRORS, Kind

WORST = 10
"""How many of the worst documents are named."""
_FINE = 1 << 60
"""Means are added up as integers of this fineness, since a sum of floats depends on their order."""
_ERRORS = tuple(kind for kinds in ERRORS.values() for kind in kinds)


class Tally:
    """The sums over scored documents. Two tallies of different documents merge to that of all of them.

    Nothing depends on the order in which documents are added or tallies merged, so that it is a Beam accumulator.
    """

    def __init__(self) -> None:
        self.documents = 0
        self._exact = 0
        self._accuracy = self._accuracy_with_nulls = 0
        self._outcomes: Counter[str] = Counter()
        self._counts: dict[str, KindCounts] = {}
        self._inexact: Counter[str] = Counter()
        self._worst: list[WorstDocument] = []
        self._confusions: Counter[tuple[str, str, str]] = Counter()
        self._swaps: Counter[tuple[str, str]] = Counter()
        self._groups: dict[str, Tally] = {}

    def add(self, score: DocumentScore) -> None:
        """Adds one document."""
        self._add(score)
        if score.group is not None:
            self._groups.setdefault(score.group, Tally())._add(score)

    def _add(self, score: DocumentScore) -> None:
        self.documents += 1
        self._outcomes[score.outcome] += 1
        whole = [0] * len(Kind)
        for name, counts in score.counts.items():
            _add_to(self._counts, name, counts)
            _increase(whole, counts)
            if score.is_answered and any(counts[kind] for kind in _ERRORS):
                self._inexact[name] += 1
        is_exact = score.is_answered and not any(whole[kind] for kind in _ERRORS)
        self._exact += is_exact
        total = FieldScore.of(whole, exact=int(is_exact), documents=1)
        nothing = 1.0 if is_exact else 0.0  # of a document without any value on either side
        self._accuracy += int((nothing if total.accuracy is None else total.accuracy) * _FINE)
        with_nulls = total.accuracy_with_nulls if score.is_answered else 0.0
        self._accuracy_with_nulls += int((nothing if with_nulls is None else with_nulls) * _FINE)
        if not is_exact:
            f1 = 0.0 if total.f1 is None else total.f1
            self._worst = sorted([*self._worst, WorstDocument(f1, score.document_id, score.outcome, total)])[:WORST]
        self._confusions.update(score.confusions)
        self._swaps.update(score.swaps)

    def merge(self, other: Tally) -> None:
        """Adds the documents of another tally, which is not changed."""
        self.documents += other.documents
        self._exact += other._exact
        self._accuracy += other._accuracy
        self._accuracy_with_nulls += other._accuracy_with_nulls
        self._outcomes.update(other._outcomes)
        for name, counts in other._counts.items():
            _add_to(self._counts, name, counts)
        self._inexact.update(other._inexact)
        self._worst = sorted([*self._worst, *other._worst])[:WORST]
        self._confusions.update(other._confusions)
        self._swaps.update(other._swaps)
        for name, group in other._groups.items():
            self._groups.setdefault(name, Tally()).merge(group)

    def evaluation(self, root: Place) -> Evaluation:
        """What the tally amounts to.

        Args:
            root: The places of the schema, which say the order of the fields.
        """
        rank = {name: index for index, name in enumerate(root.leaves)}
        answered = self._outcomes["row"]
        fields, whole = dict[str, FieldScore](), [0] * len(Kind)
        for name in sorted(self._counts, key=lambda name: (rank.get(name, len(rank)), name)):
            counts = self._counts[name]
            _increase(whole, counts)
            if any(counts[: Kind.NEARLY_PAIRED]):
                exact = answered - self._inexact[name]
                fields[name] = FieldScore.of(counts, exact=exact, documents=self.documents)
        return Evaluation(
            documents=self.documents,
            outcomes=dict(sorted(self._outcomes.items())),
            fields=fields,
            overall=FieldScore.of(whole, exact=self._exact, documents=self.documents),
            mean_accuracy=MeanAccuracy(
                *(part / _FINE / max(1, self.documents) for part in (self._accuracy, self._accuracy_with_nulls))
            ),
            nearly_paired=whole[Kind.NEARLY_PAIRED],
            worst=tuple(self._worst),
            confusions=dict(sorted(self._confusions.items(), key=lambda one: (-one[1], one[0]))),
            swaps=dict(sorted(self._swaps.items(), key=lambda one: (-one[1], one[0]))),
            groups={name: self._groups[name].evaluation(root) for name in sorted(self._groups)},
        )


def _add_to(sums: dict[str, KindCounts], name: str, counts: KindCounts) -> None:
    if name in sums:
        _increase(sums[name], counts)
    else:
        sums[name] = list(counts)


def _increase(sums: KindCounts, counts: KindCounts) -> None:
    for index, count in enumerate(counts):
        sums[index] += count
