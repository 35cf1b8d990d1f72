"""The exceptions of kimi_beam: whose fault is it, and would doing it again help?

::

    KimiBeamError
    ├── UserError            the user's mistake; said in one line, before anything is paid for. Exit code 2.
    │   ├── SchemaError      the schema cannot be read, compiled or mapped
    │   ├── InputError       the input matches nothing, or is of a kind that cannot be read
    │   ├── OutputError      the output cannot be written, or holds a finished run
    │   └── ConfigError      credentials, service or options are missing or contradict each other
    ├── StateError           the runner's state, or a batch in it, was written by another version of kimi_beam
    ├── ConservationError    more or fewer documents left than came in: the runner lost or doubled results
    ├── UnmetSchemaError     the service cannot meet the schema with any document (5024): nothing more is sent
    └── AccountError         the service turns the whole account, token or model away: every submit would fail

Exceptions are for the pipeline. What concerns a single document is a `kimi_beam.types.Failure`, never an exception.
No message holds a token.
"""

from __future__ import annotations


class KimiBeamError(Exception):
    """Anything that kimi_beam raises on purpose. Its text is one line for a person."""


class UserError(KimiBeamError):
    """The user's mistake: nothing was sent, nothing was paid for."""


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
    def of(cls, what: str, version: object, known: tuple[int, ...]) -> StateError:
        """The error about something of a version that is not known."""
        reads = " and ".join((", ".join(map(str, known[:-1])), str(known[-1]))) if len(known) > 1 else str(known[0])
        return cls(
            f"the pipeline's state holds {what} of version {version}, and this kimi_beam reads {reads}: go on with the "
            "kimi_beam that wrote it or a later one, or drain the job with that and start it anew"
        )


class ConservationError(KimiBeamError):
    """The documents that left are not as many as came in: the runner lost or doubled some. Nothing was written."""


class UnmetSchemaError(KimiBeamError):
    """The service cannot meet the schema in any way of asking for it, with no document that was tried."""


class AccountError(KimiBeamError):
    """The service turns every request of this token, account or model away.

    Attributes:
        code: Cloudflare's internal code, None for a bare HTTP 401.
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
