"""A peer that is gone in the middle of a frame, and those who hear of it later."""

from collections.abc import Callable

import pytest

from curta_server.channel import PeerGone
from curta_server.core.events import Named
from curta_server.outbox import Outbox
from curta_wire.frames import Welcome


class Broken:
    """A channel whose peer is gone: the first frame finds out."""

    on_part: Callable[[], None]

    async def receive(self) -> str:
        raise AssertionError("nobody reads here")

    async def send(self, text: str) -> None:
        raise AssertionError("nobody sends here")

    def put(self, frame: bytes) -> bool:
        return False

    async def writable(self) -> None:
        raise PeerGone(1006, "")

    async def close(self, code: int, reason: str) -> None:
        raise AssertionError("there is nobody to tell")


async def test_closing_a_session_whose_peer_was_gone_in_the_middle_of_a_frame_does_nothing() -> None:
    outbox = Outbox(frame_bytes=1000, ack_delay_s=0)
    outbox.welcome(Welcome(1, 2, 3, [], [], []))
    outbox.cancel([Named("x.1", 1)])
    with pytest.raises(PeerGone):
        await outbox.write(Broken())
    # The dispatcher may not have heard yet that the session is over.
    outbox.close(1001, "nothing heard")
    outbox.ack([("x.1", 1)], answers=1)
