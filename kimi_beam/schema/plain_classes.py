"""Finds the classes that validate exactly what their JSON Schema does, so that answers need not go through them.

This is read off pydantic's core schema. The node types listed here mean the same as their JSON Schema and change no
value. A class with any other node, also one of a later pydantic, validates each answer itself.
"""

from __future__ import annotations

from typing import Any

_ANYWHERE = frozenset({"type", "ref", "metadata", "serialization", "schema", "config"})
_KNOWN = {
    "definitions": {"definitions"},
    "definition-ref": {"schema_ref"},
    "model": {"cls", "custom_init", "root_model", "generic_origin", "frozen"},
    "model-fields": {"fields", "model_name", "computed_fields", "extra_behavior"},
    "model-field": {"validation_alias", "serialization_alias", "serialization_exclude", "frozen"},
    "dataclass": {"cls", "fields", "slots", "frozen", "generic_origin"},
    "dataclass-args": {"fields", "dataclass_name", "computed_fields"},
    "dataclass-field": {"name", "kw_only", "frozen", "validation_alias", "serialization_alias"},
    "typed-dict": {"cls", "cls_name", "fields", "computed_fields", "extra_behavior", "total"},
    "typed-dict-field": {"required", "validation_alias", "serialization_alias"},
    "nullable": set(),
    "default": {"default"},
    "list": {"items_schema", "min_length", "max_length"},
    "dict": {"keys_schema", "values_schema"},
    "union": {"choices"},
    "str": {"min_length", "max_length"},
    "int": {"ge", "le", "gt", "lt"},
    "float": {"ge", "le", "gt", "lt"},
    "bool": set(),
    "none": set(),
    "any": set(),
    "literal": {"expected"},
    "enum": {"cls", "members"},
}
_PLAIN_DATE = frozenset({"type", "metadata", "serialization"})
_SETTINGS = frozenset({"title", "frozen", "extra_fields_behavior", "from_attributes", "json_schema_extra"})
_NO_SCHEMAS = frozenset(
    {"metadata", "serialization", "config", "cls", "generic_origin", "default", "members", "expected"}
)


def is_plain(core_schema: Any, *, formats: bool) -> bool | None:
    """Whether a class accepts the same values as its JSON Schema and changes none.

    Args:
        core_schema: `pydantic.TypeAdapter.core_schema` of the class.
        formats: Whether ``format`` asserts, so that the JSON Schema refuses ill-formed dates too.

    Returns:
        None if the only difference is the year 0, which JSON Schema allows in dates and Python does not.
    """
    has_dates = False
    waiting: list[Any] = [core_schema]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, (list, tuple)):
            waiting += node
        elif isinstance(node, dict) and id(node) not in seen:
            seen.add(id(node))
            if "type" in node and isinstance(node["type"], str):
                if formats and node.keys() <= _PLAIN_DATE and node["type"] == "date":
                    has_dates = True
                elif not _is_plain_node(node):
                    return False
                waiting += [inner for key, inner in node.items() if key not in _NO_SCHEMAS]
            else:
                waiting += node.values()  # the fields, by name
    return None if has_dates else True


def _is_plain_node(node: Any) -> bool:
    kind = node["type"]
    known = _KNOWN.get(kind)
    if known is None or not node.keys() <= _ANYWHERE | known or not _SETTINGS.issuperset(node.get("config") or {}):
        return False
    if kind == "model":
        return not node.get("custom_init")
    if kind == "default":
        return bool(node["default"] is None)
    if kind == "dict":
        return bool(node.get("keys_schema", {"type": "str"}) == {"type": "str"})
    if kind == "literal":
        return all(isinstance(value, str) for value in node["expected"])
    if kind == "enum":
        return all(type(member.value) is str for member in node["members"])
    return True


def field_by_path(core_schema: Any) -> str | None:
    """The name of a field that is read only through alias paths into other keys, never from its own; None without any.

    Args:
        core_schema: `pydantic.TypeAdapter.core_schema` of the class.
    """
    waiting: list[tuple[Any, bool]] = [(core_schema, False)]
    seen: set[int] = set()
    while waiting:
        node, reads_names = waiting.pop()
        if isinstance(node, (list, tuple)):
            waiting += [(inner, reads_names) for inner in node]
        elif isinstance(node, dict) and id(node) not in seen:
            seen.add(id(node))
            if node.get("type") in ("model", "dataclass", "typed-dict"):
                config = node.get("config") or {}
                reads_names = bool(config.get("validate_by_name") or config.get("populate_by_name"))
            for key, inner in node.items():
                if key in _NO_SCHEMAS:
                    continue
                if not reads_names and isinstance(inner, dict) and _is_path_alone(inner.get("validation_alias")):
                    return str(inner.get("name", key))
                waiting.append((inner, reads_names))
    return None


def _is_path_alone(alias: Any) -> bool:
    """Whether an alias, as the core schema has it, is paths without a name among them."""
    if not isinstance(alias, list):
        return False
    # One path is a list of keys, whose JSON Schema has the field's own name; choices are a list of such lists.
    return not any(isinstance(path, list) and len(path) == 1 for path in alias)
