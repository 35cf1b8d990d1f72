"""The prompt: makes one request from a document and a schema. The constant part comes first, the document last.

The service caches by exact token prefix and bills cached tokens at a fraction, so nothing that varies may stand before
the document: no ids, no timestamps, no shuffled keys (Workers AI, prompt caching). The document's text is sent whole
and unchanged, inside a fence that it cannot close, and the model is told that it is data, never an instruction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson

from kimi_beam.columnar import Documents, Texts
from kimi_beam.errors import ConfigError, SchemaError
from kimi_beam.request import answer_size, correction, part_message
from kimi_beam.request.answer_forms import Form, StructuredOutput, answer_fields, forms_after, is_object, is_typed
from kimi_beam.request.context_window import least_tokens
from kimi_beam.request.document_bytes import DocumentBytes, fenced
from kimi_beam.request.guidance import NO_GUIDANCE, Guidance
from kimi_beam.request.split_rule import SplitRule, item_tokens, may_grow
from kimi_beam.request.system_message import DEFAULT_INSTRUCTIONS, system_message, version_of
from kimi_beam.schema import OutputSchema, jsontext
from kimi_beam.service.models import DEFAULT_MODEL, MODELS, Api, thinking_off
from kimi_beam.types.document import Document
from kimi_beam.types.earlier_runs import NOTHING_EARLIER, Earlier
from kimi_beam.types.failure import Code
from kimi_beam.wire.sent_text import sent_elsewhere, sent_to_workers_ai
from kimi_beam.wire.size_limits import HARD_MAX_BYTES

_MARKER = "\0"
"""Stands for the document while the constant part is written; no JSON text contains it unescaped."""
_SAMPLE_TEMPERATURE = 0.6
"""Kimi's own for answers without thinking, at which further answers are drawn."""
_MOST_DOUBLINGS = 4
"""How often the room for an answer is doubled that is cut off again and again."""


@dataclass(frozen=True)
class Prompt:
    """The part that all requests of a run share. It makes a request from a document.

    Attributes:
        schema: The schema of the answers.
        instructions: The user's own words to the model, at the beginning of the prompt.
        metadata_keys: Keys of `Document.metadata` that the model is shown if a document has them; none by default.
        max_completion_tokens: The most tokens of an answer. It is always sent, as some models stop at 256 without it
            (release notes). None: estimated from the schema.
        structured_output: How the schema is enforced.
        thinking: Whether the model thinks first. Thinking is billed like the answer and counts against the bound.
        model: The model's id.
        api: The API that the model is asked by.
        is_elsewhere: Whether the server is not Cloudflare's.
        tools: Functions that the model may call before it answers, declared as in OpenAI's ``tools``.
        chunk_tokens: The most tokens of a part. None: documents are asked for in parts only where they must be.
        is_for_parts: Whether it asks for parts of documents: the schema then is the one for parts.
        guidance: What the model is told beside the instructions: examples, the meanings of terms, and a language.

    Raises:
        ConfigError: `structured_output` is ``tool``, but the schema is not of an object; the answer of an example is
            invalid; or instructions, schema and examples leave no document any room.
        SchemaError: The schema contradicts itself, so that no answer could be valid.
    """

    schema: OutputSchema
    instructions: str = DEFAULT_INSTRUCTIONS
    metadata_keys: tuple[str, ...] = ()
    max_completion_tokens: int | None = None
    structured_output: StructuredOutput = "schema"
    thinking: bool = False
    model: str = DEFAULT_MODEL
    api: Api = "batch"
    is_elsewhere: bool = False
    tools: tuple[Mapping[str, Any], ...] = ()
    chunk_tokens: int | None = None
    is_for_parts: bool = False
    guidance: Guidance = NO_GUIDANCE

    forms: tuple[Form, ...] = field(init=False, compare=False)
    """The forms in the order in which they are tried. On Cloudflare a document goes on to the next form if JSON mode
    could not be met (5024): first with a simpler schema, then with the schema in the prompt alone. Unions, dense or
    deep schemas and long input cause that (bug reports). Another server may support the last form alone."""
    # The JSON before and after the document, for each form: written once and used for all documents.
    _constants: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            self.instructions.encode()
        except UnicodeEncodeError:
            raise ConfigError("instructions: half a surrogate pair, which is no text") from None
        contradiction = self.schema.contradiction
        if contradiction is not None:
            raise SchemaError(f"no answer to this schema can be valid: {contradiction}")
        form = self.structured_output
        if form == "tool" and not self._is_object:
            raise ConfigError("structured_output: a function's arguments are an object, which this schema is not")
        if not self.is_for_parts:
            self.guidance.check_examples(self.schema)
        object.__setattr__(self, "forms", forms_after(form, is_elsewhere=self.is_elsewhere, is_object=self._is_object))
        object.__setattr__(self, "_constants", self._made_constants())
        self._check_room()
        self.split_rule  # noqa: B018 - it may refuse the size of parts

    @property
    def answer_tool(self) -> str | None:
        """The name of the function whose arguments are the answer; None if the text is the answer."""
        return str(self._sent["name"]) if self.structured_output == "tool" else None

    @property
    def prefix(self) -> bytes:
        """The bytes that all requests of the run begin with."""
        return self._constants[0][0]

    @cached_property
    def identity(self) -> bytes:
        """A hash of everything beside the document that decides the answer: model, instructions, schema and limits.

        The API is not part of it, because an answer of the queue is as good as that of a synchronous request.
        """
        same = self if self.api == "batch" else replace(self, api="batch")
        return hashlib.blake2b(self.model.encode() + b"\0" + same._constants[0][0], digest_size=32).digest()

    @cached_property
    def version(self) -> str:
        """What each row says of the prompt: the version of kimi_beam's own words, and a hash of all of them."""
        return version_of(self._system(self.forms[0]))

    @cached_property
    def for_parts(self) -> Prompt:
        """The prompt by which parts of documents are asked for: another constant part, which all of them share."""
        return self if self.is_for_parts else replace(self, schema=self.schema.for_parts, is_for_parts=True)

    @cached_property
    def split_rule(self) -> SplitRule:
        """When documents are asked for in parts."""
        schema = self._sent["schema"]
        return SplitRule(self.chunk_tokens, self.room, self.answer_limit, item_tokens(schema), may_grow(schema))

    def shown(self, document: Document, correction: str = "") -> DocumentBytes:
        """The bytes that the model is shown of a document. With `overhead` they are the size of its request.

        Args:
            document: The document.
            correction: The words that follow it (`correction`).

        Raises:
            TypeError: The text is not valid Unicode (it holds lone surrogates).
        """
        if document.part is not None:
            text, start = part_message.words(document)
        else:
            text = fenced(document.text)
            start = text.index("\n") + 1
        if self.metadata_keys:
            visible = {key: document.metadata[key] for key in self.metadata_keys if key in document.metadata}
            metadata = f"{fenced(jsontext.dumps_any(visible).decode(), 'metadata')}\n"
            text, start = metadata + text, start + len(metadata)
        return DocumentBytes.of(text + correction, document.images, _positions(document, start))

    @cached_property
    def overhead(self) -> int:
        """Bytes of a request without its document, at most. The reference in it has up to 32 characters."""
        return max(len(before) + len(after) for before, after in self._constants) + 60

    @cached_property
    def room(self) -> int | None:
        """The most tokens of the model's window that a document may take; None if the window is not known."""
        model = None if self.is_elsewhere else MODELS.get(self.model)
        if model is None:
            return None
        return model.context - self.answer_limit - self._least_before

    def _check_room(self) -> None:
        """Refuses words that leave no room for any document.

        Raises:
            ConfigError: They exceed the window or a request, together with the answer.
        """
        if self.room is not None and self.room <= 0:
            raise ConfigError(
                f"instructions, schema and examples take at least {self._least_before} tokens and the answer may take "
                f"{self.answer_limit}: the window of {self.model} is {MODELS[self.model].context}, which leaves no "
                "document any room"
            )
        if self.overhead > HARD_MAX_BYTES:
            raise ConfigError(
                f"instructions, schema and examples take {self.overhead} bytes of each request, which may hold "
                f"{HARD_MAX_BYTES} with its document"
            )

    @property
    def answer_limit(self) -> int:
        """The most tokens of an answer."""
        return int(self._limit()["max_completion_tokens"])

    @cached_property
    def _least_before(self) -> int:
        """A lower bound of the tokens of instructions and schema."""
        return min(least_tokens(self._system(form)) for form in self.forms)

    def exceeds_window(self, text: str) -> str | None:
        """A message if a text certainly exceeds the model's window, together with prompt and answer; else None."""
        room = self.room
        if room is None or len(text) <= room or (tokens := least_tokens(text)) <= room:
            return None
        return (
            f"its text has at least {tokens} tokens, and at most {max(room, 0)} may fit: the window of {self.model} is "
            f"{MODELS[self.model].context}, of which instructions and schema take at least {self._least_before} and "
            f"the answer may take {self.answer_limit}"
        )

    def request(
        self, document: Document, reference: str | None = None, *, form: int = 0, turns: Sequence[bytes] = ()
    ) -> bytes:
        """One request as JSON.

        Args:
            document: The document to extract from.
            reference: The ``external_reference`` of a queued request, which comes back with its answer. It is unique
                within the run and has no characters that JSON escapes (`kimi_beam.wire.matching.references`). None for
                a synchronous request.
            form: The index of the form in `forms`.
            turns: Messages that follow the document, as JSON: the function calls of the model and their results.
        """
        if document.part is not None and not self.is_for_parts:
            return self.for_parts.request(document, reference, form=form, turns=turns)
        messages = b"".join(b"," + self._sendable(turn) for turn in turns)
        before, after, end = self._around(form, messages, document.earlier, has_reference=reference is not None)
        shown = self.shown(document, self.correction(document)).pieces(self._sendable)
        return b"".join((before, *shown, after, (reference or "").encode(), end))

    def correction(self, document: Document) -> str:
        """The words behind a document whose answer was refused; empty for any other document."""
        if document.earlier.refused is None:
            return ""
        prompt = self.for_parts if document.part is not None else self
        shown = prompt.shown(replace(document, images=()))
        first = len(prompt._system(prompt.forms[0]).encode()) + shown.size
        return correction.words(document.earlier.refused, first)

    def requests(self, documents: Documents, references: Sequence[str], form: int) -> Iterator[tuple[bytes, ...]]:
        """The requests of a job. Each is in pieces, which joined are what `request` returns."""
        before, after, end = self._around(form, has_reference=True)
        texts, of_inner, sendable = Texts.of(documents.texts).inner, DocumentBytes.of_inner, self._sendable
        shows_metadata, others = bool(self.metadata_keys), documents.others
        for index, (reference, inner) in enumerate(zip(references, texts, strict=True)):
            if index in others and others[index].part is not None and not self.is_for_parts:
                part = Documents.of([others[index]])
                yield from self.for_parts.requests(part, [reference], form)
            elif index in others and others[index].earlier.is_asked_otherwise:
                yield (self.request(others[index], reference, form=form),)
            elif shows_metadata or index in others:
                yield before, *self.shown(documents[index]).pieces(sendable), after, reference.encode(), end
            else:  # a document that is only a text: no `Document` is made of it
                # An empty text here would be a document whose file was not read: it would be sent and paid for in vain.
                assert inner, "an empty document"
                opening, text, closing, _ = of_inner(inner)
                yield before, opening, sendable(text), closing, after, reference.encode(), end

    def _around(
        self, form: int, messages: bytes = b"", earlier: Earlier = NOTHING_EARLIER, *, has_reference: bool
    ) -> tuple[bytes, bytes, bytes]:
        """The bytes before a document, between it and the reference, and at the end of its request."""
        before, after = self._constants_for(earlier)[form]
        after = b"}" + messages + after
        return (before, after + b',"external_reference":"', b'"}') if has_reference else (before, after, b"}")

    # -------------------------------------------------------------------------------------------- the constant part

    @property
    def _sent(self) -> Mapping[str, Any]:
        sent: Mapping[str, Any] = self.schema.response_format["json_schema"]
        return sent

    @property
    def _simpler(self) -> dict[str, Any]:
        """`response_format` without unions, if each value still has a type in it; else the usual one."""
        simple = self.schema.simple_response_format
        return simple if is_typed(simple["json_schema"]["schema"]) else self.schema.response_format

    @property
    def _is_object(self) -> bool:
        return is_object(self._sent["schema"])

    @property
    def _thinks(self) -> bool:
        return self.thinking or not thinking_off(self.model)

    def _constants_for(self, earlier: Earlier) -> Sequence[tuple[bytes, bytes]]:
        """`_constants` for a document: what was cut off gets more room, what was lost in reasoning is asked without."""
        codes, sample = earlier.refused.codes if earlier.refused is not None else (), earlier.sample
        limit, is_lost = self.answer_limit_after(codes), "answer_in_reasoning" in codes
        if limit == self.answer_limit and not is_lost and not sample:
            return self._constants
        made = self._other_constants.get((limit, is_lost, sample))
        if made is None:
            made = self._made_constants(limit=limit, sample=sample, **({"thinks": False} if is_lost else {}))
            self._other_constants[limit, is_lost, sample] = made
        return made

    @cached_property
    def _other_constants(self) -> dict[tuple[int, bool, int], Sequence[tuple[bytes, bytes]]]:
        return {}

    def _made_constants(self, **changes: Any) -> tuple[tuple[bytes, bytes], ...]:
        return tuple(
            self._constant(form, simple=number > 0 and not self.is_elsewhere, **changes)
            for number, form in enumerate(self.forms)
        )

    def answer_limit_after(self, codes: Sequence[Code]) -> int:
        """The most tokens of an answer, after answers that were refused for these reasons.

        It is twice as much for each that was cut off, unless the user has named a limit, as far as there is room.
        """
        limit, cuts = self.answer_limit, codes.count("truncated")
        if self.max_completion_tokens is not None or not cuts:
            return limit
        most = limit << min(cuts, _MOST_DOUBLINGS)
        return most if self.room is None else limit + min(most - limit, max(self.room, 0) // 2)

    def _constant(
        self, form: Form, *, simple: bool, limit: int | None = None, thinks: bool | None = None, sample: int = 0
    ) -> tuple[bytes, bytes]:
        """The bytes before and after a document. All that is constant comes first, as the cache works by prefix."""
        response_format = self._simpler if simple else self.schema.response_format
        request = {
            **({"model": self.model} if self.api == "chat" else {}),
            **self._limit(limit),
            **self._sampling(sample, thinks=self._thinks if thinks is None else thinks),
            **answer_fields(form, response_format, self.tools, is_object=self._is_object),
            **self._streaming(form),
            "messages": [
                {"role": "system", "content": self._system(form)},
                {"role": "user", "content": _MARKER},
            ],
        }
        before, _, after = jsontext.dumps(request).rpartition(orjson.dumps(_MARKER))
        return self._sendable(before), self._sendable(after.removeprefix(b"}").removesuffix(b"}"))

    def _limit(self, limit: int | None = None) -> dict[str, Any]:
        limit = limit or self.max_completion_tokens
        if limit is None:
            limit = answer_size.answer_tokens(self._sent["schema"])
            if self._thinks:
                limit = max(limit, answer_size.WITH_THINKING)
        # Ollama and LM Studio support only the older name.
        return {"max_completion_tokens": limit, **({"max_tokens": limit} if self.is_elsewhere else {})}

    def _sampling(self, sample: int, *, thinks: bool) -> dict[str, Any]:
        """Temperature 0 and no thinking: copying fields needs neither. A thinking model has its own temperature.

        A further answer is drawn at a temperature, with a seed of its own, so that no cache gives it the first one.
        """
        seed = {"seed": sample} if sample else {}
        if thinks:
            return seed
        temperature = _SAMPLE_TEMPERATURE if sample else 0
        return {"temperature": temperature, **seed, "chat_template_kwargs": dict(thinking_off(self.model))}

    def _streaming(self, form: Form) -> dict[str, Any]:
        """Asks for a stream, as it is not cut off after 120 s. It is refused with a schema (5023) and in the queue."""
        if self.api == "batch" or form not in ("prompt", "tool"):
            return {}
        return {"stream": True, "stream_options": {"include_usage": True}}

    def _system(self, form: Form) -> str:
        sent = self._sent
        return system_message(
            self.instructions, form, sent["schema"], sent["name"], self.guidance, is_for_parts=self.is_for_parts
        )

    @property
    def _sendable(self) -> Callable[[bytes], bytes]:
        """Alters what the server would not read as text, without changing any length."""
        return sent_elsewhere if self.is_elsewhere else sent_to_workers_ai


def _positions(document: Document, start: int) -> list[int]:
    """Where the pictures of a document stand in the words that the model is shown of it; empty: before all of them.

    Args:
        document: The document. Its text may be another than that of its layout, as somebody may have mended it.
        start: The index of its text in the words.
    """
    positions = document.layout.image_positions if document.layout is not None else ()
    if len(positions) != len(document.images):
        return []
    # A picture at the beginning of the text stands before the metadata too, as one without a position does.
    return [start + min(at, len(document.text)) if at else 0 for at in positions]
