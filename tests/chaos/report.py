"""What a run has shown, as JSON and as sentences."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Report:
    seed: int
    minutes: float
    faults: dict[str, int]
    accepted: int
    ended: dict[str, int]
    """Expressions by their final status."""
    tasks: int
    """Rows of the journal."""
    repeats: int
    """Attempts beyond the first of their task, as far as they were seen to be handed out or settled it."""
    longest_stall_s: float
    """No row was committed while work was waiting."""
    slowest_s: float
    """The longest that a user waited for an expression."""
    client_retries: dict[str, int]
    flows_s: list[float]
    """After each kill of a leader, until rows were committed again."""
    heals_s: float
    """From the last fault's end until everything accepted was final."""
    witnessed: int
    """Attempts that were handed to witnesses."""
    findings: list[str]
    directory: str

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.ended.items()))
        faults = "; ".join(f"{kind}: {count}" for kind, count in sorted(self.faults.items()))
        retries = ", ".join(f"{count} {why}" for why, count in sorted(self.client_retries.items()))
        flows = ", ".join(f"{flow_s:.1f}" for flow_s in self.flows_s) or "none was killed"
        lines = [
            f"Seed {self.seed}, {self.minutes:g} minutes, {sum(self.faults.values())} faults. {faults}.",
            f"{self.accepted} expressions were accepted: {ended}.",
            f"{self.tasks} tasks were journalled; {self.repeats} attempts were repeats.",
            f"The longest stall took {self.longest_stall_s:.1f} s.",
            f"The slowest expression took {self.slowest_s:.1f} s.",
            f"All was final {self.heals_s:.1f} s after the last fault.",
            f"Seconds until tasks flowed again after each kill of a leader: {flows}.",
            f"Clients tried again {sum(self.client_retries.values())} times: {retries or 'never'}.",
            f"Witnesses were handed {self.witnessed} attempts.",
        ]
        if self.findings:
            lines += ["", f"IT HAS FAILED. Seed {self.seed}; logs are in {self.directory}", *self.findings]
        else:
            lines.append("Nothing was lost, changed or wrong, and no live work was given to others.")
        return "\n".join(lines)
