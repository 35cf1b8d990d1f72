"""JSON Schema: what is sent to the model, which answers are valid, and which Arrow columns hold them.

Words of this package: a *place* is one subschema, and with it the values that stand there in each answer. A `Shape` is
what the schema says about the values of a place; a `Term` names a place. A value is *set aside* if its typed cell
cannot give it back: it is kept in the column ``_additional`` instead, under its JSON Pointer.
"""

from kimi_beam.schema.output_schema import ADDITIONAL, RESERVED, OutputSchema, SchemaSource, Violation
from kimi_beam.schema.violations import Formats

__all__ = ["ADDITIONAL", "RESERVED", "Formats", "OutputSchema", "SchemaSource", "Violation"]
