"""Agents that beat, fall silent, close, or are removed: whose tasks are handed out again, and when."""

from tests.support.stage import Stage, named

from curta_server.core.events import Removed, Ticked
from curta_server.core.execution import READY, RUNNING

# --- beats ---


def test_a_frame_that_crosses_a_heartbeat_harms_nothing() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    assert not stage.beat("a", held=[], seen=0).pushes, "it cannot know of the frame yet"
    assert it.state[0] == RUNNING
    run = stage.only("a")
    stage.answer(run)
    stage.store()
    assert stage.ends[it.id].value == "3"


def test_a_half_deaf_agent_is_found_out() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    it = stage.submit("1+2")
    (holder,) = stage.computing(it)
    commands = stage.beat(holder, held=[], seen=1)
    ((agent, (run,)),) = commands.pushes.items()
    assert run.attempt == (3 << 20) + 2, "ready at once, as another attempt"
    assert agent in "ab"


def test_a_frame_not_read_for_the_lease_loses_the_agent_though_it_beats() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    it = stage.submit("1+2")
    (deaf,) = stage.computing(it)
    for _ in range(5):
        stage.now += 2
        stage.do(stage.beat_of(deaf, [], 0), stage.beat_of("ab".replace(deaf, "")), Ticked())
    assert stage.computing(it) == [deaf]
    stage.now += 0.2
    commands = stage.do(Ticked())
    assert commands.lost == [deaf] and [closed.code for closed in commands.closes] == [1001]
    assert stage.computing(it) == ["ab".replace(deaf, "")]


def test_every_heartbeat_is_answered() -> None:
    stage = Stage()
    stage.join("a")
    commands = stage.beat("a")
    assert (commands.acks, commands.beats) == ({"a": []}, {"a": 1})


def test_each_of_several_heartbeats_of_one_turn_is_answered() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    commands = stage.do(stage.beat_of("a"), stage.beat_of("b"), stage.beat_of("a"))
    assert (commands.acks, commands.beats) == ({"a": [], "b": []}, {"a": 2, "b": 1})


def test_what_nobody_wants_is_cancelled_by_the_second_beat_that_names_it() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    run = stage.only("a")
    stage.answer(run)
    stage.store()
    assert it.id not in stage.scheduler.executions
    assert not stage.beat("a", [named(run)]).cancels, "the beat may have crossed the ack"
    assert stage.beat("a", [named(run)]).cancels == {"a": [named(run)]}


def test_two_beats_with_another_between_them_do_not_cancel() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    run = stage.only("a")
    stage.answer(run)
    stage.store()
    for held in ([named(run)], [], [named(run)]):
        assert not stage.beat("a", held).cancels


def test_an_agent_that_names_two_attempts_of_one_task_keeps_the_newer() -> None:
    """Its failure was answered and the ack is on its way, while the task was handed to it again."""
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    first = stage.only("a")
    stage.answer(first, error="out_of_memory")
    second = stage.only("a")
    commands = stage.beat("a", [named(second), named(first)])
    assert not commands.pushes and stage.scheduler.crew.agents["a"].runs[second.name] is second
    commands = stage.join("a", held=[named(second), named(first)])
    assert commands.welcomes[0].keep == [named(second)] and commands.welcomes[0].drop == [named(first)]


# --- silence and grace ---


def test_a_silent_agents_tasks_are_ready_within_eleven_seconds() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    it = stage.submit("1+2")
    (silent,) = stage.computing(it)
    other = "ab".replace(silent, "")
    stage.wait(9.8, beating=[other])
    assert stage.computing(it) == [silent]
    assert stage.wait(0.8, beating=[other]).lost == [silent]
    assert stage.computing(it) == [other]


def test_a_closed_agents_tasks_are_ready_within_six_seconds() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    it = stage.submit("1+2")
    (gone,) = stage.computing(it)
    other = "ab".replace(gone, "")
    stage.wait(4.0, beating="ab")
    stage.leave(gone)
    stage.wait(4.8, beating=[other])
    assert stage.computing(it) == [gone], "it has its grace"
    assert stage.wait(0.8, beating=[other]).lost == [gone]
    assert stage.computing(it) == [other]


def test_lease_and_grace_do_not_add_up() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    stage.wait(10.4)
    assert it.state[0] == READY, "no grace after the lease"


def test_after_bye_there_is_no_grace() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    it = stage.submit("1+2")
    (leaving,) = stage.computing(it)
    stage.leave(leaving, bye=True)
    assert stage.computing(it) == ["ab".replace(leaving, "")]


def test_time_the_server_did_not_read_does_not_count() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    stage.now += 60
    assert not stage.do(Ticked(late_s=59.8)).lost
    assert not stage.wait(9.6).lost
    assert stage.wait(0.6).lost == ["a"]


def test_an_agent_that_beats_may_compute_for_days() -> None:
    stage = Stage(durations_ms=(7 * 24 * 3600 * 1000, 0, 0, 0))
    stage.join("a")
    stage.join("b")
    it = stage.submit("1+2")
    (holder,) = stage.computing(it)
    for _ in range(3 * 24):
        stage.now += 3600
        stage.do(stage.beat_of("a"), stage.beat_of("b"), Ticked(late_s=3600))
    assert stage.computing(it) == [holder] and len(stage.hands["a"]) + len(stage.hands["b"]) == 1


def test_a_removed_agents_tasks_are_handed_out_again_at_once() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    it = stage.submit("1+2")
    (removed,) = stage.computing(it)
    commands = stage.do(Removed(removed))
    assert [(closed.agent, closed.code) for closed in commands.closes] == [(removed, 4003)]
    assert stage.computing(it) == ["ab".replace(removed, "")]


def test_a_lost_agent_is_forgotten_after_an_hour() -> None:
    stage = Stage()
    stage.join("a")
    stage.wait(11)
    stage.now += 3590
    stage.do(Ticked())
    assert "a" in stage.scheduler.crew.agents
    stage.now += 20
    stage.do(Ticked())
    assert "a" not in stage.scheduler.crew.agents
