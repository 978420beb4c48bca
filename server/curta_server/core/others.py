"""Who else could take a task that its agents had better not get again."""

from collections.abc import Iterable, Mapping

from curta_server.core.crew import Agent


class Others:
    """Who else takes tasks, as of one moment; looked up when first asked, and once for all that ask."""

    def __init__(self, agents: Iterable[Agent], now: float, since_s: float) -> None:
        self._agents = agents
        self._now = now
        self._since_s = since_s
        self._by_operations: dict[int, set[str]] | None = None

    def are_worth_waiting_for(self, avoided: Mapping[str, float], operation: int) -> bool:
        """Whether a task that should avoid these agents (each with the time until when others are waited for)
        had better wait for another, which is busy now."""
        if max(avoided.values()) <= self._now:
            return False
        if self._by_operations is None:
            self._by_operations = {}
            for agent in self._agents:
                if agent.is_present(self._since_s) and not agent.draining:
                    self._by_operations.setdefault(agent.operations, set()).add(agent.id)
        for operations, ids in self._by_operations.items():
            if operations >> operation & 1 and not ids <= avoided.keys():
                return True
        return False
