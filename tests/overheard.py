"""A way to a service on which everything that is said is kept."""

from __future__ import annotations

from door import Door
from scripted import Asked, Reply


class Overheard(Door):
    """Hands requests on to a service.

    Attributes:
        bodies: The bodies of all requests.
        heads: Their headers, as text.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.bodies: list[bytes] = []
        self.heads: list[str] = []

    async def _hand_on(self, asked: Asked) -> Reply:
        self.bodies.append(asked.body)
        self.heads.append(f"{asked.path} {asked.headers}")
        return await super()._hand_on(asked)
