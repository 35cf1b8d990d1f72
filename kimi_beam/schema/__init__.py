"""One schema, three faces: what is asked of the model, what is valid, and which Arrow columns hold it."""

from kimi_beam.schema.output_schema import ADDITIONAL, RESERVED, OutputSchema, SchemaSource, Violation

__all__ = ["ADDITIONAL", "RESERVED", "OutputSchema", "SchemaSource", "Violation"]
