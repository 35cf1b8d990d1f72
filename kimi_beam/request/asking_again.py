"""Decides which answers go back to the model with what is wrong with them, and what becomes of the next answer.

Each time is a round of its own, so that the journal knows its answer as it knows the first one. What was spent so far
travels with the document (`Earlier.refused`), and is added to what its last reply has cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from kimi_beam.columnar import Replies
from kimi_beam.request.prompt import Prompt
from kimi_beam.results.answer_codes import has_answer
from kimi_beam.results.answer_text import parse
from kimi_beam.results.judging import Instance, judge, judge_part, unmasked
from kimi_beam.results.repaired_values import differences, with_refused_from
from kimi_beam.results.restored_replies import restored_replies
from kimi_beam.schema import OutputSchema, Violation, jsontext
from kimi_beam.types.answer import AnswerReport, Completion, Repair, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.earlier_runs import RefusedAnswer
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply

_CODES = frozenset({"not_json", "truncated", "schema_violation", "empty_answer", "answer_in_reasoning"})
"""Answers that the model may give better. It has declined the others, or the service has."""
_MOST_PROBLEMS = 10
_MOST_DIFFERENCES = 1_000


class SettledReplies(NamedTuple):
    """Replies, some of which are of documents that were asked for again."""

    replies: Replies
    """All but those of documents that are asked for once more."""
    asked: list[Document]
    """The documents that are asked for once more."""
    final: Set[int]
    """The indices of replies that are settled, whatever they are."""


class AskingAgain:
    """Asks again for the documents whose answers are refused, so many times each.

    Args:
        prompt: How whole documents are asked for.
        times: How often a document is asked for again, at most.
        coerce: `kimi_beam.results.judging.judge`.
    """

    def __init__(self, prompt: Prompt, times: int, *, coerce: bool) -> None:
        self._prompt, self._times, self._coerce = prompt, times, coerce

    def schema_of(self, document: Document) -> OutputSchema:
        """The schema by which the answer for a document, or for a part of one, is judged."""
        schema = self._prompt.schema
        return schema if document.part is None else schema.for_parts

    def settle(self, replies: Replies) -> SettledReplies:
        """Settles the documents among replies that were asked for again, or asks for them once more."""
        others = replies.documents.others
        places = {index for index, document in others.items() if document.earlier.refused is not None}
        if not places:
            return SettledReplies(replies, [], frozenset())
        kept, asked, final = list[Reply](), list[Document](), set[int]()
        for index, reply in enumerate(replies):
            if index in places:
                verdict = self.judged(reply)
                question = self.question(reply, verdict) if isinstance(verdict, Failure) else None
                if question is not None:
                    asked.append(question)
                    continue
                final.add(len(kept))
                reply = self.final(reply)
            kept.append(reply)
        return SettledReplies(Replies.of(kept), asked, final)

    def judged(self, reply: Reply) -> Instance | Failure:
        """The answer for a document, or for a part of one, if it is valid, or else why it is refused."""
        if isinstance(reply.result, Failure):
            return reply.result
        text, schema = unmasked(reply.result.text, reply.document), self.schema_of(reply.document)
        shown = (judge if reply.document.part is None else judge_part)(text, schema, coerce=self._coerce)
        if reply.document.redacted is None:
            return shown
        # Whether it is valid is seen with the redacted values; what the model is told is seen without them.
        whole = restored_replies(Replies.of([reply])).results
        restored = whole.failures[0] if whole.texts[0] is None else judge(whole.texts[0], schema, coerce=self._coerce)
        if isinstance(restored, Failure) is isinstance(shown, Failure):
            return shown
        if isinstance(restored, Failure):
            return Failure("validate", "redacted_value", "it is invalid with the redacted values", raw=text)
        return restored

    def question(self, reply: Reply, failure: Failure) -> Document | None:
        """The document as it is asked for again; None if it is not.

        Args:
            reply: The last reply, as it came.
            failure: Why its answer is refused.
        """
        before = reply.document.earlier.refused
        times = before.times if before is not None else 0
        if times >= self._times or not self.may_help(failure):
            return None
        usage, attempts = (before.usage, before.attempts) if before is not None else (Usage(), 0)
        refused = RefusedAnswer(
            failure,
            tuple(self._problems(failure, self.schema_of(reply.document))),
            times + 1,
            usage + reply.usage,
            attempts + reply.ticket.attempts,
        )
        earlier = reply.document.earlier
        again = replace(earlier, round=earlier.round + 1, open=None, parts=(), refused=refused)
        return reply.document.with_earlier(again)

    def may_help(self, failure: Failure) -> bool:
        """Whether the model may answer better. At the user's own limit the answer would be cut off again."""
        if not self._times:
            return False
        if failure.code == "truncated" and failure.stage == "infer":
            return self._prompt.max_completion_tokens is None
        return failure.code in _CODES

    @staticmethod
    def _problems(failure: Failure, schema: OutputSchema) -> Iterator[tuple[str, str]]:
        violations = []
        if failure.code == "schema_violation":
            violations = list(islice(_violations(parse(failure.raw or "").value, schema), _MOST_PROBLEMS))
        yield from ((one.path, f"{one.message} ({one.keyword})") for one in violations)
        if not violations:
            yield "", failure.message

    def final(self, reply: Reply) -> Reply:
        """The final reply of a document, with all that was spent if it was asked for again.

        Args:
            reply: The last reply.
        """
        earlier = reply.document.earlier
        refused = earlier.refused
        if refused is None:
            return reply
        ticket = replace(reply.ticket, attempts=reply.ticket.attempts + refused.attempts)
        document = reply.document.with_earlier(replace(earlier, refused=None))
        reply = replace(reply, document=document, usage=reply.usage + refused.usage, ticket=ticket)
        verdict = self.judged(reply)
        if isinstance(verdict, Instance):
            return _repaired(reply, verdict, refused, self.schema_of(document))
        if has_answer(verdict):
            before = refused.failure.message
            told = "" if before == verdict.message else f"; before: {before}"
            return replace(reply, result=_after(verdict, refused, told))
        why = f"; and then: {verdict.message}"
        if reply.open is not None:  # its answer may still be fetched, by the round that it was asked for in
            return replace(reply, result=replace(verdict, raw=refused.failure.raw))
        document = document.with_earlier(replace(document.earlier, round=earlier.round - 1))
        return replace(reply, document=document, result=_after(refused.failure, refused, why))


def _violations(instance: Any, schema: OutputSchema) -> list[Violation]:
    """What is wrong with a refused answer. That it states null where it was asked to is not."""
    return schema.validate(schema.without_sent_nulls(instance)[0])


def _after(failure: Failure, refused: RefusedAnswer, why: str) -> Failure:
    times = "once" if refused.times == 1 else f"{refused.times} times"
    return replace(failure, message=f"{failure.message} (asked again {times}{why})")


def _repaired(reply: Reply, instance: Instance, refused: RefusedAnswer, schema: OutputSchema) -> Reply:
    """The reply with the valid answer: the first one with its refused values replaced, else the second one."""
    answer, repairs = reply.result, [Repair("asked_again", None, refused.times)]
    assert isinstance(answer, Completion)
    if refused.failure.code == "schema_violation":
        first, second = parse(refused.failure.raw or "").value, parse(unmasked(answer.text, reply.document)).value
        keywords: dict[str, set[str]] = {}
        for violation in _violations(first, schema):
            keywords.setdefault(violation.path, set()).add(violation.keyword)
        mixed = with_refused_from(first, second, keywords)
        text = jsontext.dumps(mixed).decode()
        if isinstance(judge(text, schema), Failure):
            kept = second if schema.has_class else instance.value
        else:
            kept = mixed
            answer = answer if jsontext.same(mixed, second) else replace(answer, text=text)
        changed = islice(differences(first, kept), _MOST_DIFFERENCES)
        repairs += [Repair("asked_again", at) for at in changed]
    return replace(reply, result=answer, report=AnswerReport(repairs=tuple(repairs)))
