"""Operands as they are written out."""

from curta_server.core.execution import RUNNING, Execution
from curta_server.core.expression import parse
from curta_server.core.plan import build
from curta_server.looking import LONG_DIGITS, operand

DURATIONS = (1000, 1000, 2000, 2000)


def test_a_long_value_gets_its_other_sign_once_for_all_users_and_loses_it_with_the_last() -> None:
    plan = build(parse("-(1+2)*5+-(1+2)*7"), DURATIONS)
    it = Execution("x", plan, DURATIONS)
    users = [task for task in range(len(plan)) if any(side[task] == 1 for side in (plan.left, plan.right))]
    assert len(users) == 2, "both products use the sum with a minus"
    it.advance(10)
    it.state[0] = RUNNING
    it.settle(0, "7" * LONG_DIGITS)
    written = operand(it, 1)
    assert written == "-" + "7" * LONG_DIGITS
    assert operand(it, 1) is written
    it.commit(0)
    for user in users:
        it.state[user] = RUNNING
        it.settle(user, "3")
        assert it.negated
        it.commit(user)
    assert not it.negated
