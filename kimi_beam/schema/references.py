"""Resolves the references of a schema: every draft's ``$ref``, ``$dynamicRef``, ``$anchor`` and base URI.

The library `referencing` does the resolving. This module finds the draft of a schema, and walks through it with a
resolver whose base URI changes where the schema's does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jsonschema_specifications
from referencing import Resource, Specification
from referencing.exceptions import NoSuchResource, Unresolvable
from referencing.jsonschema import (
    DRAFT4,
    DRAFT6,
    DRAFT7,
    DRAFT201909,
    DRAFT202012,
    lookup_recursive_ref,
    specification_with,
)

from kimi_beam.errors import SchemaError

Draft: TypeAlias = "int | str"
"""4, 6, 7, "2019-09" or "2020-12"."""

RegistrySource: TypeAlias = "Mapping[str, Any] | Iterable[tuple[str, Any]] | Callable[[str], Any]"
"""Schemas by their URI, or a function that fetches the schema of a URI. Nothing is fetched without such a function."""

_ROOT = "kimi-beam:schema"
_DRAFTS: dict[str, Specification[Any]] = {
    "4": DRAFT4,
    "6": DRAFT6,
    "7": DRAFT7,
    "2019-09": DRAFT201909,
    "2020-12": DRAFT202012,
}
_SIBLINGS_COUNT = (DRAFT201909, DRAFT202012)


def draft_name(draft: Draft | None) -> str | None:
    """The name of a draft as a string; None stays None.

    Raises:
        SchemaError: There is no such draft.
    """
    if draft is None:
        return None
    spellings = {"2019": "2019-09", "201909": "2019-09", "2020": "2020-12", "202012": "2020-12"}
    name = str(draft).lower().removeprefix("draft").strip("- ").removeprefix("0")
    name = spellings.get(name, name)
    if name not in _DRAFTS:
        raise SchemaError(f"{draft!r} is no draft of JSON Schema: {', '.join(_DRAFTS)}")
    return name


def draft_of(schema: Any) -> str:
    """The draft that a schema names in ``$schema``, else 2020-12."""
    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    if isinstance(dialect, str):
        found = specification_with(dialect, default=None)  # type: ignore[arg-type]
        for name, specification in _DRAFTS.items():
            if specification is found:
                return name
    return "2020-12"


class Scope:
    """The documents that references may lead into: the schema itself and the schemas of a registry.

    Args:
        schema: The schema.
        draft: Its draft, as `draft_of` names it.
        documents: The other schemas, by URI.
    """

    def __init__(self, schema: Any, draft: str, documents: Mapping[str, Any]) -> None:
        self._specification = _DRAFTS[draft]
        registry = jsonschema_specifications.REGISTRY.with_resources(
            (uri, Resource.from_contents(document, default_specification=self._specification))
            for uri, document in documents.items()
        )
        # `referencing` does not know the dialect of a custom metaschema, so such a schema is read as the default draft.
        resource = self._specification.create_resource(schema)
        base = resource.id() or _ROOT
        self._registry = registry.with_resource(_ROOT, resource).with_resource(base, resource)
        self._seen: dict[tuple[str, str], Node | None] = {}
        self.siblings_count = self._specification in _SIBLINGS_COUNT
        self.root = Node(schema, self._registry.resolver(base), self)

    def find(self, resolver: Any, reference: str) -> Node | None:
        """The schema that a reference leads to; None if it cannot be resolved."""
        key = resolver._base_uri, reference
        if key not in self._seen:
            try:
                found = resolver.lookup(reference)
                self._seen[key] = Node(found.contents, found.resolver, self)
            except (Unresolvable, NoSuchResource, ValueError, TypeError, AttributeError, KeyError, RecursionError):
                self._seen[key] = None
        return self._seen[key]

    def recursive(self, resolver: Any) -> Node | None:
        """The schema that ``$recursiveRef: "#"`` leads to."""
        try:
            found = lookup_recursive_ref(resolver)
        except (Unresolvable, NoSuchResource, ValueError, TypeError, AttributeError, KeyError):
            return None
        return Node(found.contents, found.resolver, self)

    def inner(self, schema: Any, resolver: Any) -> Any:
        """The resolver for references inside a schema, which may have its own base URI."""
        if isinstance(schema, dict) and ("$id" in schema or isinstance(schema.get("id"), str)):
            try:
                return resolver.in_subresource(self._specification.create_resource(schema))
            except (ValueError, TypeError, AttributeError):
                return resolver
        return resolver


class Node:
    """A subschema with the resolver of the place where it stands.

    Attributes:
        schema: The subschema: an object, true or false.
        key: Equal for the same subschema reached twice.
    """

    __slots__ = ("_resolver", "_scope", "key", "schema")

    def __init__(self, schema: Any, resolver: Any, scope: Scope) -> None:
        self.schema, self._resolver, self._scope = schema, resolver, scope
        self.key: tuple[Any, ...] = (id(schema), resolver._base_uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def child(self, schema: Any) -> Node:
        """The node of a schema inside this one."""
        return Node(schema, self._scope.inner(schema, self._resolver), self._scope)

    @property
    def siblings_count(self) -> bool:
        """Whether keywords next to ``$ref`` count, which they do from draft 2019-09 on."""
        return self._scope.siblings_count

    def targets(self) -> Iterator[Node | None]:
        """The nodes that the schema's references lead to; None for one that cannot be resolved."""
        schema = self.schema
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(schema.get(keyword), str):
                yield self._scope.find(self._resolver, schema[keyword])
        if "$recursiveRef" in schema:
            yield self._scope.recursive(self._resolver)


def unresolved(scope: Scope) -> str | None:
    """The JSON Pointer of the first ``$ref`` that leads nowhere; None if all can be resolved."""
    waiting: list[tuple[str, Node]] = [("", scope.root)]
    while waiting:
        at, node = waiting.pop()
        value = node.schema
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str) and None in node.targets():
                return at
            inner: Iterable[tuple[str, Any]] = value.items()
        else:
            inner = ((str(index), item) for index, item in enumerate(value)) if isinstance(value, list) else ()
        waiting += [
            (f"{at}/{str(token).replace('~', '~0').replace('/', '~1')}", node.child(item))
            for token, item in reversed(list(inner))
            if isinstance(item, (dict, list)) and token not in ("enum", "const", "examples", "default")
        ]
    return None


def size(scope: Scope, most: int) -> int:
    """The number of subschemas of a schema; those behind a reference count again for each reference to them.

    Args:
        scope: The schema.
        most: The limit. It is returned if there are more, and for a recursive schema.
    """
    sizes: dict[Any, int] = {}
    entered: set[Any] = set()
    # Each node is visited twice: first to find the nodes that it leads to, then to add up their sizes.
    waiting: list[tuple[Node, list[Node] | None]] = [(scope.root, None)]
    while waiting:
        node, inner = waiting.pop()
        if inner is not None:
            sizes[node.key] = min(most, 1 + sum(sizes[one.key] for one in inner))
            if sizes[node.key] >= most:
                return most
        elif node.key not in sizes:
            if node.key in entered:
                return most
            entered.add(node.key)
            inner = list(_leads_to(node, scope))
            waiting.append((node, inner))
            waiting += [(one, None) for one in inner]
    return sizes[scope.root.key]


def _leads_to(node: Node, scope: Scope) -> Iterator[Node]:
    value = node.schema
    if isinstance(value, dict):
        for target in node.targets():
            yield scope.root if target is None else target  # a reference that cannot be resolved may lead anywhere
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        if isinstance(item, (dict, list)):
            yield node.child(item)
