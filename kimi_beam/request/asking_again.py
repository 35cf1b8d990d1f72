"""Decides which answers go back to the model with what is wrong with them, and what becomes of the next answer.

Each time is a round of its own, so that the journal knows its answer as it knows the first one. What was spent so far
travels with the document (`Earlier.refused`), and is added to what its last reply has cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from kimi_beam.columnar import Replies
from kimi_beam.request.kept_answers import (
    HAVE_VALUES,
    changed_places,
    kept_before,
    kept_reply,
    unmet_problems,
    violations,
)
from kimi_beam.request.prompt import Prompt
from kimi_beam.results.answer_codes import has_answer
from kimi_beam.results.answer_text import parse
from kimi_beam.results.judging import Instance, judge, judge_part, unmasked
from kimi_beam.results.restored_replies import restored_replies
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import AnswerReport, Completion, Repair, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.earlier_runs import RefusedAnswer
from kimi_beam.types.failure import Code, Failure
from kimi_beam.types.reply import Reply

_CODES = frozenset(
    {"not_json", "truncated", "schema_violation", "type_mismatch", "empty_answer", "answer_in_reasoning"}
)
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

    def settle(self, replies: Replies, readable: Callable[[Document], Document | None]) -> SettledReplies:
        """Settles the documents among replies that were asked for again, or asks for them once more.

        Args:
            replies: Some replies.
            readable: The document with its text; None if its file cannot be read again.
        """
        others = replies.documents.others
        places = {index for index, document in others.items() if document.earlier.refused is not None}
        if not places:
            return SettledReplies(replies, [], frozenset())
        kept, asked, final = list[Reply](), list[Document](), set[int]()
        for index, reply in enumerate(replies):
            if index in places:
                question = self._next_question(reply)
                question = None if question is None else readable(question)
                if question is not None:
                    asked.append(question)
                    continue
                final.add(len(kept))
                reply = self.final(reply)
            kept.append(reply)
        return SettledReplies(Replies.of(kept), asked, final)

    def _next_question(self, reply: Reply) -> Document | None:
        """The document of a reply as it is asked for once more; None if it is not.

        What counts is the best answer so far: with the right values of both, the next request may not be needed.
        """
        counting = self._counting(reply)
        verdict = self.judged(counting)
        if isinstance(verdict, Failure):
            return self.question(counting, verdict)
        return self.question_of_sums(counting)

    def _counting(self, reply: Reply) -> Reply:
        return kept_reply(reply, self.schema_of(reply.document), self.judged)

    def question_of_sums(self, reply: Reply) -> Document | None:
        """The document as it is asked for again because sums of its answer do not add up; None if it is not.

        Args:
            reply: Its last reply, with the valid answer that counts.
        """
        verdict, answer = self.judged(reply), reply.result
        if isinstance(verdict, Failure) or not isinstance(answer, Completion) or reply.document.part is not None:
            return None
        problems = list(unmet_problems(verdict.value, self._prompt.schema))
        if not problems:
            return None
        message, text = "; ".join(f"{at}: {problem}" for at, problem in problems), unmasked(answer.text, reply.document)
        failure = Failure("validate", "schema_violation", message, retryable=True, raw=text)
        return self.question(reply, failure, problems)

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

    def question(self, reply: Reply, failure: Failure, problems: Sequence[tuple[str, str]] = ()) -> Document | None:
        """The document as it is asked for again; None if it is not.

        Args:
            reply: The last reply, with the answer that counts.
            failure: Why its answer is refused.
            problems: What is wrong with a valid answer, each with a JSON Pointer; empty if it is invalid.
        """
        before = reply.document.earlier.refused
        times = before.times if before is not None else 0
        if times >= self._times or not self.may_help(failure, before.codes if before is not None else ()):
            return None
        usage, attempts = (before.usage, before.attempts) if before is not None else (Usage(), 0)
        kept, first = _kept(reply, failure, is_valid=bool(problems)), None
        if before is not None:
            first = before.first or kept_before(before)
            first = None if first in (failure.raw, kept and kept.text) else first
        refused = RefusedAnswer(
            failure,
            tuple(problems or self._problems(failure, self.schema_of(reply.document))),
            times + 1,
            usage + reply.usage,
            attempts + reply.ticket.attempts,
            before.codes if before is not None else (),
            kept,
            first,
        )
        earlier = reply.document.earlier
        again = replace(earlier, round=earlier.round + 1, open=None, parts=(), refused=refused)
        return reply.document.with_earlier(again)

    def may_help(self, failure: Failure, before: Sequence[Code] = ()) -> bool:
        """Whether the model may answer better.

        Args:
            failure: Why the last answer is refused.
            before: The codes of those before it.
        """
        if not self._times or failure.code not in _CODES:
            return False
        if failure.code == "truncated" and failure.stage == "infer":  # at the same limit it would be cut off again
            limits = [self._prompt.answer_limit_after((*before, *more)) for more in ((), ("truncated",))]
            return limits[0] < limits[1]
        # Without thinking nothing can get lost in it: a second time is another fault, and asking again no remedy.
        return failure.code != "answer_in_reasoning" or failure.code not in before

    @staticmethod
    def _problems(failure: Failure, schema: OutputSchema) -> Iterator[tuple[str, str]]:
        found = []
        if failure.code in HAVE_VALUES and failure.raw is not None:
            found = list(islice(violations(parse(failure.raw).value, schema), _MOST_PROBLEMS))
        yield from ((one.path, f"{one.message} ({one.keyword})") for one in found)
        if not found:
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
        counting = self._counting(reply)
        verdict = self.judged(counting)
        ticket = replace(reply.ticket, attempts=reply.ticket.attempts + refused.attempts)
        document = reply.document.with_earlier(replace(earlier, refused=None))
        spent = replace(reply, document=document, usage=reply.usage + refused.usage, ticket=ticket)
        if isinstance(verdict, Failure) and refused.kept is not None:
            counting = replace(spent, result=refused.kept, open=None)
            verdict = self.judged(counting)
        if isinstance(verdict, Instance):
            changed = islice(changed_places(refused, counting, verdict, self.schema_of(document)), _MOST_DIFFERENCES)
            repairs = (Repair("asked_again", None, refused.times), *(Repair("asked_again", at) for at in changed))
            return replace(spent, result=counting.result, report=AnswerReport(repairs=repairs), open=counting.open)
        verdict = self.judged(reply)
        assert isinstance(verdict, Failure), "a valid answer counts"
        if has_answer(verdict):
            return replace(spent, result=_after(verdict, refused, _told_before(refused, verdict)))
        if spent.open is not None:  # its answer may still be fetched, by the round that it was asked for in
            return replace(spent, result=replace(verdict, raw=refused.failure.raw))
        document = document.with_earlier(replace(document.earlier, round=document.earlier.round - 1))
        why = f"{_told_before(refused, refused.failure)}; and then: {verdict.message}"
        return replace(spent, document=document, result=_after(refused.failure, refused, why))


def _kept(reply: Reply, failure: Failure, *, is_valid: bool) -> Completion | None:
    """The answer whose right values stay, unless it is the last one and is refused itself."""
    if is_valid:
        return reply.result if isinstance(reply.result, Completion) else None
    before = reply.document.earlier.refused
    if failure.code in HAVE_VALUES or before is None or (text := kept_before(before)) is None:
        return None
    return before.kept or Completion(text, None, None, None)


def _told_before(refused: RefusedAnswer, failure: Failure) -> str:
    """What is said of the answers before the last one: their codes, and the message of the latest if it is another."""
    before = refused.before if failure is refused.failure else refused.codes
    if all(code == failure.code for code in before) and refused.failure.message == failure.message:
        return ""
    message = "" if failure is refused.failure else f": {refused.failure.message}"
    return f"; before: {', '.join(before)}{message}"


def _after(failure: Failure, refused: RefusedAnswer, why: str) -> Failure:
    times = "once" if refused.times == 1 else f"{refused.times} times"
    return replace(failure, message=f"{failure.message} (asked again {times}{why})")
