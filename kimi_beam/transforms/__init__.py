"""Beam's side of the flow: the transform that users apply, and the DoFns that it wires together."""

from kimi_beam.transforms.extract import Extract

__all__ = ["Extract"]
