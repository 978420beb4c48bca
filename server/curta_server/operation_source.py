"""What the topic `operations` shows: the operations and how long they take. Made by `live`."""

from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server.api.operations import shown_operations
from curta_server.sources import PACE_S, Items

_encoder: Final = msgspec.json.Encoder()


class OperationSource:
    """All operations."""

    pace_s = PACE_S
    always = False

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def items(self) -> Items:
        return Items({one.name: _encoder.encode(one) for one in await shown_operations(self._engine)})
