"""Results that come before their expression is in memory: after a restart, agents are there before it is."""

from curta_server.core.events import Answer

FLAT_BYTES = 500
"""An answer beside its value, its message included: those that come from the wire as they are have none."""


class EarlyAnswers:
    """Answers by expression, with the agents that gave them; at most `bytes_max` in all. Of what an agent
    repeats, the last is kept."""

    def __init__(self, bytes_max: int) -> None:
        self._answers: dict[str, dict[tuple[str, str, int], Answer]] = {}
        self._bytes_left = bytes_max

    def __len__(self) -> int:
        """How many answers wait."""
        return sum(map(len, self._answers.values()))

    def remember(self, expression: str, agent: str, answer: Answer) -> bool:
        """Keep the answer; False where there is no room for it."""
        key = (agent, answer.task, answer.attempt)
        before = self._answers.get(expression, {}).get(key)
        size = _size(answer) - (_size(before) if before is not None else 0)
        if size > self._bytes_left:
            return False
        self._answers.setdefault(expression, {})[key] = answer
        self._bytes_left -= size
        return True

    def take(self, expression: str) -> list[tuple[str, Answer]]:
        """What was kept for the expression; it is forgotten by this."""
        answers = self._answers.pop(expression, {})
        self._bytes_left += sum(map(_size, answers.values()))
        return [(agent, answer) for (agent, _, _), answer in answers.items()]


def _size(answer: Answer) -> int:
    return len(answer.value or "") + FLAT_BYTES
