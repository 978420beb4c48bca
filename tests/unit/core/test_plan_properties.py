"""What every plan must be, whatever the text and the durations."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import plans, reference, texts

from curta_server.core.expression import parse
from curta_server.core.plan import Plan, build, summarize

SHARING = texts.valid_texts(leaves=40)
"""Few literals, so that much is equal, and zeros, so that much divides by zero."""
SMALL = texts.valid_texts(st.sampled_from(("0", "1", "2", "3")), leaves=40)
DISTINCT = texts.valid_texts(st.integers(0, 10**6).map(str), leaves=40)
ANY = st.one_of(SHARING, SMALL, DISTINCT)


@st.composite
def chains(draw: st.DrawFn) -> str:
    """Long chains with some nesting: where regrouping has most to decide."""
    operators = draw(st.sampled_from(("+-", "*/", "+", "*", "/", "-", "+-*/")))
    distinct = draw(st.booleans())
    depth = 0
    parts = []
    for i in range(draw(st.integers(2, 40))):
        shape = draw(st.integers(0, 9))
        parts.append("-" if shape == 0 else "")
        if shape == 1:
            parts.append("(")
            depth += 1
        parts.append(str(i + 1) if distinct else draw(st.sampled_from("0123")))
        if shape == 2 and depth:
            parts.append(")")
            depth -= 1
        if shape == 3:
            parts.append(draw(st.sampled_from(("+(8*9)", "*(8/9)", "/(8-9)", "-7*8*9", "*(1/2/3)"))))
        parts.append(draw(st.sampled_from(operators)))
    return "".join(parts) + "5" + ")" * depth


def check(text: str, durations: tuple[int, int, int, int]) -> Plan:
    written = reference.parse(text)
    costs = [duration + 1 for duration in durations]
    plan = build(parse(text), durations)
    assert plans.value_of(plan) == reference.evaluate(written)
    assert plans.critical_path(plan, costs) <= reference.critical_path(written, costs)
    assert plans.work(plan, costs) <= reference.shared_work(written, costs)
    check_arrays(plan, costs)
    return plan


def check_arrays(plan: Plan, costs: list[int]) -> None:
    """Numbered by urgency, operands first, root last; users agree with operands; nothing is left over."""
    remaining = plans.remaining_paths(plan, costs)
    assert remaining == sorted(remaining, reverse=True)
    used: list[list[int]] = [[] for _ in range(len(plan))]
    for user, operands in enumerate(zip(plan.left, plan.right, strict=True)):
        for operand in operands:
            if operand >= 0:
                assert operand >> 1 < user
                used[operand >> 1].append(user)
    assert used == [list(plan.users[plan.users_at[k] : plan.users_at[k + 1]]) for k in range(len(plan))]
    assert all(used[:-1])
    assert plan.root < 0 if not len(plan) else plan.root >> 1 == len(plan) - 1
    assert len(plan.users_at) == len(plan) + 1
    literals = {~of >> 1 for of in (*plan.left, *plan.right, plan.root) if of < 0}
    assert literals == set(range(len(plan.starts)))


@settings(max_examples=1500, deadline=None)
@given(ANY, texts.durations())
def test_a_plan_has_the_value_of_its_text_and_is_never_worse_than_as_written(
    text: str, durations: tuple[int, int, int, int]
) -> None:
    check(text, durations)


@settings(max_examples=1000, deadline=None)
@given(chains(), texts.durations())
def test_long_chains_keep_their_value_and_never_come_out_worse(
    text: str, durations: tuple[int, int, int, int]
) -> None:
    check(text, durations)


@settings(max_examples=500, deadline=None)
@given(st.one_of(ANY, chains()), texts.durations())
def test_no_two_tasks_of_a_plan_are_equal(text: str, durations: tuple[int, int, int, int]) -> None:
    plan = build(parse(text), durations)
    tasks = set(zip(plan.operations, plan.left, plan.right, strict=True))
    assert len(tasks) == len(plan)


@settings(max_examples=800, deadline=None)
@given(st.one_of(ANY, chains()), texts.durations())
def test_without_optimizing_the_plan_is_the_tree_of_the_text(
    text: str, durations: tuple[int, int, int, int]
) -> None:
    written = reference.parse(text)
    plan = build(parse(text), durations, optimize=False)
    assert plans.tree_of(plan) == written
    assert len(plan) == len(reference.operations(written))
    check_arrays(plan, [duration + 1 for duration in durations])


@settings(max_examples=300, deadline=None)
@given(st.one_of(ANY, chains()), texts.durations(), st.booleans())
def test_a_plan_is_the_same_after_encoding_and_decoding(
    text: str, durations: tuple[int, int, int, int], optimize: bool
) -> None:
    plan = build(parse(text), durations, optimize=optimize)
    assert Plan.decode(plan.encode(), text) == plan


@settings(max_examples=300, deadline=None)
@given(st.one_of(ANY, chains()), texts.durations())
def test_a_summary_agrees_with_the_plan(text: str, durations: tuple[int, int, int, int]) -> None:
    tree = parse(text)
    plan = build(tree, durations)
    summary = summarize(tree, plan, durations)
    assert summary.tasks == len(plan)
    assert summary.sequential_ms == plans.work(plan, durations)
    assert summary.critical_path_ms == plans.critical_path(plan, durations)
    assert summary.critical_path_as_written_ms == reference.critical_path(reference.parse(text), durations)
    assert (summary.width >= 1) is (len(plan) > 0)
    assert summary.width <= len(plan)
