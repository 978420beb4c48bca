"""An agent as itself: what it really holds, what is on its way to it, what it still has to say.

Honest about values always (nobody detects wrong ones); everything else may go wrong: frames are lost, read
late, answers repeated.
"""

from collections import deque
from collections.abc import Set
from typing import NamedTuple

from curta_server.core.events import Answer, Named


class Frame(NamedTuple):
    kind: str
    number: int
    attempts: list[Named]


class Peer:
    def __init__(self, name: str) -> None:
        self.name = name
        self.session = 0
        self.former_session = 0
        """The one before, of which something may still be on its way."""
        self.slots = 0
        self.operations = 0
        self.pulls = False
        self.is_connected = False
        self.is_frozen = False
        """It does not beat while time passes."""
        self.open: dict[Named, int] = {}
        """What it computes, by the number of the frame that brought it (0: an earlier session's)."""
        self.results: dict[Named, Answer] = {}
        """Kept until acknowledged."""
        self.unsent: list[Answer] = []
        self.claims: list[Named] = []
        """What it says it holds without holding it."""
        self.wire: deque[Frame] = deque()
        self.pushes = 0
        self.seen = 0

    def begin(self, session: int) -> None:
        """A new connection: nothing is on its way, every result is to be sent again."""
        self.former_session, self.session = self.session, session
        self.is_connected = True
        self.is_frozen = False
        self.wire.clear()
        self.pushes = self.seen = 0
        self.open = dict.fromkeys(self.open, 0)
        self.unsent = list(self.results.values())

    def unanswered(self, delivered: Set[Named]) -> int:
        """The slots that are taken: what it computes, has not delivered, or is about to compute."""
        coming = sum(len(frame.attempts) for frame in self.wire if frame.kind == "tasks")
        unsent = {Named(answer.task, answer.attempt) for answer in self.unsent}
        return coming + len(self.open) + len((unsent & self.results.keys()) - delivered)

    def held(self) -> list[Named]:
        return [*self.open, *self.results, *self.claims]

    def read(self) -> None:
        """Take in the next frame."""
        frame = self.wire.popleft()
        if frame.kind == "tasks":
            self.seen = frame.number
            self.open |= dict.fromkeys(frame.attempts, frame.number)
        elif frame.kind == "cancel":
            for named in frame.attempts:
                self._stop(named)
        else:
            for named in frame.attempts:
                self.forget(named)

    def _stop(self, named: Named) -> None:
        """A cancel is answered: by the result where there is one, else by `cancelled`."""
        self.open.pop(named, None)
        if named in self.claims:
            self.claims.remove(named)
        self.unsent.append(self.results.get(named) or Answer(*named, None, "cancelled"))

    def skip(self) -> None:
        """Half deaf: the next frame is never understood, though counted as read later on."""
        frame = self.wire.popleft()
        if frame.kind == "tasks":
            self.seen = frame.number

    def forget(self, named: Named) -> None:
        self.open.pop(named, None)
        self.results.pop(named, None)

    def finish(self, named: Named, answer: Answer) -> None:
        del self.open[named]
        self.results[named] = answer
        self.unsent.append(answer)

    def take_unsent(self) -> list[Answer]:
        answers, self.unsent = self.unsent, []
        return answers
