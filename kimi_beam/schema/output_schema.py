"""`OutputSchema`: a JSON Schema as the request for the model, as the validator of its answers and as Arrow columns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, TypeAlias

import pyarrow as pa

from kimi_beam.errors import SchemaError
from kimi_beam.schema import arrow, jsontext, sent, violations
from kimi_beam.schema.additional import Additional, at_root, put_back
from kimi_beam.schema.arrow import ADDITIONAL, RESERVED, VALUE
from kimi_beam.schema.cells import JSON, Array, Json
from kimi_beam.schema.coercion import Coercion
from kimi_beam.schema.compare_rules import CompareRules
from kimi_beam.schema.explaining import Explainer
from kimi_beam.schema.find_shapes import Shapes
from kimi_beam.schema.impossible import Contradiction, contradictions
from kimi_beam.schema.lookalikes import doubts
from kimi_beam.schema.merge_rules import MergeRules
from kimi_beam.schema.nullable import with_nulls
from kimi_beam.schema.own_keywords import check_own_keywords
from kimi_beam.schema.own_validators import OwnValidators, RefusedError
from kimi_beam.schema.part_schema import for_parts
from kimi_beam.schema.places import Places
from kimi_beam.schema.referenced_files import BASE
from kimi_beam.schema.references import Draft, RegistrySource, Scope, draft_name, draft_of
from kimi_beam.schema.shapes import Term, schema_term
from kimi_beam.schema.source import Definition, copied, definition, documents, with_files
from kimi_beam.schema.sum_checks import sum_checks
from kimi_beam.schema.unnamed_keys import counts_members, remove_absent_nulls, unnamed_keys
from kimi_beam.schema.violations import Formats, Violation

__all__ = ["ADDITIONAL", "RESERVED", "VALUE", "OutputSchema", "SchemaSource", "Violation"]

SchemaSource: TypeAlias = "OutputSchema | dict[str, Any] | bool | str | os.PathLike[str] | type"
"""A schema in any form that a user may pass: a JSON Schema, the path of its file on any filesystem of Beam, a class (a
pydantic model, a dataclass or a TypedDict) or its ``module:Class``, or an `OutputSchema`."""


class OutputSchema:
    """The schema of the rows that documents become.

    It pickles as its JSON Schema. The compiled validator and the columns are made in the process that uses them.

    Example:
        >>> schema = kb.OutputSchema({"type": "object", "properties": {"total": {"type": "number"}}})
        >>> schema.is_valid({"total": 24.8}), schema.explain({"total": "24.80"})
        (True, '/total: "24.80" is not of type "number" (type)')

    Args:
        schema: A JSON Schema as dict or bool, the path of its file (local, or on a filesystem that Beam knows), a
            pydantic model, dataclass or TypedDict or its ``module:Class``, or another `OutputSchema` (returned as an
            equal one, whatever the other arguments say).
        closed: Whether a key that the schema allows but does not name is a violation. If not, it is kept in
            ``_additional``.
        formats: Whether ``format`` asserts, so that an ill-formed ``date`` is a violation. ``"local"``: it asserts, but
            date-times and times may lack an offset, as on receipts. Their columns are then local times, and a value
            that has an offset is kept in ``_additional``.
        registry: Other schemas that this one refers to, by URI; or a function that fetches the schema of a URI, called
            while the pipeline is built. None: the schema may refer to nothing outside itself.
        keep_nulls: Whether ``_additional`` tells an explicit null from an absent property, where both are allowed. If
            not, a null cell stands for both and is read back as absent. Nulls are always kept if the schema counts
            members (``minProperties``, ``if``, ``not``, …) or a branch of a union requires the property.
        draft: 4, 6, 7, "2019-09" or "2020-12". None: as the schema's ``$schema`` says, else 2020-12.

    Raises:
        SchemaError: The schema cannot be read, is invalid, or has a reference or pattern that cannot be compiled.
    """

    def __init__(
        self,
        schema: SchemaSource,
        *,
        closed: bool = False,
        formats: Formats = True,
        registry: RegistrySource | None = None,
        draft: Draft | None = None,
        keep_nulls: bool = False,
    ) -> None:
        if isinstance(schema, OutputSchema):
            self.__dict__.update(schema.__dict__)  # a schema never changes, so the parts can be shared
            return
        if not isinstance(formats, bool) and formats != "local":
            raise SchemaError(f"formats is {formats!r}: True, False or 'local'")
        self.closed, self.formats, self.keep_nulls, self.draft = closed, formats, keep_nulls, draft_name(draft)
        found, model = definition(schema)
        self.json_schema: Definition = copied(found)  # a later change by the caller would change the columns alone
        self.json_schema, files = with_files(schema, self.json_schema, has_registry=registry is not None)
        self._documents = documents(self.json_schema, files, registry)
        self._own = None if model is None else OwnValidators.of(model, formats=bool(self.formats))
        self._prepare()

    def _prepare(self) -> None:
        self._shapes = Shapes(self.formats)
        # In these OpenAPI's `nullable` is replaced by the type "null"; validator and columns are made from them.
        self._meant = with_nulls(self.json_schema)
        self._meant_documents = {uri: with_nulls(document) for uri, document in self._documents.items()}
        self._validator = violations.compiled(
            self._meant, self.draft, self._meant_documents, lambda: self._scope, formats=self.formats
        )
        check_own_keywords(self.json_schema)
        self.sum_checks = sum_checks(self.json_schema)
        """The equations of ``x-check``."""
        self.has_column_types = b'"x-arrow-type"' in jsontext.dumps_any(self.json_schema)
        if self.has_column_types:  # a wrong one is refused now
            self._plan  # noqa: B018

    def __getstate__(self) -> dict[str, Any]:
        """The schema and its settings, because a compiled validator cannot be pickled."""
        return {name: getattr(self, name) for name in _STATE}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.keep_nulls = True  # for a state from before the setting existed, when nulls were always kept
        self.__dict__.update(state)
        self._prepare()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutputSchema) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        # The order of properties counts: it is the order of the columns.
        documents = jsontext.dumps_any(self._documents)
        return jsontext.dumps_any(self.json_schema), self.formats, self.closed, self.draft, documents, self.keep_nulls

    def __repr__(self) -> str:
        return f"OutputSchema({self.name!r}, hash={self.hash!r})"

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the schema and of the files beside it that it refers to.

        The order of keys counts, because the order of properties is that of the columns.
        """
        files = {uri: file for uri, file in self._documents.items() if uri.startswith(BASE)}
        text = jsontext.dumps_any(self.json_schema) + (jsontext.dumps_any(files) if files else b"")
        return hashlib.sha256(text).hexdigest()[:16]

    @property
    def doubts(self) -> list[str]:
        """Warnings about the schema, one line each: keys that look misspelt, and properties that no value can fit."""
        never = (f"{one} (an answer that has it is never valid)" for one in self._contradictions if not one.is_certain)
        return [*doubts(self.json_schema), *islice(never, 5)]

    @property
    def contradiction(self) -> str | None:
        """The reason why certainly no answer can be valid; None if one may be.

        One such reason is a required property that the schema does not describe: `response_format` cannot ask for it.
        """
        return next((str(one) for one in self._contradictions if one.is_certain), None)

    @cached_property
    def _contradictions(self) -> list[Contradiction]:
        draft = self.draft or draft_of(self.json_schema)
        return list(contradictions(self._shapes, self._root, draft, formats=self.formats is True))

    @cached_property
    def _scope(self) -> Scope:
        return Scope(self._meant, self.draft or draft_of(self.json_schema), self._meant_documents)

    @cached_property
    def _root(self) -> Term:
        return schema_term(self._scope.root)

    @cached_property
    def name(self) -> str:
        """The name of the schema in requests: its title, reduced to the characters that the service allows."""
        return sent.name_of(self.json_schema)

    @cached_property
    def response_format(self) -> dict[str, Any]:
        """``response_format`` as Kimi's own input schema has it (form A: ``{name, schema, strict}``).

        The schema in it is simpler than this one: closed, without references, with all properties required and the
        optional ones nullable. Source: Workers AI model schema of ``@cf/moonshotai/kimi-k2.6``. That the service
        enforces it is assumed, so every answer is validated here by the full schema.
        """
        return sent.response_format(self.name, sent.nullable_form(self._shapes, self._root))

    @cached_property
    def simple_response_format(self) -> dict[str, Any]:
        """`response_format` without unions, for a service that refuses them (5024); optional means not required."""
        return sent.response_format(self.name, sent.plain_form(self._shapes, self._root))

    def without_sent_nulls(self, instance: Any) -> tuple[Any, int]:
        """Removes the nulls by which the model says that an optional property is absent.

        `response_format` makes every property required and optional ones nullable, so a null for a property that is
        optional and not nullable means absent. A union of objects is sent as one object with the members of all its
        branches, so if the instance is still invalid, a null means absent for optional nullable properties too: they
        may belong to another branch.

        Args:
            instance: An instance that is invalid as it stands.

        Returns:
            The instance without these nulls (the same object if there are none), and how many were removed.
        """
        found, count = remove_absent_nulls(self._shapes, self._root, instance, nullable=False)
        if count and self._validator.is_valid(found):
            return found, count
        bare, more = remove_absent_nulls(self._shapes, self._root, instance, nullable=True)
        return (bare, more) if more > count and self._validator.is_valid(bare) else (found, count)

    @cached_property
    def for_parts(self) -> OutputSchema:
        """The schema for a part of a document, in which nothing is required."""
        schema, documents = for_parts(self.json_schema, self._documents, self.draft or draft_of(self.json_schema))
        state = {**self.__getstate__(), "json_schema": schema, "_documents": documents, "_own": None}
        other = OutputSchema.__new__(OutputSchema)
        other.__setstate__(state)
        return other

    @cached_property
    def places(self) -> Places:
        """What the schema says of the places in its instances."""
        return Places(self._shapes, self._root)

    @cached_property
    def merge_rules(self) -> MergeRules:
        """How the values of a document's parts become one."""
        return MergeRules(self._shapes, self._root)

    @cached_property
    def compare_rules(self) -> CompareRules:
        """How values are compared where answers are scored."""
        return CompareRules(self._shapes, self._root)

    @cached_property
    def coercion(self) -> Coercion:
        """Changes values of invalid answers to what the schema wants."""
        return Coercion(self._shapes, self._root, whole_floats=(self.draft or draft_of(self.json_schema)) != "4")

    @property
    def has_class(self) -> bool:
        """Whether each answer is also validated by a class, which may change the value."""
        return self._own is not None and not self._own.only_with

    def check_class(self) -> None:
        """Imports the schema's class.

        Raises:
            SchemaError: The class cannot be imported in this process.
        """
        if self._own is not None and self.has_class:
            self._own.check()

    def row_value(self, instance: Any) -> Any:
        """Validates an answer, and returns what its row holds: the value that the schema's class makes of it.

        Without a class this is the instance itself.

        Raises:
            jsontext.NoJsonError: The class makes a value of it that cannot be written as JSON.
            RefusedError: The answer is invalid; `explain` says why.
        """
        if not self._validator.is_valid(instance) or (self.closed and unnamed_keys(self._shapes, self._root, instance)):
            raise RefusedError
        return self._own.class_value(instance) if self._own else instance

    def is_valid(self, instance: Any) -> bool:
        """Whether the instance is valid."""
        if not self._validator.is_valid(instance):
            return False
        return not (self.closed or self._own) or not self._further(instance)

    def validate(self, instance: Any) -> list[Violation]:
        """All violations of an instance, none if it is valid.

        Only one is given if the schema's unions would give reasons without end, so that the time is bounded.
        """
        if self._validator.is_valid(instance):
            return self._further(instance) if self.closed or self._own else []
        return self._explainer.violations(instance)

    def has_unnamed_keys(self, instance: Any) -> bool:
        """Whether an instance has a key that the schema allows but does not name: `closed` would refuse it."""
        return bool(unnamed_keys(self._shapes, self._root, instance))

    def _further(self, instance: Any) -> list[Violation]:
        """The violations that the JSON Schema does not know: unnamed keys if `closed`, and those of the class."""
        found = unnamed_keys(self._shapes, self._root, instance) if self.closed else []
        return found or (self._own.violations(instance) if self._own else [])

    def explain(self, instance: Any) -> str:
        """Why an instance is invalid, in one line: its first violations, or the most telling one of a union.

        Time and memory are bounded, because answers are untrusted. `validate` builds every violation of an instance.
        """
        if self._validator.is_valid(instance):
            return "; ".join(map(str, self._further(instance)[:3]))
        return self._explainer.line(instance)

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(
            self._validator, self._meant, self._meant_documents, lambda: self._scope, self.draft, formats=self.formats
        )

    @cached_property
    def _plan(self) -> arrow.Plan:
        keep_nulls = self.keep_nulls or counts_members([self._meant, *self._meant_documents.values()])
        return arrow.plan(self._shapes, self._root, keep_nulls=keep_nulls)

    @property
    def leaves(self) -> Sequence[arrow.Leaf]:
        """The column type of each property of the schema, with the reason for it."""
        return self._plan.leaves

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """One field for each property, then ``_additional``: JSON with everything that no typed column holds.

        Instances that are not objects with named members have one column ``_value``, or none if it would be JSON.
        """
        return pa.schema([*(m.field for m in self._plan.root.members), pa.field(ADDITIONAL, JSON)])

    def to_arrow(self, instances: Sequence[Any]) -> tuple[pa.RecordBatch, list[tuple[int, Violation]]]:
        """Converts valid instances.

        Args:
            instances: Valid instances; an invalid one may be returned as a violation.

        Returns:
            A record batch of `arrow_schema` with a row for each instance that could be converted, in order, and the
            index and reason of each that could not. One bad instance never fails the others.
        """
        additional, arrays = self._columns(instances)
        bad = self._bad(instances, additional, arrays)
        if bad:
            kept = [instance for index, instance in enumerate(instances) if index not in bad]
            additional, arrays = self._columns(kept)
            instances = kept
        column = pa.ExtensionArray.from_storage(JSON, arrow.rest_column(additional, len(instances)))
        return pa.RecordBatch.from_arrays([*arrays, column], schema=self.arrow_schema), sorted(bad.items())

    def _columns(self, instances: Sequence[Any]) -> tuple[Additional, list[Array]]:
        additional = Additional()
        root = self._plan.root
        if self._plan.is_value:
            (only,) = root.members
            return additional, [only.column.build(instances, at_root, additional)]
        arrays, gaps = root.arrays(instances, at_root, additional)
        for row in (row for row, instance in enumerate(instances) if instance is None) if gaps else ():
            additional.set_aside(at_root(row), None, suspect=True)
        return additional, arrays

    def _bad(self, instances: Sequence[Any], additional: Additional, arrays: list[Array]) -> dict[int, Violation]:
        bad = {row: Violation(*reason) for row, reason in additional.refused.items()}
        suspects = set(additional.suspects)
        for member, array in zip(self._plan.root.members, arrays, strict=True):
            if array.null_count and not member.field.nullable:
                suspects.update(row for row, there in enumerate(array.is_valid().to_pylist()) if not there)
        for row in suspects - bad.keys():
            try:
                first = self._explainer.first(instances[row])
            except (ValueError, RecursionError, MemoryError) as e:
                first = violations.violation((), "type", str(e))
            if first is not None:
                bad[row] = first
        bad |= {row: violations.violation((), "type", reason) for row, reason in additional.without_text()}
        return bad

    def from_arrow(self, table: pa.Table | pa.RecordBatch) -> list[Any]:
        """Converts columns of `to_arrow` back to instances: equal as JSON, with date-times equal as instants.

        Without `keep_nulls`, a null that means the same as absence is read back as absence.

        Args:
            table: A table with the columns of `arrow_schema`, such as a Parquet file's. Other columns are ignored.

        Raises:
            ValueError: A column of `arrow_schema` is missing.
        """
        batch = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
        missing = set(self.arrow_schema.names) - set(batch.column_names)
        if missing:
            raise ValueError(f"there is no column {min(missing)!r}: the table is of another schema")
        if not batch.num_rows:
            return []
        rest = Json().read(arrow.one_chunk(batch.column(ADDITIONAL)))
        root = self._plan.root
        columns = {m.field.name: arrow.one_chunk(batch.column(m.field.name)) for m in root.members}
        found: list[Any] = root.objects(columns, batch.num_rows)
        if self._plan.is_value:
            found = [instance.get(VALUE) for instance in found]
        return [value if beside is None else put_back(value, beside) for value, beside in zip(found, rest, strict=True)]


_STATE = ("closed", "formats", "draft", "keep_nulls", "json_schema", "_documents", "_own")
