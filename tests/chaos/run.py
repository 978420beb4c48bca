"""One run, from the first process to the verdict."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.chaos.breaking import Breaking
from tests.chaos.chronicle import Chronicle
from tests.chaos.clients import CLIENTS, DURATIONS_MS, OPERATIONS, OWNERS, Ledger, User
from tests.chaos.faults import SUBJECTS, Fault, plan
from tests.chaos.observer import Observer
from tests.chaos.report import Report
from tests.chaos.town import Town
from tests.chaos.verdict import judge
from tests.chaos.witnesses import Witness

ENDS_S = 90.0
"""From the last fault until everything that was accepted must be final."""


async def run(seed: int, minutes: float, directory: Path) -> Report:
    """Break the town for so long, let it heal, and judge. What happens is written to `directory`:
    chronicle.txt, and a log of each process."""
    chronicle = Chronicle(directory / "chronicle.txt")
    town = Town(directory, chronicle)
    try:
        await town.start()
        return await _Run(seed, minutes, town, chronicle).run()
    except BaseException as error:
        error.add_note(f"seed {seed}, {minutes:g} minutes; logs are in {directory}")
        raise
    finally:
        await town.close()
        chronicle.close()


class _Run:
    def __init__(self, seed: int, minutes: float, town: Town, chronicle: Chronicle) -> None:
        self._seed = seed
        self._minutes = minutes
        self._town = town
        self._chronicle = chronicle
        self._ledger = Ledger()
        self._observer = Observer(town.database_url, chronicle, lambda: self._ledger.open)
        self._witnesses: list[Witness] = []
        self._users: list[User] = []
        self._heals_s = 0.0
        self._ended: dict[str, int] = {}

    async def run(self) -> Report:
        town, chronicle = self._town, self._chronicle
        await self._set_up()
        await self._observer.guard()
        faults = plan(self._seed, self._minutes * 60)
        chronicle.note(f"seed {self._seed}, {self._minutes:g} minutes, {len(faults)} faults are planned:")
        for fault in faults:
            chronicle.note(f"PLAN {fault}")
        chronicle.begin()
        async with asyncio.TaskGroup() as group:
            aside = [
                group.create_task(self._observer.run(), name="observer"),
                group.create_task(town.watch(), name="watch"),
                *(group.create_task(witness.run(), name=witness.name) for witness in self._witnesses),
            ]
            work = group.create_task(self._work(faults), name="work")
            failed = group.create_task(chronicle.has_failed.wait(), name="failed")
            # The first finding ends it: there is no use in going on.
            await asyncio.wait((work, failed), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            for task in (work, failed, *aside):
                task.cancel()
        if not chronicle.findings:
            await town.stop_all()
            self._ended = await judge(
                town.database_url, self._ledger, self._observer, self._witnesses, chronicle
            )
        return self._report()

    async def _set_up(self) -> None:
        """Tokens, witnesses, users, and operations that take a while."""
        town = self._town
        random = Random(self._seed)
        urls = [one.url for one in town.orchestrators]
        doors = {one.peer_url: one.url for one in town.orchestrators}
        secret = await self._token("witness", "agent")
        for number in range(SUBJECTS["witness"]):
            self._witnesses.append(Witness(number, urls, doors, secret, self._chronicle))
        secrets = [await self._token(f"owner-{number}", "user") for number in range(OWNERS)]
        entrances = [one.client_url for one in town.orchestrators]
        tls = ssl.create_default_context()
        for number in range(CLIENTS):
            self._users.append(
                User(
                    number,
                    entrances,
                    secrets[number % OWNERS],
                    Random(random.getrandbits(64)),
                    self._ledger,
                    self._chronicle,
                    tls,
                )
            )
        for name in OPERATIONS:
            await self._set_duration(name, random.choice(DURATIONS_MS))

    async def _token(self, name: str, role: str) -> str:
        answer = await self._town.administer("POST", "/tokens", json={"name": name, "role": role})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["secret"])

    async def _set_duration(self, name: str, duration_ms: int) -> None:
        answer = await self._town.administer("PUT", f"/operations/{name}", json={"duration_ms": duration_ms})
        assert answer.status_code == 200, answer.text

    async def _work(self, faults: Sequence[Fault]) -> None:
        """Clients and faults together for the time given; then everything must come to its end."""
        chronicle = self._chronicle
        closing = asyncio.Event()
        breaking = Breaking(self._town, self._witnesses, self._observer, chronicle)
        async with asyncio.TaskGroup() as group:
            users = [
                group.create_task(user.run(closing), name=f"client {user.number}") for user in self._users
            ]
            await breaking.perform(faults)
            await asyncio.sleep(max(0.0, self._minutes * 60 - chronicle.now_s))
            closing.set()
            chronicle.note("everything is mended")
            for name in OPERATIONS:
                await self._set_duration(name, 5)
            mended_at = time.monotonic()
            _, late = await asyncio.wait(users, timeout=ENDS_S)
            self._heals_s = time.monotonic() - mended_at
            if late:
                open_ones = [one.id for one in self._ledger.accepted.values() if one.final is None]
                chronicle.finding(f"not final {ENDS_S:.0f} s after the last fault: {open_ones}")
                for user in late:
                    user.cancel()

    def _report(self) -> Report:
        observer, ledger = self._observer, self._ledger
        return Report(
            seed=self._seed,
            minutes=self._minutes,
            faults=dict(self._chronicle.faults),
            accepted=len(ledger.accepted),
            ended=self._ended,
            tasks=len(observer.rows),
            repeats=self._repeats(),
            longest_stall_s=round(observer.longest_stall_s, 1),
            slowest_s=round(ledger.slowest_s, 1),
            client_retries=dict(ledger.retries),
            flows_s=[round(flow_s, 1) for flow_s in observer.flows_s],
            heals_s=round(self._heals_s, 1),
            witnessed=sum(len(witness.holds) for witness in self._witnesses),
            findings=self._chronicle.findings,
            directory=str(self._town.directory),
        )

    def _repeats(self) -> int:
        attempts: dict[tuple[str, int], set[int]] = {}
        for name, row in self._observer.rows.items():
            attempts.setdefault(name, set()).add(row.attempt)
        for witness in self._witnesses:
            for hold in witness.holds:
                expression, _, task = hold.task.rpartition(".")
                attempts.setdefault((expression, int(task)), set()).add(hold.attempt)
        return sum(
            # Within a term the attempts of a task are counted from 1.
            max(len(seen) - 1, max(attempt & 0xFFFFF for attempt in seen) - 1)
            for seen in attempts.values()
        )
