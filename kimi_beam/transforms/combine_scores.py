"""`CombineScores`: the score of a pipeline's answers against gold, as a Beam ``CombineFn``."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam

from kimi_beam.beam_extensions.element_types import wrong_element
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.scoring.compared_places import Place, places_of
from kimi_beam.scoring.document_scores import AnswerAndGold, score
from kimi_beam.scoring.evaluation import Evaluation
from kimi_beam.scoring.tallies import Tally


@beam.typehints.with_input_types(AnswerAndGold)
@beam.typehints.with_output_types(Evaluation)
class CombineScores(beam.CombineFn):
    """Scores documents against their gold, and adds the scores up to one `Evaluation`.

    ``CombineGlobally``: ``PCollection[AnswerAndGold] -> PCollection[Evaluation]``; ``CombinePerKey`` gives one for each
    key. The result is the same in whatever bundles and order the documents come.

    Example:
        >>> right = kb.AnswerAndGold("a", {"total": 9}, {"total": 9})
        >>> missing = kb.AnswerAndGold("b", {"total": 8}, outcome="missing")
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | beam.Create([right, missing])
        ...     found = documents | beam.CombineGlobally(kb.CombineScores("receipt.json"))
        ...     _ = found | beam.Map(lambda one: print(one.documents, one.overall.recall))
        2 0.5

    Args:
        schema: The schema of the answers, which says when values are the same.

    Raises:
        InputError: In the running pipeline: a document's gold cannot be read.
        ElementTypeError: When it is applied to other elements.
    """

    def __init__(self, schema: SchemaSource) -> None:
        super().__init__()
        self._schema = OutputSchema(schema)
        self._root: Place | None = None

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, accumulator: Tally, document: AnswerAndGold) -> Tally:
        if not isinstance(document, AnswerAndGold):
            raise wrong_element("CombineScores", document, AnswerAndGold)
        accumulator.add(score(document, self._places))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        merged = Tally()
        for one in accumulators:
            merged.merge(one)
        return merged

    def extract_output(self, accumulator: Tally) -> Evaluation:
        return accumulator.evaluation(self._places)

    @property
    def _places(self) -> Place:
        if self._root is None:
            self._root = places_of(self._schema)
        return self._root

    def __getstate__(self) -> dict[str, object]:
        """Without the places, which are made again where they are used."""
        return {**self.__dict__, "_root": None}
