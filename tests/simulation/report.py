"""What many histories came to, for people."""

from collections import Counter

from tests.simulation.history import Outcome


class Report:
    """Adds up outcomes."""

    def __init__(self) -> None:
        self.histories = 0
        self.violations: list[Outcome] = []
        self._simulated_s = 0.0
        self._expressions = self._tasks = self._repeats = 0
        self._faults: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.histories += 1
        self._simulated_s += outcome.simulated_s
        self._expressions += outcome.expressions
        self._tasks += outcome.tasks
        self._repeats += outcome.repeats
        self._faults.update(outcome.faults)
        self._ends.update(outcome.ends)
        if outcome.violation is not None:
            self.violations.append(outcome)

    def text(self, seconds: float) -> str:
        """Several lines; `seconds` is how long it took."""
        ends = ", ".join(f"{count:,} {end}" for end, count in self._ends.most_common())
        lines = [
            f"{self.histories:,} histories in {seconds:.0f} s"
            f" ({60 * self.histories / max(seconds, 0.1):,.0f} a minute),"
            f" {self._simulated_s / 3600:,.1f} simulated hours",
            f"{self._expressions:,} expressions ({ends}), {self._tasks:,} tasks, {self._repeats:,} repeats",
            "faults and the like:",
            *(f"  {count:>9,}  {kind}" for kind, count in self._faults.most_common()),
            f"{len(self.violations)} promises broken"
            + "".join(f"\n  seed {one.seed}: {one.violation}" for one in self.violations[:30]),
        ]
        return "\n".join(lines)
