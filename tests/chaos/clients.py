"""Fifty users who do not trust anybody: they submit random expressions under ids of their own, retry whatever
fails for the time being, and compare what they are told with what must be true."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

import httpx

from tests.chaos.chronicle import Chronicle
from tests.chaos.expressions import Exercise, draw
from tests.support.client import FINAL

CLIENTS = 50
OWNERS = 5
DURATIONS_MS = (2, 20, 100, 300, 1000, 2500, 6000)
HEAD_CHARACTERS = 200
"""Of a text, where it is cut."""
OPERATIONS = ("addition", "subtraction", "multiplication", "division")

_TIMEOUT_S = 12.0
_WAIT_S = 6
_PAUSE_S = 0.4
_RETRY_AFTER_MAX_S = 3.0

Shown = dict[str, Any]


class Wrong(Exception):
    """A client was told what it must never be told."""


@dataclass(slots=True)
class Accepted:
    """An expression that was answered with 200."""

    id: str
    exercise: Exercise
    asked_to_cancel: bool = False
    final: Shown | None = None
    """What its user was told at the end."""


class Ledger:
    """All that clients were promised, by their own ids, and what they went through meanwhile."""

    def __init__(self) -> None:
        self.accepted: dict[str, Accepted] = {}
        self.open = 0
        """Accepted and not known to be final."""
        self.slowest_s = 0.0
        """From the answer that accepted an expression to the one that it is final."""
        self.retries: Counter[str] = Counter()


class User:
    """One client, which knows several orchestrators; `secret` is its owner's token."""

    def __init__(
        self,
        number: int,
        urls: Sequence[str],
        secret: str,
        random: Random,
        ledger: Ledger,
        chronicle: Chronicle,
        tls: ssl.SSLContext,
    ) -> None:
        self.number = number
        self._urls = urls
        self._random = random
        self._ledger = ledger
        self._chronicle = chronicle
        # One context for all: making one costs more than everything else here.
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {secret}"}, timeout=_TIMEOUT_S, verify=tls
        )

    async def run(self, closing: asyncio.Event) -> None:
        """One expression after the other until `closing` is set; then the last one to its end."""
        count = 0
        async with self._http:
            try:
                while not closing.is_set():
                    count += 1
                    await self._one(f"client {self.number}, expression {count}")
                    if self._random.random() < 0.02:
                        await self._edit_a_duration()
            except Wrong as wrong:
                self._chronicle.finding(f"client {self.number}, expression {count}: {wrong}")

    async def _one(self, client_id: str) -> None:
        exercise = draw(self._random)
        accepted = await self._submit(client_id, exercise)
        self._ledger.open += 1
        accepted_at = time.monotonic()
        try:
            if self._random.random() < 0.05:
                await self._cancel(accepted)
            accepted.final = await self._final(accepted)
        finally:
            self._ledger.open -= 1
            self._ledger.slowest_s = max(self._ledger.slowest_s, time.monotonic() - accepted_at)
        compare(accepted, accepted.final)
        if self._random.random() < 0.1:
            again = await self._submit(client_id, exercise)
            assert again is accepted

    async def _submit(self, client_id: str, exercise: Exercise) -> Accepted:
        """Until it is accepted. What a client's id stands for stays the same expression for ever."""
        body = {"expression": exercise.text, "id": client_id}
        # Now and then twice at once, at both orchestrators: still one expression.
        ways = self._urls if self._random.random() < 0.1 else [None]
        answers = await asyncio.gather(*(self._ask("POST", "/expressions", at=at, json=body) for at in ways))
        for status, shown in answers:
            _expect(status == 200, f"{body} is refused with {status}: {shown}")
            _expect(
                shown["client_id"] == client_id and shown["expression"] == exercise.text[:HEAD_CHARACTERS],
                f"{body} is answered with another expression: {shown}",
            )
        accepted = self._ledger.accepted.setdefault(client_id, Accepted(answers[0][1]["id"], exercise))
        ids = {accepted.id, *(shown["id"] for _, shown in answers)}
        _expect(len(ids) == 1, f"{client_id!r} stands for several expressions: {sorted(ids)}")
        return accepted

    async def _cancel(self, accepted: Accepted) -> None:
        await asyncio.sleep(self._random.random())
        accepted.asked_to_cancel = True
        status, shown = await self._ask("DELETE", f"/expressions/{accepted.id}")
        _expect(
            status == 409 or (status == 200 and shown["status"] == "cancelled"),
            f"cancelling {accepted.id} is answered with {status}: {shown}",
        )

    async def _final(self, accepted: Accepted) -> Shown:
        """As it ended, by whichever orchestrator says so first."""
        while True:
            status, shown = await self._ask("GET", f"/expressions/{accepted.id}?wait={_WAIT_S}")
            _expect(status == 200, f"{accepted.id} was accepted and is answered with {status}: {shown}")
            if shown["status"] in FINAL:
                return shown

    async def _edit_a_duration(self) -> None:
        name = self._random.choice(OPERATIONS)
        duration = {"duration_ms": self._random.choice(DURATIONS_MS)}
        status, shown = await self._ask("PUT", f"/operations/{name}", json=duration)
        _expect(status == 200, f"editing {name} is answered with {status}: {shown}")

    async def _ask(
        self, method: str, path: str, *, at: str | None = None, json: object = None
    ) -> tuple[int, Shown]:
        """Any answer but those that ask to come back; then again, at either orchestrator unless told `at`."""
        retries = self._ledger.retries
        while True:
            pause_s = self._random.random() * _PAUSE_S
            try:
                answer = await self._http.request(
                    method, (at or self._random.choice(self._urls)) + path, json=json
                )
            except httpx.TransportError as error:
                # Includes answers that broke off, and orchestrators that say nothing for too long.
                retries[type(error).__name__] += 1
            else:
                if answer.status_code not in (429, 503):
                    return answer.status_code, answer.json()
                retries[str(answer.status_code)] += 1
                _expect("retry-after" in answer.headers, f"{answer.status_code} without Retry-After")
                problem = answer.json()
                _expect(problem["status"] == answer.status_code, f"not a problem: {problem}")
                pause_s += min(float(answer.headers["retry-after"]), _RETRY_AFTER_MAX_S)
            await asyncio.sleep(pause_s)


def compare(accepted: Accepted, shown: Shown) -> None:
    """Raises: Wrong, unless it ended as exact arithmetic says, or was cancelled because its user asked."""
    text, value = accepted.exercise
    match shown["status"]:
        case "done":
            told = Fraction(shown["exact"] or shown["result"])
            _expect(told == value, f"{text} is {value}, not {told}")
        case "failed":
            code = shown["error"]["code"]
            _expect(code == "division_by_zero" and value is None, f"{text} is {value}: {shown['error']}")
        case "cancelled":
            _expect(accepted.asked_to_cancel, f"{text} was cancelled by nobody")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)
