"""The exceptions of kimi_beam, sorted by whose fault it is and whether running again would help.

::

    KimiBeamError
    ├── UserError            the user's mistake; said in one line, before anything is paid for. Exit code 2.
    │   ├── SchemaError      the schema cannot be read, compiled or mapped
    │   ├── InputError       the input matches nothing, or is of a kind that cannot be read
    │   ├── OutputError      the output cannot be written, or holds a finished run
    │   └── ConfigError      credentials, service or options are missing or contradict each other
    │       └── ElementTypeError  elements of a wrong type reach a transform (`kimi_beam.beam_extensions.element_types`)
    ├── StateError           the runner's state, or a batch in it, was written by another version of kimi_beam
    ├── ConservationError    more or fewer documents left than came in: the runner lost or doubled results
    ├── UnmetSchemaError     the service cannot meet the schema with any document (5024): nothing more is sent
    ├── AccountError         the service turns the whole account, token or model away: every submit would fail
    ├── JournalError         a file of the journal cannot be read (`kimi_beam.journal.records`)
    ├── DeadLetterError      a dead letter is of an unknown version (`kimi_beam.results.dead_letter_lines`)
    └── ReadingProcessError  no process that reads files can be started (`kimi_beam.input.reading_process`)

The four that name a module are defined there.

An exception concerns the whole pipeline. Trouble with a single document is a `kimi_beam.types.failure.Failure`, which
is a value. No message holds a token.
"""

from __future__ import annotations


class KimiBeamError(Exception):
    """Anything that kimi_beam raises on purpose. Its text is one line for a person."""


class UserError(KimiBeamError):
    """The user's mistake: nothing was sent, nothing was paid for.

    Example:
        >>> try:
        ...     kb.Polling(first=0.0)
        ... except kb.UserError as mistake:
        ...     print(mistake)
        Polling: first must be above 0 and at most ceiling, and ceiling finite
    """


class SchemaError(UserError):
    """The schema is no JSON, no valid JSON Schema, or cannot be compiled."""


class InputError(UserError):
    """The input matches nothing, or is of a kind that cannot be read."""


class OutputError(UserError):
    """The output cannot be written, or already holds a finished run."""


class ConfigError(UserError):
    """A setting is missing, malformed, or contradicts another."""


class StateError(KimiBeamError):
    """A running pipeline's state was written by another version of kimi_beam, which this one does not read."""

    @classmethod
    def of(cls, name: str, version: object, readable: tuple[int, ...]) -> StateError:
        """The error for a piece of state whose version this kimi_beam does not read.

        Args:
            name: A name for the piece, such as "a batch".
            version: The version that was found in it.
            readable: The versions that this kimi_beam reads, in ascending order.
        """
        versions = list(map(str, readable))
        reads = " and ".join((", ".join(versions[:-1]), versions[-1])) if len(versions) > 1 else versions[0]
        return cls(
            f"the pipeline's state holds {name} of version {version}, and this kimi_beam reads {reads}: go on with the "
            "kimi_beam that wrote it or a later one, or drain the job with that and start it anew"
        )


class ConservationError(KimiBeamError):
    """The documents that left are not those that came in: the runner lost or doubled some.

    `WriteDataset` raises it before it names any file, so that nothing was written. `Extract` compares for itself while
    its results go on: if it raises it, what was written is not complete.
    """


class UnmetSchemaError(KimiBeamError):
    """The service met the schema for none of the documents that were tried, in no way of asking for JSON (5024)."""


class AccountError(KimiBeamError):
    """The service refuses every request of this token, account or model.

    Attributes:
        code: Cloudflare's internal code, None if there was only an HTTP status, such as 401.
        status: The HTTP status.
    """

    def __init__(self, message: str, *, code: int | None, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        """Keeps the keyword arguments when a worker process hands the error over."""
        return _account_error, (str(self), self.code, self.status)


def _account_error(message: str, code: int | None, status: int) -> AccountError:
    return AccountError(message, code=code, status=status)
