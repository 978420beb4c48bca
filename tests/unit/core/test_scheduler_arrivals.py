"""Hellos and beats that name very many attempts: decided about in slices."""

from tests.support.stage import Stage, named

from curta_server.core.arrivals import BUDGET
from curta_server.core.events import Answer, Answered, Beaten, Joined, Left, Named, Ticked

EARLIER = 2 << 20 | 1
"""An attempt of the epoch before the stage's."""
WIDE = "+".join(f"({n}*{n + 1})" for n in range(BUDGET + 1000))


def turn(stage: Stage, *events: object) -> list[str]:
    """One turn and no more: who is welcome after it."""
    commands = stage.scheduler.handle(events, stage.now)  # type: ignore[arg-type]
    stage._note(commands)
    return [welcomed.agent for welcomed in commands.welcomes]


def test_a_long_hello_is_decided_in_several_turns_and_welcome_after_the_last() -> None:
    stage = Stage()
    it = stage.submit(WIDE)
    held = [Named(it.name(task), EARLIER) for task in range(BUDGET + 500)]
    early = Answered("a", 1, [Answer(*held[0], "0")])
    assert turn(stage, Joined("a", 1, BUDGET + 510, 15, held), early) == []
    assert len(it.runs) == BUDGET - 1 and not stage.hands.get("a"), "no tasks before it is welcome"
    commands = stage.scheduler.handle((), stage.now)
    (welcome,) = commands.welcomes
    assert (len(welcome.keep), welcome.drop) == (BUDGET + 500, [])
    assert len(commands.pushes["a"]) == 11, "its free slots, and no more"


def test_who_leaves_while_its_hello_is_looked_at_is_forgotten_about() -> None:
    stage = Stage()
    it = stage.submit(WIDE)
    held = [Named(it.name(task), EARLIER) for task in range(BUDGET + 500)]
    assert turn(stage, Joined("a", 1, BUDGET + 510, 15, held), Left("a", 1, bye=True)) == []
    assert turn(stage) == []
    assert not it.runs and not stage.scheduler.crew.arrivals
    assert turn(stage, Joined("a", 2, 1, 15, held[:1])) == ["a"]


def test_a_beat_before_the_welcome_gives_nothing_back() -> None:
    stage = Stage()
    it = stage.submit(WIDE)
    held = [Named(it.name(task), EARLIER) for task in range(BUDGET + 500)]
    turn(stage, Joined("a", 1, BUDGET + 510, 15, held), Beaten("a", 1, [], 0))
    assert len(it.runs) == BUDGET


def test_recovered_tasks_wait_for_a_hello_that_is_not_decided_yet() -> None:
    stage = Stage(expected=["a"])
    it = stage.submit(WIDE, journal=[], gated=True)
    held = [Named(it.name(task), EARLIER) for task in range(BUDGET + 500)]
    stage.join("b")
    stage.now += 20
    assert turn(stage, Joined("a", 9, BUDGET + 510, 15, held), Ticked(19)) == []
    assert it.is_gated and not stage.hands["b"]
    assert turn(stage) == ["a"]
    turn(stage, Ticked())
    assert not it.is_gated


def test_but_no_stream_of_hellos_holds_them_back_for_ever() -> None:
    stage = Stage(expected=["gone"])
    it = stage.submit(WIDE, journal=[], gated=True)
    held = [Named(f"unknown.{task}", EARLIER) for task in range(BUDGET + 500)]
    stage.join("b")
    began_s, session = stage.now, 100
    while it.is_gated:
        assert stage.now - began_s < 61, "the longest time that they wait"
        stage.now += 0.2
        session += 1
        turn(stage, stage.beat_of("b"), Joined("hostile", session, BUDGET + 510, 15, held), Ticked())
    assert stage.now - began_s >= 60 - 0.2
    stage.do()
    assert len(stage.hands["b"]) == 1


def test_of_what_nobody_wants_a_beat_has_so_much_cancelled_and_the_next_the_rest() -> None:
    stage = Stage()
    stage.join("a", slots=1)
    invented = [Named(f"x{n}.0", stage.scheduler.epoch << 20 | 1) for n in range(BUDGET + 500)]
    stage.beat("a", invented)
    cancelled = stage.beat("a", invented).cancels["a"]
    assert len(cancelled) == BUDGET
    left = [one for one in invented if one not in set(cancelled)]
    stage.beat("a", left)
    assert stage.beat("a", left).cancels["a"] == left


def test_what_hides_among_very_many_is_still_held() -> None:
    stage = Stage()
    stage.join("a", slots=1)
    stage.submit("1+2")
    run = stage.only("a")
    invented = [Named(f"x{n}.0", stage.scheduler.epoch << 20 | 1) for n in range(BUDGET + 500)]
    for _ in range(3):
        assert not stage.beat("a", [*invented, named(run)]).pushes
    stage.do(Answered("a", stage.sessions["a"], [Answer(*named(run), "3")]))
    assert stage.ends
