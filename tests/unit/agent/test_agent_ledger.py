"""What is held, and what goes into the frames."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from curta_agent.ledger import FRAME_BYTES, Entry, Ledger
from curta_wire.codec import FRAME_BYTES_MAX, encode
from curta_wire.frames import Assignment, Attempt, Fault, Heartbeat, Results


def opened(ledger: Ledger, task: str, attempt: int = 1) -> Entry:
    entry = Entry(Assignment(task, attempt, "addition", ("1", "2"), 0))
    ledger.open[entry.key] = entry
    return entry


def test_a_settled_attempt_is_held_until_it_is_forgotten() -> None:
    ledger = Ledger()
    opened(ledger, "a")
    opened(ledger, "b")
    ledger.settle(("a", 1), "3")
    assert ledger.held() == [Attempt("b", 1), Attempt("a", 1)]
    assert [result.value for result in ledger.next_frame()] == ["3"]
    assert ledger.next_frame() == []
    assert ledger.forget(("a", 1)) is None
    assert ledger.held() == [Attempt("b", 1)]


def test_forgetting_an_open_attempt_gives_its_entry_once() -> None:
    ledger = Ledger()
    entry = opened(ledger, "a")
    assert ledger.forget(("a", 1)) is entry
    assert ledger.forget(("a", 1)) is None
    assert not ledger


def test_another_attempt_of_the_same_task_is_another_attempt() -> None:
    ledger = Ledger()
    ledger.settle(("a", 1), "3")
    opened(ledger, "a", 2)
    ledger.forget(("a", 1))
    assert ledger.held() == [Attempt("a", 2)]


def test_resending_is_for_what_is_kept_only() -> None:
    ledger = Ledger()
    ledger.settle(("a", 1), "3")
    ledger.settle(("b", 1), Fault("division_by_zero"))
    ledger.reply(Attempt("c", 1), Fault("cancelled"))
    assert [result.task for result in ledger.next_frame()] == ["a", "b", "c"]
    ledger.forget(("a", 1))
    ledger.resend()
    assert [result.task for result in ledger.next_frame()] == ["b"]


@given(st.lists(st.one_of(st.integers(1, 40), st.integers(1, 1_000_001)), max_size=20))
def test_results_are_split_into_frames_in_order_and_none_is_lost(lengths: list[int]) -> None:
    ledger = Ledger()
    for k, length in enumerate(lengths):
        ledger.settle((f"e.{k}", 1), "9" * length)
    tasks = []
    while results := ledger.next_frame():
        text = encode(Results(results))
        assert len(text) <= (FRAME_BYTES_MAX if len(results) == 1 else FRAME_BYTES)
        tasks += [result.task for result in results]
    assert tasks == [f"e.{k}" for k in range(len(lengths))]
    assert not ledger.outbox


def test_a_fault_that_needs_escaping_counts_with_its_escapes() -> None:
    ledger = Ledger()
    for k in range(600):
        ledger.settle((f"e.{k}", 1), Fault("other", "\x01" * 1000))
    while results := ledger.next_frame():
        assert len(encode(Results(results))) <= FRAME_BYTES


def test_a_heartbeat_fits_into_one_frame_whatever_is_held() -> None:
    ledger = Ledger()
    name = "0193f0a2-7d3f-7a2b-8c3d-123456789abc.{}"
    for k in range(40_000):
        opened(ledger, name.format(k), 2**53 - 1)
    for k in range(40_000, 100_000):
        ledger.settle((name.format(k), 2**53 - 1), "1")
    held = ledger.held()
    assert len(encode(Heartbeat(held, 1))) <= FRAME_BYTES_MAX
    assert {(attempt.task, attempt.attempt) for attempt in held[:40_000]} == set(ledger.open)


def test_a_ledger_is_full_when_results_pile_up() -> None:
    ledger = Ledger()
    for k in range(600):
        ledger.settle((f"e.{k}", 1), "9" * 1_000_000)
        assert ledger.is_full == (k >= 536)
    for k in range(600):
        ledger.forget((f"e.{k}", 1))
    assert not ledger.is_full and not ledger


def test_a_result_is_encoded_without_what_it_lacks() -> None:
    ledger = Ledger()
    ledger.settle(("a", 1), "3")
    ledger.settle(("b", 2), Fault("too_large", "why"))
    assert msgspec.json.decode(encode(Results(ledger.next_frame()))) == {
        "type": "results",
        "results": [
            {"task": "a", "attempt": 1, "value": "3"},
            {"task": "b", "attempt": 2, "error": {"code": "too_large", "message": "why"}},
        ],
    }
