"""One schema, three faces: what is asked of the model, what is valid, and which Arrow columns hold it."""

from kimi_beam.schema.output_schema import ADDITIONAL, RESERVED, OutputSchema, SchemaSource, Violation
from kimi_beam.schema.violations import Formats

__all__ = ["ADDITIONAL", "RESERVED", "Formats", "OutputSchema", "SchemaSource", "Violation"]
