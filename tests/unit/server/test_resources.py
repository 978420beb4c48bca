"""The shapes agree with the names that the contract fixes, and with the rest of the code."""

import typing
from datetime import UTC, datetime

import msgspec

from curta_server import resources, store
from curta_server.core import scheduler
from curta_wire.frames import OPERATIONS


def _fields(shape: type[msgspec.Struct]) -> set[str]:
    return set(shape.__struct_encode_fields__)


def test_an_expression_has_the_fields_of_the_contract() -> None:
    assert _fields(resources.Expression) == {
        "id",
        "client_id",
        "owner",
        "expression",
        "optimize",
        "status",
        "result",
        "exact",
        "error",
        "waiting_for",
        "created_at",
        "started_at",
        "finished_at",
        "tasks",
        "eta_s",
        "truncated",
    }
    assert _fields(resources.TaskCounts) == {"total", "done", "running"}
    assert _fields(resources.ExpressionError) == {"code", "message", "task"}


def test_the_other_shapes_have_at_least_the_fields_of_the_contract() -> None:
    assert _fields(resources.PlanTask) >= {
        "task",
        "operation",
        "operands",
        "state",
        "value",
        "agent",
        "attempt",
        "started_at",
        "finished_at",
        "below",
    }
    assert _fields(resources.TaskOperand) == {"task", "negated"}
    assert _fields(resources.PlanSummary) == {
        "tasks", "sequential_ms", "critical_path_ms", "critical_path_as_written_ms", "width",
    }  # fmt: skip
    assert _fields(resources.Operation) == {"name", "symbol", "duration_ms"}
    assert _fields(resources.Agent) >= {
        "id", "name", "slots", "operations", "status", "connected_at", "last_seen_s", "tasks",
    }  # fmt: skip
    assert _fields(resources.AgentTask) >= {
        "task", "expression_id", "operation", "operands", "started_at", "duration_ms",
    }  # fmt: skip
    assert _fields(resources.TakenTasks) == {"tasks", "lease_s"}
    assert _fields(resources.NewToken) == {"id", "name", "role", "expires_at", "secret"}
    assert _fields(resources.ProblemDocument) >= {"type", "title", "status", "detail", "position", "expected"}


def test_words_are_the_same_everywhere() -> None:
    assert resources.OPERATION_NAMES == OPERATIONS == typing.get_args(resources.OperationName)
    assert scheduler.OPERATION_NAMES == OPERATIONS, "the core may not know the wire, but must agree with it"
    assert resources.ROLES == typing.get_args(resources.Role)
    assert set(resources.ROLES) == set(store.ROLES)
    assert set(resources.STATUSES) - resources.FINAL == store.expressions.OPEN_STATUSES


def test_times_are_rfc_3339_in_utc() -> None:
    moment = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert msgspec.json.encode(moment) == b'"2030-01-02T03:04:05.678901Z"'
