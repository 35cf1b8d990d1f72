"""Documents in, rows and dead letters out: the pipeline's two ends, on any filesystem that Beam knows."""

from kimi_beam.io.continuous import ReadContinuously
from kimi_beam.io.dataset import WriteDataset
from kimi_beam.io.dead_letters import WriteDeadLetters
from kimi_beam.io.documents import ReadDocuments
from kimi_beam.io.parquet import WriteParquet
from kimi_beam.io.partitions import Rolling
from kimi_beam.io.read_dead_letters import ReadDeadLetters
from kimi_beam.io.stream import WriteStream

__all__ = [
    "ReadContinuously",
    "ReadDeadLetters",
    "ReadDocuments",
    "Rolling",
    "WriteDataset",
    "WriteDeadLetters",
    "WriteParquet",
    "WriteStream",
]
