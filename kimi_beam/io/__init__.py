"""Documents in, rows and dead letters out: the pipeline's two ends, on any filesystem that Beam knows."""

from kimi_beam.io.dataset import WriteDataset
from kimi_beam.io.dead_letters import WriteDeadLetters
from kimi_beam.io.documents import ReadDocuments
from kimi_beam.io.parquet import WriteParquet
from kimi_beam.io.read_dead_letters import ReadDeadLetters

__all__ = ["ReadDeadLetters", "ReadDocuments", "WriteDataset", "WriteDeadLetters", "WriteParquet"]
