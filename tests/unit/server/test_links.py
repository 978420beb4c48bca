"""Which session of an agent is the current one, and which is told what the scheduler says."""

import asyncio
from uuid import uuid4

import pytest

from curta_server.links import Links
from curta_server.pull_link import PullLink
from curta_server.roster import Guest
from curta_wire.frames import OPERATIONS

AGENT = str(uuid4())


def add(links: Links, agent: str = AGENT) -> PullLink:
    guest = Guest(id=agent, name="a", token_id=AGENT, owner="a", slots=1, operations=OPERATIONS, pulls=True)
    link = PullLink(links.next_number(), guest, asyncio.Lock())
    links.add(link)
    return link


def test_the_latest_session_is_the_current_one_until_it_ends() -> None:
    links = Links()
    first, second = add(links), add(links)
    assert first.number < second.number
    assert links.current(AGENT) is second
    assert list(links) == [first, second] and links.numbered(first.number) is first
    links.discard(first)
    assert links.current(AGENT) is second and len(links) == 1
    links.discard(second)
    links.discard(second)
    assert links.current(AGENT) is None and not links and links.numbered(second.number) is None


def test_sessions_may_end_while_they_are_gone_through() -> None:
    links = Links()
    for _ in range(3):
        add(links, str(uuid4()))
    for link in links:
        links.discard(link)
    assert not links


@pytest.mark.parametrize(("known", "is_told"), [(None, True), (2, True), (1, False)])
def test_a_session_that_the_scheduler_has_not_heard_of_is_told_nothing(
    known: int | None, is_told: bool
) -> None:
    links = Links()
    _, link = add(links), add(links)
    assert links.heard_of(AGENT, known) is (link if is_told else None)
    assert links.heard_of(str(uuid4()), known) is None
