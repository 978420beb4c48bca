"""Waiting for an expression to be final."""

import asyncio

from curta_server.feed import Feed


async def test_a_watch_wakes_when_its_expression_is_final() -> None:
    feed = Feed()
    with feed.watch("a") as watch:
        feed.publish_final("a")
        async with asyncio.timeout(5):
            await watch.wait(60)


async def test_a_watch_sleeps_through_others_ends() -> None:
    feed = Feed()
    with feed.watch("a") as watch:
        feed.publish_final("b")
        began = asyncio.get_running_loop().time()
        await watch.wait(0.02)
        assert asyncio.get_running_loop().time() - began >= 0.015


async def test_nothing_is_kept_of_watches_that_ended() -> None:
    feed = Feed()
    with feed.watch("a"), feed.watch("a"):
        assert feed._watches
    assert not feed._watches


async def test_nobody_waits_any_more_when_the_process_stops() -> None:
    feed = Feed()
    async with asyncio.timeout(5):
        with feed.watch("a") as before:
            feed.end()
            await before.wait(60)
        with feed.watch("a") as after:
            await after.wait(60)
