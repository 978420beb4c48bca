"""What the topic `stats` shows: the points of GET /stats, and the orchestrators. Made by `live`."""

from typing import Final

import msgspec

from curta_server.api.statistics import shown_point
from curta_server.sources import Items
from curta_server.stats_board import StatsBoard
from curta_server.views import Second

_encoder: Final = msgspec.json.Encoder()


class StatsSource:
    """The last minutes, oldest first, and the orchestrators after them."""

    pace_s = 1.0
    always = True

    def __init__(self, board: StatsBoard) -> None:
        self._board = board
        self._points: dict[int, tuple[str, bytes]] = {}
        """By time: the points' keys and what they are, encoded once."""

    async def items(self) -> Items:
        seconds = await self._board.seconds()
        points = {second.at_us: self._points.get(second.at_us) or _encoded(second) for second in seconds}
        self._points = points
        items = dict(points.values())
        items.update({one.id: _encoder.encode(one) for one in self._board.orchestrators()})
        return Items(items)


def _encoded(second: Second) -> tuple[str, bytes]:
    """The key is the time as it stands in the JSON."""
    point = shown_point(second)
    return _encoder.encode(point.at).decode().strip('"'), _encoder.encode(point)
