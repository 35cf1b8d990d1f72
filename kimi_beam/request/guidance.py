"""What a user may tell the model beside the instructions: examples, the meanings of terms, and a language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kimi_beam.errors import ConfigError
from kimi_beam.schema import OutputSchema, jsontext

_LONGEST_LANGUAGE = 60
_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Example:
    """A document's text and its right answer, which the model is shown before every document.

    Example:
        >>> kb.Example("TOTAL 24.80", {"total": 24.8}).answer["total"]
        24.8

    Attributes:
        text: The text of a document, as the model would be shown it.
        answer: Its answer, a JSON value that is valid by the schema.
    """

    text: str
    answer: Any


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the model is told beside the instructions, the same for all documents of a run.

    Attributes:
        examples: Documents with their right answers.
        glossary: Terms with their meanings.
        language: The language of the documents, as a name or a tag (``de-CH``). None: nothing is said of it.
        has_stand_ins: Whether documents hold stand-ins in the places of redacted values.
    """

    examples: tuple[Example, ...] = ()
    glossary: tuple[tuple[str, str], ...] = ()
    language: str | None = None
    has_stand_ins: bool = False

    @classmethod
    def of(
        cls, examples: Iterable[Example] = (), glossary: Mapping[str, str] | None = None, language: str | None = None
    ) -> Guidance:
        """Takes what a user gives.

        Raises:
            ConfigError: A value has another type, or is no text that could be sent.
        """
        listed = tuple(examples)
        for number, example in enumerate(listed, 1):
            if not isinstance(example, Example) or not isinstance(example.text, str):
                raise ConfigError(f"examples: number {number} is no kimi_beam.Example with a text and an answer")
            if not example.text.strip():
                raise ConfigError(f"examples: the text of number {number} is empty")
            _check_text("examples", example.text)
        pairs = tuple((glossary or {}).items())
        for term, meaning in pairs:
            if not isinstance(term, str) or not isinstance(meaning, str) or not term.strip() or not meaning.strip():
                raise ConfigError(f"glossary: {term!r:.60} and its meaning must be texts that are not empty")
            _check_text("glossary", term + meaning)
        if language is not None and not _is_language(language):
            raise ConfigError(f"language: {language!r:.80} is no name of a language, such as German or de-CH")
        return cls(listed, pairs, language)

    def check_examples(self, schema: OutputSchema) -> None:
        """Checks that each example's answer is one that the schema allows.

        Raises:
            ConfigError: An answer is invalid, or no JSON value.
        """
        for number, example in enumerate(self.examples, 1):
            try:
                answer = jsontext.loads(jsontext.dumps(example.answer))
            except (TypeError, ValueError, RecursionError) as e:
                raise ConfigError(f"examples: the answer of number {number} is no JSON value: {e}") from None
            if schema.is_valid(answer) or schema.is_valid(schema.without_sent_nulls(answer)[0]):
                continue
            raise ConfigError(f"examples: the answer of number {number} is invalid: {schema.explain(answer)}")


def as_sent(answer: Any, sent: Any, depth: int = _DEPTH) -> Any:
    """An answer as the model is asked to give it: with null for each member that it lacks, in the schema's order.

    Args:
        answer: A valid answer.
        sent: The schema as it is sent, in which all members are required and optional ones may be null.
        depth: How many more levels are completed.
    """
    if not isinstance(sent, Mapping) or depth == 0:
        return answer
    branches = [sent, *(sent.get("anyOf") or ())]
    if isinstance(answer, Mapping):
        members: Mapping[str, Any] = next(
            (one["properties"] for one in branches if isinstance(one.get("properties"), Mapping)), {}
        )
        named = {name: as_sent(answer.get(name), inner, depth - 1) for name, inner in members.items()}
        return {**named, **{name: value for name, value in answer.items() if name not in members}}
    if isinstance(answer, (list, tuple)):
        items = next((one["items"] for one in branches if "items" in one), None)
        return [as_sent(one, items, depth - 1) for one in answer]
    return answer


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{name}: half a surrogate pair, which is no text") from None


def _is_language(language: object) -> bool:
    return (
        isinstance(language, str)
        and bool(language.strip())
        and len(language) <= _LONGEST_LANGUAGE
        and language.isprintable()
        and "`" not in language
    )


NO_GUIDANCE = Guidance()
"""The user says nothing beside the instructions."""
