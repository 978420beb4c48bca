import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop
from tests.unit.wire import offloaded

from curta_wire.offload import Offload, OffloadClosed, OffloadFailed, OffloadFull

DEADLINE_S = 30


@pytest_asyncio.fixture
async def offload() -> AsyncIterator[Offload]:
    offload = Offload(workers=2, waiting_max=2)
    yield offload
    offload.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.005)


async def announced(directory: Path, processes: int = 1) -> list[int]:
    """The ids of the processes that paused, once there are that many."""
    await until(lambda: len(os.listdir(directory)) == processes)
    return [int(name) for name in os.listdir(directory)]


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_function_runs_in_another_process_and_its_value_comes_back(offload: Offload) -> None:
    assert await offload.run(os.getpid) != os.getpid()
    assert await offload.run(divmod, 17, 5) == (3, 2)


async def test_a_child_serves_one_call_after_the_other(offload: Offload) -> None:
    assert await offload.run(os.getpid) == await offload.run(os.getpid)


async def test_calls_run_side_by_side_in_as_many_children_as_there_are_workers(
    offload: Offload, tmp_path: Path
) -> None:
    calls = [asyncio.create_task(offload.run(offloaded.announce_and_pause, str(tmp_path))) for _ in range(2)]
    assert len(set(await announced(tmp_path, processes=2))) == 2
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_child_imports_nothing_it_does_not_need(offload: Offload) -> None:
    modules = await offload.run(eval, "list(__import__('sys').modules)")
    heavy = {"asyncio", "gmpy2", "msgspec", "multiprocessing", "pytest", "subprocess", "concurrent.futures"}
    assert heavy.isdisjoint(modules)
    assert [name for name in modules if name.startswith("curta")] == [
        "curta_wire",
        "curta_wire.offload_child",
    ]


async def test_what_the_function_raises_is_raised_with_the_traceback_of_the_child(offload: Offload) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        await offload.run(divmod, 1, 0)
    assert "In a child process" in caught.value.__notes__[0]


async def test_an_exception_that_cannot_be_pickled_arrives_as_its_text(offload: Offload) -> None:
    with pytest.raises(RuntimeError, match="OddError: nonsense at 3"):
        await offload.run(offloaded.fail_oddly)


async def test_a_function_that_cannot_be_pickled_is_refused_and_hurts_nobody(offload: Offload) -> None:
    with pytest.raises((AttributeError, TypeError)):
        await offload.run(lambda: None)
    assert await offload.run(divmod, 7, 2) == (3, 1)


async def test_long_arguments_and_values_pass(offload: Offload) -> None:
    text = "1+" * 10_000_000
    assert await offload.run(str.upper, text) == text


async def test_printing_does_not_disturb_the_answers(offload: Offload) -> None:
    await offload.run(print, "a line for standard error")
    assert await offload.run(divmod, 7, 2) == (3, 1)


async def test_a_call_whose_child_is_killed_is_repeated_in_a_new_one(
    offload: Offload, tmp_path: Path
) -> None:
    call = asyncio.create_task(offload.run(offloaded.pause_the_first_time, str(tmp_path)))
    (first,) = await announced(tmp_path)
    os.kill(first, signal.SIGKILL)
    second = await call
    assert second != first
    assert await offload.run(os.getpid) == second


async def test_killing_one_child_leaves_the_calls_of_the_others_alone(
    offload: Offload, tmp_path: Path
) -> None:
    victims, bystanders = tmp_path / "victims", tmp_path / "bystanders"
    victims.mkdir()
    bystanders.mkdir()
    bystander = asyncio.create_task(offload.run(offloaded.announce_and_pause, str(bystanders)))
    await announced(bystanders)
    victim = asyncio.create_task(offload.run(offloaded.pause_the_first_time, str(victims)))
    os.kill((await announced(victims))[0], signal.SIGKILL)
    await victim
    assert not bystander.done()
    assert len(await announced(bystanders)) == 1
    bystander.cancel()


async def test_a_child_killed_while_idle_is_replaced_without_using_up_the_repetition(
    offload: Offload, tmp_path: Path
) -> None:
    idle = await offload.run(os.getpid)
    os.kill(idle, signal.SIGKILL)
    # It has ended, and nobody was told yet.
    await asyncio.to_thread(os.waitid, os.P_PID, idle, os.WEXITED | os.WNOWAIT)
    call = asyncio.create_task(offload.run(offloaded.pause_the_first_time, str(tmp_path)))
    (first,) = await announced(tmp_path)
    os.kill(first, signal.SIGKILL)
    assert await call not in (idle, first)


async def test_a_call_that_kills_its_child_every_time_fails_and_the_next_one_is_served(
    offload: Offload,
) -> None:
    with pytest.raises(OffloadFailed):
        await offload.run(offloaded.die)
    assert await offload.run(divmod, 7, 2) == (3, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_child_takes_no_notice_of_a_signal_meant_for_everybody(offload: Offload, number: int) -> None:
    assert await offload.run(offloaded.shrug_off, number) == "still here"


async def test_more_calls_than_may_wait_are_refused(tmp_path: Path) -> None:
    offload = Offload(workers=1, waiting_max=1)
    running = asyncio.create_task(offload.run(offloaded.announce_and_pause, str(tmp_path)))
    await announced(tmp_path)
    waiting = asyncio.create_task(offload.run(divmod, 7, 2))
    await asyncio.sleep(0)
    with pytest.raises(OffloadFull):
        await offload.run(divmod, 9, 2)
    running.cancel()
    assert await waiting == (3, 1)
    assert await offload.run(divmod, 9, 2) == (4, 1)
    offload.close()


async def test_cancelling_a_call_ends_its_child_and_frees_its_place(tmp_path: Path) -> None:
    offload = Offload(workers=1, waiting_max=0)
    call = asyncio.create_task(offload.run(offloaded.spin, str(tmp_path)))
    (process,) = await announced(tmp_path)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: is_gone(process))
    assert await offload.run(divmod, 7, 2) == (3, 1)
    offload.close()


async def test_a_call_cancelled_while_it_waits_never_runs(tmp_path: Path) -> None:
    offload = Offload(workers=1, waiting_max=1)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    running = asyncio.create_task(offload.run(offloaded.announce_and_pause, str(first)))
    await announced(first)
    waiting = asyncio.create_task(offload.run(offloaded.count, str(second)))
    await asyncio.sleep(0)
    waiting.cancel()
    running.cancel()
    await asyncio.gather(waiting, running, return_exceptions=True)
    assert await offload.run(offloaded.count, str(second)) == 1
    offload.close()


async def test_close_leaves_no_process_and_ends_every_call(tmp_path: Path) -> None:
    offload = Offload(workers=2, waiting_max=1)
    calls = [asyncio.create_task(offload.run(offloaded.announce_and_pause, str(tmp_path))) for _ in range(3)]
    processes = await announced(tmp_path, processes=2)
    offload.close()
    assert all(is_gone(process) for process in processes)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OffloadClosed] * 3
    with pytest.raises(OffloadClosed):
        await offload.run(os.getpid)
    offload.close()


async def test_close_ends_idle_children_too() -> None:
    offload = Offload(workers=1, waiting_max=0)
    process = await offload.run(os.getpid)
    offload.close()
    assert is_gone(process)


def test_children_vanish_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent("""
                import asyncio, os, sys
                sys.path[:] = sys.argv[2:]
                from curta_wire.offload import Offload
                from tests.unit.wire import offloaded

                async def main():
                    offload = Offload(2, 0)
                    busy = asyncio.create_task(offload.run(offloaded.spin, sys.argv[1]))
                    await asyncio.create_task(offload.run(os.getpid))  # the other child is idle
                    await busy

                asyncio.run(main())
            """),
            str(tmp_path),
            *sys.path,
        ],
        stderr=subprocess.PIPE,
    )
    assert parent.stderr is not None
    deadline = time.monotonic() + DEADLINE_S
    while not list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        assert parent.poll() is None
    parent.kill()
    # Standard error is the children's too: it ends when the last of them has.
    assert parent.stderr.read() == b""
    parent.stderr.close()
    parent.wait()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_works_on_either_event_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    async def scenario() -> None:
        offload = Offload(workers=1, waiting_max=1)
        call = asyncio.create_task(offload.run(offloaded.pause_the_first_time, str(tmp_path)))
        (first,) = await announced(tmp_path)
        os.kill(first, signal.SIGKILL)
        second = await call
        assert await offload.run(divmod, 7, 2) == (3, 1)
        offload.close()
        assert is_gone(second)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())
