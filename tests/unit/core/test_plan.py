"""Plans by example: what is shared, what is regrouped, and what is left alone."""

import random
from itertools import islice
from math import ceil, log2

import pytest
from tests.support import plans, reference

from curta_server.core.expression import parse
from curta_server.core.plan import Plan, Summary, TooManyTasks, build, summarize

DURATIONS = (1000, 1000, 2000, 2000)
FREE = (0, 0, 0, 0)


def planned(text: str, durations: tuple[int, ...] = DURATIONS, *, optimize: bool = True) -> str:
    """The plan of a text, fully in parentheses."""

    def shown(one: reference.Expression) -> str:
        minus = "-" if one.negated else ""
        if isinstance(one, reference.Literal):
            return minus + one.text
        return f"{minus}({shown(one.left)}{one.operation}{shown(one.right)})"

    return shown(plans.tree_of(build(parse(text), durations, optimize=optimize)))


def depth(text: str) -> int:
    return plans.critical_path(build(parse(text), FREE), (1, 1, 1, 1))


def test_two_plus_two_times_two_is_two_tasks() -> None:
    plan = build(parse("2+2*2"), DURATIONS)
    assert list(plan.operations) == [2, 0]
    assert plan.users.tolist() == [1]
    assert plan.users_at.tolist() == [0, 1, 1]
    assert plan.root == 1 << 1
    assert plan.literal(plan.left[0]) == "2"


def test_a_bare_number_has_a_plan_without_tasks() -> None:
    plan = build(parse(" -(7)"), DURATIONS)
    assert len(plan) == 0
    assert plan.root == ~1
    assert plan.literal(plan.root) == "7"
    assert Plan.decode(plan.encode(), plan.text) == plan


def test_equal_subexpressions_are_one_task() -> None:
    assert len(build(parse("(1+2)*(1+2)"), DURATIONS)) == 2
    assert len(build(parse("(1+2)*(1+2)"), DURATIONS, optimize=False)) == 3
    assert len(build(parse("(1+2)*-(1 + 2)"), DURATIONS)) == 2


def test_a_shared_task_is_used_twice_by_one_task() -> None:
    plan = build(parse("(1+2)*(1+2)"), DURATIONS)
    assert plan.users.tolist() == [1, 1]
    assert plan.users_at.tolist() == [0, 2, 2]


def test_a_shared_task_stays_whole_in_the_chains_that_use_it() -> None:
    assert len(build(parse("(1+2+3+4)-(1+2+3+4)*5"), DURATIONS)) == 5
    assert planned("(1+2)+(1+2)") == "((1+2)+(1+2))"


def test_equal_operands_in_a_chain_are_regrouped_and_then_shared() -> None:
    assert len(build(parse("2+2+2+2+2+2+2+2"), DURATIONS)) == 3


@pytest.mark.parametrize("operator", ["+", "*"])
@pytest.mark.parametrize("operands", [*range(2, 35), 100, 1000, 1025])
def test_a_chain_of_distinct_operands_has_logarithmic_depth(operator: str, operands: int) -> None:
    assert depth(operator.join(map(str, range(operands)))) == ceil(log2(operands))


@pytest.mark.parametrize("operators", ["+-", "*/", "-", "/"])
@pytest.mark.parametrize("operands", [*range(2, 35), 1000])
def test_mixed_chains_have_logarithmic_depth_too(operators: str, operands: int) -> None:
    chance = random.Random(operands)
    text = "".join(f"{i}{chance.choice(operators)}" for i in range(1, operands)) + "0.5"
    assert depth(text) == ceil(log2(operands))


@pytest.mark.parametrize("shape", ["{0}+({1})", "({1})+{0}", "{0}-({1})", "({1})-{0}", "{0}*({1})"])
def test_the_way_a_chain_is_nested_does_not_matter(shape: str) -> None:
    text = "0"
    for i in range(1, 64):
        text = shape.format(i, text)
    assert depth(text) == 6


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("1+2+3+4", "((1+2)+(3+4))"),
        ("1-2+3-4", "((1-2)+(3-4))"),
        ("1+2-3", "(1+(2-3))"),
        ("1*2/3*4/5", "((1*(2/3))*(4/5))"),
        ("1-(2-3)", "((1-2)+3)"),
        ("1-2-3-4", "((1-2)-(3+4))"),
        ("1/2/3/4", "((1/2)/(3*4))"),
        ("-1-2-3-4", "-((1+2)+(3+4))"),
        ("-(1+2)*3", "(-(1+2)*3)"),
        ("-(2*3)*4*5", "-((2*3)*(4*5))"),
        ("1- -2", "(1+2)"),
        ("-1+2", "(2-1)"),
    ],
)
def test_subtrahends_and_divisors_are_paired_first_and_the_rest_is_gathered(text: str, plan: str) -> None:
    # The leaves are numbers, so that ties are broken in text order.
    assert planned(text) == plan


def test_a_quotient_in_a_divisor_is_never_turned_over() -> None:
    assert planned("1/(2/3)") == "(1/(2/3))"
    for text in ("1/(2/0)", "0/(0/5)", "1/(2*(3/0))", "4/5/(6/(7/0))", "0/(1/2/0/3)"):
        assert plans.value_of(build(parse(text), FREE)) is None


def test_subtrahends_are_gathered_by_the_operation_that_is_no_dearer() -> None:
    assert planned("1-2-3-4", (9, 1, 1, 1)) == "((1-2)-(3--4))"
    assert planned("1-2-3-4", (1, 9, 1, 1)) == "((1-2)-(3+4))"


def test_divisors_are_gathered_only_where_a_product_is_no_dearer() -> None:
    assert planned("1/2/3/4", (1, 1, 9, 1)) == "(((1/2)/3)/4)"
    assert planned("1/2/3/4", (1, 1, 1, 9)) == "((1/2)/(3*4))"


def test_a_divisor_that_is_a_product_is_not_split_into_dearer_divisions() -> None:
    plan = build(parse("1*2*3*4/(5*6*7*8)"), (0, 0, 9, 99))
    assert plan.operations.count(3) == 1
    assert plans.critical_path(plan, (1, 1, 10, 100)) == 120


def test_operations_keep_their_counts_where_every_subtrahend_finds_a_partner() -> None:
    for durations in (DURATIONS, (5, 1, 7, 3), (1, 5, 3, 7)):
        plan = build(parse("1+2-3+4-5+(6*7/8*9)"), durations)
        assert [plan.operations.count(code) for code in range(4)] == [3, 2, 2, 1]


def test_a_chain_that_would_be_ready_later_stays_as_written() -> None:
    # Pairing 2*3 with the slower 4*5*6 would make the 1 wait for both.
    assert planned("1+2*3-4*5*6", FREE) == "((1+(2*3))-((4*5)*6))"


def test_what_is_ready_late_is_combined_late() -> None:
    assert planned("1*2*3*4*5+6+7+8+9") == "((((1*2)*5)*(3*4))+((6+7)+(8+9)))"


def test_without_optimizing_every_operator_is_one_task_as_written() -> None:
    assert planned("1+2+3+4", optimize=False) == "(((1+2)+3)+4)"
    assert planned("1-(-2)- -(3+4)", optimize=False) == "((1--2)--(3+4))"
    assert len(build(parse("2*2*2*2+2*2"), DURATIONS, optimize=False)) == 5


def test_tasks_on_the_longest_remaining_path_come_first() -> None:
    plan = build(parse("1*2 + 3*4/5.5/(6-7.5)*0.5 - (8-9)"), (10, 10, 1000, 1000), optimize=False)
    remaining = plans.remaining_paths(plan, (11, 11, 1001, 1001))
    assert remaining == sorted(remaining, reverse=True)
    assert plan.operations[0] == 2 and plan.literal(plan.left[0]) == "3"


def test_ties_are_numbered_in_text_order() -> None:
    plan = build(parse("(1+2)*(3+4)*((5+6)*(7+8))"), DURATIONS)
    assert [plan.literal(reference) for reference in islice(plan.left, 4)] == ["1", "3", "5", "7"]


def test_literals_that_nothing_refers_to_are_not_kept() -> None:
    plan = build(parse("(1+2)*" * 50 + "(1+2)"), DURATIONS)
    assert [plan.text[start:end] for start, end in zip(plan.starts, plan.ends, strict=True)] == ["1", "2"]


def test_an_expression_with_too_many_tasks_is_refused_with_the_count() -> None:
    tree = parse("+".join(map(str, range(12))))
    assert len(build(tree, DURATIONS, tasks_max=11)) == 11
    for optimize in (True, False):
        with pytest.raises(TooManyTasks) as caught:
            build(tree, DURATIONS, optimize=optimize, tasks_max=10)
        assert (caught.value.count, caught.value.limit) == (11, 10)


def test_equal_subexpressions_count_once_against_the_limit() -> None:
    tree = parse("(1+2)*(1+2)*(1+2)")
    assert len(build(tree, DURATIONS, tasks_max=3)) == 3
    with pytest.raises(TooManyTasks):
        build(tree, DURATIONS, optimize=False, tasks_max=3)


def test_a_large_plan_is_compressed_and_comes_back_the_same() -> None:
    text = "+".join(map(str, range(5000)))
    plan = build(parse(text), DURATIONS)
    data = plan.encode()
    assert len(data) < 25 * len(plan)
    assert Plan.decode(data, text) == plan


@pytest.mark.parametrize("operands", [3, 5000])
def test_damaged_plans_are_refused(operands: int) -> None:
    text = "+".join(map(str, range(operands)))
    data = build(parse(text), DURATIONS).encode()
    other_version = data[:4] + b"\xff" + data[5:]
    for broken in (b"", data[:10], data[:-1], b"no" + data[2:], other_version, data[:40] + b"\x00" * 40):
        with pytest.raises(ValueError, match="plan"):
            Plan.decode(broken, text)


def test_a_plan_takes_at_most_forty_bytes_a_task() -> None:
    plan = build(parse("+".join(map(str, range(10_000)))), DURATIONS)
    arrays = (plan.left, plan.right, plan.starts, plan.ends, plan.users_at, plan.users)
    assert len(plan.operations) + sum(numbers.itemsize * len(numbers) for numbers in arrays) <= 40 * len(plan)


def test_a_summary_shows_what_regrouping_gains() -> None:
    text = "2+3+5+7+11+13+17+19"
    tree = parse(text)
    summary = summarize(tree, build(tree, DURATIONS), DURATIONS)
    assert summary == Summary(
        tasks=7, sequential_ms=7000, critical_path_ms=3000, critical_path_as_written_ms=7000, width=4
    )


def test_a_summary_of_a_bare_number_is_all_zero() -> None:
    tree = parse("42")
    assert summarize(tree, build(tree, DURATIONS), DURATIONS) == Summary(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "1" + "-(2" * 30_000 + ")" * 30_000,
        "(" * 30_000 + "1" + "/2)" * 30_000,
        "1" + "+(2*(3" * 20_000 + "))" * 20_000,
        "1" + "-2*(3/(4+" * 10_000 + "5" + "))" * 10_000,
    ],
)
@pytest.mark.parametrize("optimize", [True, False])
def test_planning_never_recurses(text: str, optimize: bool) -> None:
    plan = build(parse(text), DURATIONS, optimize=optimize)
    assert plan.root >> 1 == len(plan) - 1
