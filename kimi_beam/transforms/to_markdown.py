"""`ToMarkdown`: reads files by Workers AI's Markdown conversion, in place of the readers on the workers."""

from __future__ import annotations

import atexit
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kimi_beam.errors import ConfigError
from kimi_beam.files.compressed_files import uncompressed_name
from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.network.client import Client
from kimi_beam.network.shared_clients import connect, disconnect
from kimi_beam.service.per_process import PerProcess
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire import markdown_conversion
from kimi_beam.wire.markdown_conversion import Converted, NotAnswered, NotConverted
from kimi_beam.wire.service_errors import Remedy

_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each repetition of a request that was not answered. A conversion may be repeated: it is mostly free,
and nothing is kept of it."""
_LONGEST_PAUSE = 60.0
_LONGEST_WAIT = 600.0
"""Seconds for which a file waits in all while the service says that it is too busy, which is no failed attempt."""
_REPEATED = (Remedy.RETRY, Remedy.WAIT, Remedy.TIMEOUT)
_FILES_AT_ONCE = 16

_clients = PerProcess[Client]()


def _connected(service: WorkersAI) -> Client:
    """A client that is open until the process ends, because a reader is not told which file is the last."""
    client = connect(service, b"", _FILES_AT_ONCE)
    atexit.register(disconnect, client)
    return client


@dataclass(frozen=True)
class ToMarkdown:
    """A reader for `ReadDocuments` that sends each file to Workers AI and takes the Markdown that comes back.

    The service reads PDFs by their text layer, office files, web pages and tables. A picture is described by a model
    and not transcribed, and that is billed: so pictures are left to the reader on the worker, which sends them as
    pictures. So are all other kinds that the service does not convert, and files larger than 4 MB.

    Example:
        >>> reader = kb.ToMarkdown(service)
        >>> reader(b"<p>Order 17: 3 chairs</p>", "in/order.html")
        'Order 17: 3 chairs'
        >>> documents = kb.ReadDocuments("in/*.txt", reader=reader)

    Args:
        service: The service and its token. Its model and API play no part.

    Raises:
        ConfigError: The service is not Workers AI: other servers have no such conversion.
    """

    service: WorkersAI
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.service.is_elsewhere:
            raise ConfigError("ToMarkdown: only Workers AI converts files to Markdown, and this is another service")

    def __call__(self, content: bytes, path: str) -> str | None:
        """Reads one file.

        Args:
            content: The bytes of the file.
            path: Its path, whose suffix says which kind it is.

        Returns:
            Its text in Markdown; None if it is left to the reader on the worker.

        Raises:
            UnreadableError: The service cannot convert the file, or did not answer.
            AccountError: The service turns token or account away.
        """
        path = uncompressed_name(path)
        suffix = path[path.rfind(".") :] if "." in path else ""
        media_type = markdown_conversion.SUFFIXES.get(suffix)
        if media_type is None or media_type.startswith("image/") or len(content) > markdown_conversion.MOST_BYTES:
            return None
        # A file's own name could hold characters that a multipart header cannot, and it may say more than the service
        # has to know.
        name = f"{hashlib.blake2b(content, digest_size=8).hexdigest()}{suffix}"
        content_type, body = markdown_conversion.encode(name, content)
        failed, waited = 0, 0.0
        while True:
            exchange = self._client.convert(body, content_type)
            conversion = markdown_conversion.decode(exchange, name, time.time())
            if isinstance(conversion, Converted):
                return conversion.text
            if isinstance(conversion, NotConverted):
                raise UnreadableError("reader_failed", f"cannot be converted by Workers AI: {conversion.message}")
            remedy = self._remedy(conversion)
            if not (remedy in _REPEATED and failed < len(_PAUSES) and waited < _LONGEST_WAIT):
                raise UnreadableError("reader_failed", f"was not converted by Workers AI: {conversion.message}")
            asked = conversion.error.retry_after if conversion.error else None
            pause = min(max(_PAUSES[failed], asked or 0.0), _LONGEST_PAUSE)
            self.sleep(pause)
            if remedy is Remedy.WAIT:
                waited += pause
            else:
                failed += 1

    @property
    def _client(self) -> Client:
        service = self.service
        token = service.token_from if isinstance(service.token_from, str) else id(service.token_from)
        return _clients.get((service.markdown_url, token), lambda: _connected(service))

    def _remedy(self, conversion: NotAnswered) -> Remedy:
        if conversion.error is None:
            return Remedy.RETRY
        if conversion.error.remedy is Remedy.ACCOUNT:
            raise self.service.account_error(conversion.error)
        return conversion.error.remedy
