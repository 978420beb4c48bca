"""What breaks when: a plan that is drawn from a seed before anything starts. Pure."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

QUIET_AT_FIRST_S = 4.0
"""So that there is something to break."""
BETWEEN_S = (1.0, 5.0)
CALM_S = 30.0
"""At the end no term is ended any more, for a new leader would find again what the last one forgot: only
agents and clients are broken, for so long or for a quarter of the run."""
_HARMLESS = ("agent", "witness", "entrance")
SETTLES_S = 1.0
"""A subject is left alone for so long after its fault is over."""


class Kind(NamedTuple):
    """One kind of fault. `weight` says how often it is in the deck; two faults of the same subject never
    overlap, and where there are several of a subject, each is a subject of its own."""

    name: str
    weight: int
    subject: str
    lasts_s: tuple[float, float] = (0.0, 0.0)


SUBJECTS = {
    "orchestrators": 1,
    "agent": 6,
    "witness": 4,
    "door": 2,
    "entrance": 2,
    "postgresql": 1,
    "cable": 1,
}
"""How many there are of each. A door is the proxy of an orchestrator that agents and peers use, an entrance
the one that clients use, the cable the one between the leader and PostgreSQL."""

# The limits that the lengths lie on either side of: grace 5 s, trust 8 s, lease 10 s.
KINDS = (
    Kind("kill the leader", 4, "orchestrators", (0.0, 6.0)),
    Kind("kill the follower", 2, "orchestrators", (0.0, 4.0)),
    Kind("kill a leader that cannot reach PostgreSQL", 2, "orchestrators", (1.0, 3.0)),
    Kind("kill both orchestrators", 1, "orchestrators", (0.0, 2.0)),
    Kind("stop the leader in good order", 1, "orchestrators", (0.0, 2.0)),
    Kind("freeze the leader for a moment", 2, "orchestrators", (1.0, 5.0)),
    Kind("freeze the leader for long", 3, "orchestrators", (9.0, 14.0)),
    Kind("freeze the follower", 1, "orchestrators", (2.0, 12.0)),
    Kind("kill an agent", 3, "agent", (0.0, 8.0)),
    Kind("stop an agent in good order", 1, "agent", (0.0, 3.0)),
    Kind("freeze an agent for a moment", 2, "agent", (1.0, 4.0)),
    Kind("freeze an agent for long", 2, "agent", (11.0, 15.0)),
    Kind("cut an agent's connection", 3, "agent"),
    Kind("silence an agent's connection for a moment", 2, "agent", (2.0, 8.0)),
    Kind("silence an agent's connection for long", 1, "agent", (11.0, 15.0)),
    Kind("revoke an agent's token", 2, "agent", (3.0, 3.0)),
    Kind("drain an agent", 2, "agent", (3.0, 8.0)),
    Kind("remove an agent", 2, "agent", (2.0, 2.0)),
    Kind("cut a witness's connection", 4, "witness"),
    Kind("connect a witness twice", 3, "witness"),
    Kind("cut all agents of an orchestrator", 2, "door"),
    Kind("refuse agents at an orchestrator", 1, "door", (2.0, 7.0)),
    Kind("silence between agents and an orchestrator", 1, "door", (3.0, 13.0)),
    Kind("cut all clients of an orchestrator", 2, "entrance"),
    Kind("refuse clients at an orchestrator", 1, "entrance", (2.0, 7.0)),
    Kind("silence between clients and an orchestrator", 1, "entrance", (2.0, 10.0)),
    Kind("kill PostgreSQL", 2, "postgresql", (0.0, 3.0)),
    Kind("stop PostgreSQL fast", 1, "postgresql", (0.0, 3.0)),
    Kind("cut the leader from PostgreSQL in mid-commit", 4, "cable", (0.0, 0.0)),
    Kind("cut the leader from PostgreSQL", 1, "cable"),
    Kind("silence between the leader and PostgreSQL for a moment", 1, "cable", (1.0, 4.0)),
    Kind("silence between the leader and PostgreSQL for long", 1, "cable", (9.0, 13.0)),
)


class Fault(NamedTuple):
    """`at_s` from the beginning of the run; `number` says which of its subjects."""

    at_s: float
    kind: str
    number: int
    lasts_s: float

    def __str__(self) -> str:
        lasting = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.at_s:7.1f} s  {self.kind} [{self.number}]{lasting}"


def plan(seed: int, length_s: float) -> list[Fault]:
    """All faults of a run, in order; every one is over at `length_s`.

    Kinds come from a shuffled deck, so that even a short run sees most of them. A card whose subject is
    broken already stays in the hand for the next time.
    """
    random = Random(seed)
    faults: list[Fault] = []
    free_at: dict[tuple[str, int], float] = {}
    hand: list[Kind] = []
    calm_at_s = length_s - min(CALM_S, length_s / 4)
    at_s = QUIET_AT_FIRST_S
    while at_s < length_s:
        if len(hand) < len(KINDS):
            deck = [kind for kind in KINDS for _ in range(kind.weight)]
            random.shuffle(deck)
            hand += deck
        for kind in hand:
            subject = kind.subject, random.randrange(SUBJECTS[kind.subject])
            lasts_s = random.uniform(*kind.lasts_s)
            ends_by_s = length_s if kind.subject in _HARMLESS else calm_at_s
            if at_s + lasts_s <= ends_by_s and free_at.get(subject, 0.0) <= at_s:
                break
        else:
            break  # too late for any of them
        hand.remove(kind)
        faults.append(Fault(at_s, kind.name, subject[1], lasts_s))
        free_at[subject] = at_s + lasts_s + SETTLES_S
        at_s += random.uniform(*BETWEEN_S)
    return faults
