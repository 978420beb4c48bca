"""What Prometheus sees."""

import re

from prometheus_client.parser import text_string_to_metric_families

from curta_server import metrics
from curta_server.views import Stats

STATS = Stats(True, {"ready": 3, "running": 1}, {"connected": 2, "lost": 0}, 8, 1, 5, 17)


def test_the_exposition_is_well_formed_and_every_name_is_ours() -> None:
    text = metrics.exposition(STATS, {"queued": 4, "running": 2}).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(name.startswith("curta_") for name in families)
    assert {
        "curta_tasks",
        "curta_tasks_finished",
        "curta_journal_batch_rows",
        "curta_journal_commit_seconds",
        "curta_dispatch_seconds",
        "curta_loop_lag_seconds",
        "curta_agents",
        "curta_slots_total",
        "curta_slots_used",
        "curta_expressions",
        "curta_expressions_finished",
        "curta_http_requests",
        "curta_http_request_seconds",
        "curta_process_resident_memory_bytes",
    } <= set(families)
    values = {(s.name, *s.labels.values()): s.value for f in families.values() for s in f.samples}
    assert values["curta_tasks", "ready"] == 3
    assert values["curta_expressions", "queued"] == 4
    assert values["curta_journal_backlog_rows",] == 17
    assert values["curta_leading",] == 1


def test_each_family_is_told_once() -> None:
    text = metrics.exposition(STATS, None).decode()
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert "curta_expressions" not in names
