"""What an agent is told, in which frames, and when the session ends."""

import asyncio
from collections.abc import Callable

import pytest
from tests.support.frames import text_of
from tests.support.waiting import until

from curta_server.core.events import Named
from curta_server.outbox import ACKS_RIDE, NOTICES_MAX, Outbox, SessionEnded
from curta_wire.codec import decode_from_server
from curta_wire.frames import Ack, Assignment, Attempt, Cancel, Drain, Tasks, Welcome


class Ear:
    """A channel that keeps what is sent; with `deaf` set the peer takes nothing any more."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.closed: tuple[int, str] | None = None
        self.deaf = False
        self.hears = asyncio.Event()
        self.on_part: Callable[[], None] = lambda: None

    async def receive(self) -> str:
        raise NotImplementedError

    async def send(self, text: str) -> None:
        raise NotImplementedError

    def put(self, frame: bytes) -> bool:
        if not self.deaf and (decoded := decode_from_server(text_of(frame))) != WELCOME:
            self.heard.append(decoded)
        return not self.deaf

    async def writable(self) -> None:
        if self.deaf:
            await self.hears.wait()

    async def close(self, code: int, reason: str) -> None:
        if self.deaf:
            await asyncio.Event().wait()
        self.closed = (code, reason)


WELCOME = Welcome(2, 5, 10, [], [], ["http://here"])


def outbox(*, frame_bytes: int = 10_000, ack_delay_s: float = 0.0) -> Outbox:
    """One whose agent is welcome; the welcome itself is not kept by Ear."""
    box = Outbox(frame_bytes=frame_bytes, ack_delay_s=ack_delay_s)
    box.welcome(WELCOME)
    return box


def task(name: str, operand: str = "2") -> Assignment:
    return Assignment(name, 1, "addition", (operand, operand), 0)


async def said(box: Outbox, ear: Ear) -> list[object]:
    """Everything the outbox has to say, up to an orderly end."""
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(_write(box, ear))
        await asyncio.sleep(0.02)
        box.close(1000, "done")
        await writing
    return ear.heard


async def _write(box: Outbox, ear: Ear) -> SessionEnded:
    with pytest.raises(SessionEnded) as ended:
        await box.write(ear)
    return ended.value


async def test_tasks_of_one_push_travel_in_one_numbered_frame() -> None:
    box = outbox()
    box.push([task("a.0"), task("a.1")])
    box.push([task("a.2")])
    assert await said(box, Ear()) == [Tasks(1, [task("a.0"), task("a.1"), task("a.2")])]


async def test_welcome_comes_first_whatever_was_to_be_said_before() -> None:
    box, ear = Outbox(frame_bytes=10_000, ack_delay_s=0.0), Ear()
    writing = asyncio.ensure_future(_write(box, ear))
    await asyncio.sleep(0)
    box.drain()
    box.push([task("a.0")])
    box.ack([], answers=1)
    await asyncio.sleep(0.01)
    assert ear.heard == []
    welcome = Welcome(1, 2, 3, [], [], [])
    box.welcome(welcome)
    assert ear.heard == [welcome, Drain(), Tasks(1, [task("a.0")]), Ack([])]
    box.close(1000, "done")
    await writing


async def test_a_session_can_end_before_its_welcome() -> None:
    box, ear = Outbox(frame_bytes=10_000, ack_delay_s=0.0), Ear()
    writing = asyncio.ensure_future(_write(box, ear))
    await asyncio.sleep(0)
    box.close(4003, "removed")
    assert (await writing).code == 4003


async def test_frames_are_split_where_they_grow_too_large() -> None:
    box = outbox(frame_bytes=5_000)
    pushed = [task(f"a.{k}", "9" * 1_000) for k in range(5)]
    box.push(pushed)
    frames = await said(box, Ear())
    assert [frame.n for frame in frames if isinstance(frame, Tasks)] == [1, 2, 3]
    assert [one for frame in frames if isinstance(frame, Tasks) for one in frame.tasks] == pushed


async def test_one_task_larger_than_a_frame_goes_alone() -> None:
    box = outbox(frame_bytes=100)
    box.push([task("a.0", "9" * 500), task("a.1")])
    assert [len(frame.tasks) for frame in await said(box, Ear()) if isinstance(frame, Tasks)] == [1, 1]


async def test_a_push_is_seen_when_its_last_frame_is() -> None:
    box = outbox(frame_bytes=5_000)
    box.push([task(f"a.{k}", "9" * 1_000) for k in range(4)])  # two frames
    box.push([task("b.0")])  # rides in the second
    await said(box, Ear())
    assert [box.seen(frame) for frame in (0, 1, 2)] == [0, 0, 2]


async def test_many_acks_ride_along_with_the_next_tasks() -> None:
    box = outbox(ack_delay_s=3600)
    box.ack([Named("a.0", n) for n in range(ACKS_RIDE)])
    box.push([task("a.1")])
    frames = await said(box, Ear())
    assert frames == [Tasks(1, [task("a.1")]), Ack([Attempt("a.0", n) for n in range(ACKS_RIDE)])]


async def test_few_acks_do_not_cost_a_frame_for_each_of_tasks() -> None:
    box = outbox(ack_delay_s=3600)
    box.ack([Named("a.0", 7)])
    box.push([task("a.1")])
    assert await said(box, Ear()) == [Tasks(1, [task("a.1")])]


async def test_acks_without_company_follow_after_the_delay() -> None:
    box = outbox(ack_delay_s=0.001)
    box.ack([Named("a.0", 7)])
    assert await said(box, Ear()) == [Ack([Attempt("a.0", 7)])]


async def test_acks_wait_for_their_delay() -> None:
    box = outbox(ack_delay_s=3600)
    box.ack([Named("a.0", 7)])
    assert await said(box, Ear()) == []


async def test_a_heartbeat_is_answered_at_once_and_with_everything() -> None:
    box = outbox(ack_delay_s=3600)
    box.ack([Named("a.0", 7)])
    box.ack([], answers=1)
    assert await said(box, Ear()) == [Ack([Attempt("a.0", 7)])]


async def test_a_heartbeat_without_news_is_answered_too() -> None:
    box = outbox(ack_delay_s=3600)
    box.ack([], answers=1)
    assert await said(box, Ear()) == [Ack([])]


async def test_each_heartbeat_is_answered_by_an_ack_of_its_own() -> None:
    box = outbox(ack_delay_s=3600)
    box.ack([Named("a.0", 7)], answers=2)
    box.ack([], answers=1)
    assert await said(box, Ear()) == [Ack([Attempt("a.0", 7)]), Ack([]), Ack([])]


async def test_an_ack_that_waits_for_its_delay_goes_with_the_answer_to_a_heartbeat() -> None:
    box = outbox(ack_delay_s=0.001)
    box.ack([Named("a.0", 7)])
    box.ack([Named("a.0", 8)], answers=1)
    assert await said(box, Ear()) == [Ack([Attempt("a.0", 7), Attempt("a.0", 8)])]


async def test_cancels_go_out_before_tasks() -> None:
    box = outbox()
    box.push([task("a.1")])
    box.cancel([Named("a.0", 7)])
    assert await said(box, Ear()) == [Cancel([Attempt("a.0", 7)]), Tasks(1, [task("a.1")])]


async def test_what_is_cancelled_before_it_was_sent_is_never_sent() -> None:
    box = outbox()
    box.push([task("a.0"), task("a.1")])
    assert box.cancel([Named("a.0", 1), Named("a.9", 1)]) == [Named("a.0", 1)]
    assert await said(box, Ear()) == [Cancel([Attempt("a.9", 1)]), Tasks(1, [task("a.1")])]


async def test_a_push_of_which_nothing_is_left_counts_as_seen_in_its_turn() -> None:
    box = outbox(frame_bytes=5_000)
    pushed = [task(f"a.{k}", "9" * 1_000) for k in range(4)]  # two frames
    box.push(pushed)
    box.push([task("b.0")])
    box.push([task("c.0", "9" * 2_000)])
    assert box.cancel([Named("b.0", 1)]) == [Named("b.0", 1)]
    frames = await said(box, Ear())
    assert [one for frame in frames if isinstance(frame, Tasks) for one in frame.tasks] == [
        *pushed, task("c.0", "9" * 2_000),
    ]  # fmt: skip
    assert [box.seen(frame) for frame in (1, 2, 3)] == [0, 2, 3]


async def test_a_push_cancelled_whole_is_seen_at_once() -> None:
    box = outbox()
    box.push([task("a.0"), task("a.1")])
    box.cancel([Named("a.0", 1), Named("a.1", 1)])
    assert box.seen(0) == 1
    assert await said(box, Ear()) == []


async def test_frames_that_were_never_sent_cannot_be_seen() -> None:
    box = outbox()
    box.push([task("a.0")])
    assert box.seen(1_000_000) == 0
    await said(box, Ear())
    assert box.seen(1_000_000) == 1


async def test_the_session_ends_with_the_close_that_was_asked_for() -> None:
    box, ear = outbox(), Ear()
    box.close(4003, "removed")
    box.close(1001, "too late to matter")
    ended = await _write(box, ear)
    assert (ended.code, ear.closed) == (4003, (4003, "removed"))


async def test_a_session_that_is_to_end_later_ends_then_unless_it_ended_before() -> None:
    box, ear = outbox(), Ear()
    box.close_after(0.01, 1000, "it said bye")
    box.close_after(3600, 1000, "again")
    assert (await _write(box, ear)).code == 1000
    box, ear = outbox(), Ear()
    box.close_after(3600, 1000, "it said bye")
    box.close(4003, "removed")
    assert (await _write(box, ear)).code == 4003
    assert box._end_timer is not None and box._end_timer.cancelled()


async def test_a_peer_that_takes_nothing_is_not_waited_for() -> None:
    box, ear = outbox(), Ear()
    ear.deaf = True
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(_write(box, ear))
        box.push([task("a.0")])
        await until(lambda: not box._wake.is_set())
        box.close(1001, "nothing heard")
        async with asyncio.timeout(10):
            assert (await writing).code == 1001


async def test_what_is_said_is_written_at_once_and_in_order_where_the_peer_takes_it() -> None:
    box, ear = outbox(), Ear()
    writing = asyncio.ensure_future(_write(box, ear))
    await asyncio.sleep(0)
    box.push([task("a.0")])
    assert ear.heard == [Tasks(1, [task("a.0")])], "no loop turned since"
    ear.deaf = True
    box.push([task("a.1")])
    box.push([task("a.2")])
    box.drain()
    ear.deaf = False
    box.cancel([Named("a.0", 1)])
    assert len(ear.heard) == 1, "what could not be written comes first"
    ear.hears.set()
    await until(lambda: len(ear.heard) == 5)
    assert ear.heard[1:] == [
        Tasks(2, [task("a.1")]), Drain(), Cancel([Attempt("a.0", 1)]), Tasks(3, [task("a.2")]),
    ]  # fmt: skip
    box.close(1000, "done")
    await writing


async def test_unread_notices_do_not_pile_up_for_ever() -> None:
    box, ear = outbox(), Ear()
    for _ in range(NOTICES_MAX + 1):
        box.drain()
    assert (await _write(box, ear)).code == 1013
