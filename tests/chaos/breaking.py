"""Performs the plan on the town: breaks what a fault says, waits as long as it lasts, and mends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.chaos.chronicle import Chronicle
from tests.chaos.faults import Fault
from tests.chaos.observer import Observer
from tests.chaos.town import Inhabitant, Town, TownAgent
from tests.chaos.witnesses import Witness
from tests.support.proxy import Proxy
from tests.support.waiting import until

TOLD_S = 15.0
"""An agent that was removed or whose token was revoked ends by itself within this, if its orchestrator can
tell it. While there is none it goes on trying, as it should, and is ended here."""
_JOURNAL_ROWS = b"{01"
"""How the journal's rows go by: an array of expressions' ids in text, which begin so until the year 2039."""

STOPS_S = 30.0


class Breaking:
    """One for a run. Faults of one subject wait for each other, should one take longer than planned."""

    def __init__(
        self, town: Town, witnesses: Sequence[Witness], observer: Observer, chronicle: Chronicle
    ) -> None:
        self._town = town
        self._witnesses = witnesses
        self._observer = observer
        self._chronicle = chronicle
        self._orchestrators = asyncio.Lock()
        self._postgres = asyncio.Lock()
        self._agents = [asyncio.Lock() for _ in town.agents]

    async def perform(self, plan: Sequence[Fault]) -> None:
        """All of it; at the end everything has been mended."""
        async with asyncio.TaskGroup() as group:
            for fault in plan:
                await asyncio.sleep(max(0.0, fault.at_s - self._chronicle.now_s))
                group.create_task(self._perform(fault), name=str(fault))

    async def _perform(self, fault: Fault) -> None:
        try:
            await self._break(fault)
        except AssertionError as error:
            self._chronicle.finding(f"{fault.kind}: {error}")

    async def _break(self, fault: Fault) -> None:
        town, lasts_s = self._town, fault.lasts_s
        match fault.kind:
            case "kill the leader" | "kill the follower" | "kill both orchestrators":
                await self._kill_orchestrators(fault)
            case "kill a leader that cannot reach PostgreSQL":
                async with self._orchestrators:
                    one = await town.by_role(leads=True)
                    self._note(fault, one.url)
                    one.cable.hold()
                    await asyncio.sleep(lasts_s)
                    self._kill(one)
                    self._observer.leader_was_killed()
                    one.cable.cut()
                    one.cable.release()
                    town.launch(one)
            case "stop the leader in good order":
                async with self._orchestrators:
                    one = await town.by_role(leads=True)
                    self._note(fault, one.url)
                    await self._stop(one)
                    await asyncio.sleep(lasts_s)
                    town.launch(one)
            case "freeze the leader for a moment" | "freeze the leader for long" | "freeze the follower":
                async with self._orchestrators:
                    one = await town.by_role(leads="leader" in fault.kind)
                    self._note(fault, one.url)
                    await self._freeze(one, lasts_s)
            case "cut a witness's connection":
                witness = self._witnesses[fault.number]
                self._note(fault, witness.name)
                witness.break_connection()
            case "connect a witness twice":
                witness = self._witnesses[fault.number]
                self._note(fault, witness.name)
                witness.leave_connection_open()
            case "cut all agents of an orchestrator":
                self._note(fault, town.orchestrators[fault.number].peer_url)
                town.orchestrators[fault.number].door.cut()
            case "cut all clients of an orchestrator":
                self._note(fault, town.orchestrators[fault.number].client_url)
                town.orchestrators[fault.number].entrance.cut()
            case "refuse agents at an orchestrator":
                await self._refuse(fault, town.orchestrators[fault.number].door)
            case "refuse clients at an orchestrator":
                await self._refuse(fault, town.orchestrators[fault.number].entrance)
            case "silence between agents and an orchestrator":
                await self._silence(fault, town.orchestrators[fault.number].door)
            case "silence between clients and an orchestrator":
                await self._silence(fault, town.orchestrators[fault.number].entrance)
            case "kill PostgreSQL" | "stop PostgreSQL fast":
                await self._end_postgres(fault)
            case "cut the leader from PostgreSQL in mid-commit":
                cable = (await town.by_role(leads=True)).cable
                cable.on_to_target(_JOURNAL_ROWS, lambda: self._cut_in_mid_commit(fault, cable))
            case "cut the leader from PostgreSQL":
                cable = (await town.by_role(leads=True)).cable
                self._note(fault, f"{cable.connections} connections")
                cable.cut()
            case (
                "silence between the leader and PostgreSQL for a moment"
                | "silence between the leader and PostgreSQL for long"
            ):
                await self._silence(fault, (await town.by_role(leads=True)).cable)
            case _:
                async with self._agents[fault.number]:
                    await self._break_agent(fault, town.agents[fault.number])

    # --- agents -----------------------------------------------------------------------------------

    async def _break_agent(self, fault: Fault, agent: TownAgent) -> None:
        assert agent.process is not None
        town, lasts_s = self._town, fault.lasts_s
        match fault.kind:
            case "kill an agent":
                self._note(fault, agent.name)
                self._kill(agent)
            case "stop an agent in good order":
                self._note(fault, agent.name)
                await self._stop(agent)
            case "freeze an agent for a moment" | "freeze an agent for long":
                self._note(fault, agent.name)
                await self._freeze(agent, lasts_s)
                return
            case "cut an agent's connection":
                self._note(fault, agent.name)
                for one in town.orchestrators:
                    one.door.cut(town.connections_of(agent))
                return
            case "silence an agent's connection for a moment" | "silence an agent's connection for long":
                self._note(fault, agent.name)
                ports = town.connections_of(agent)
                for one in town.orchestrators:
                    one.door.hold(ports)
                await asyncio.sleep(lasts_s)
                for one in town.orchestrators:
                    one.door.release(ports)
                return
            case "revoke an agent's token":
                revoked = agent.token_id
                await town.give_token(agent)
                agent.is_meant_to_run = False
                answer = await town.administer("DELETE", f"/tokens/{revoked}")
                self._note(fault, f"{agent.name}: {answer.status_code}")
                await self._is_told(agent)
            case "drain an agent":
                self._note(fault, f"{agent.name}: {await self._with_id(agent, 'POST', '/drain')}")
                await asyncio.sleep(lasts_s)
                await self._stop(agent)
            case "remove an agent":
                agent.is_meant_to_run = False
                self._note(fault, f"{agent.name}: {await self._with_id(agent, 'DELETE', '')}")
                await self._is_told(agent)
            case _:
                raise AssertionError(fault)
        await asyncio.sleep(lasts_s)
        town.launch_agent(agent)

    async def _with_id(self, agent: TownAgent, method: str, path: str) -> str:
        """An administrator's word about an agent, if the leader knows it at this moment: the status."""
        id = await self._town.id_of(agent)
        if id is None:
            return "not connected"
        answer = await self._town.administer(method, f"/agents/{id}{path}")
        # A repeated request may find it gone: the first one's answer was lost, not its effect.
        if answer.status_code not in (200, 404):
            self._chronicle.finding(f"{method} {path} of {agent.name} is answered with {answer.text}")
        return str(answer.status_code)

    async def _is_told(self, agent: TownAgent) -> None:
        """Return when it has ended, by itself or by us."""
        process = agent.process
        assert process is not None
        try:
            await until(lambda: not process.is_running, within_s=TOLD_S)
        except AssertionError:
            self._chronicle.note(f"{agent.name} was not told, and is ended")
            process.kill()

    # --- processes --------------------------------------------------------------------------------

    async def _kill_orchestrators(self, fault: Fault) -> None:
        town = self._town
        async with self._orchestrators:
            if fault.kind == "kill both orchestrators":
                victims = list(town.orchestrators)
            else:
                victims = [await town.by_role(leads="leader" in fault.kind)]
            self._note(fault, " ".join(victim.url for victim in victims))
            for victim in victims:
                self._kill(victim)
            if "follower" not in fault.kind:
                self._observer.leader_was_killed()
            await asyncio.sleep(fault.lasts_s)
            for victim in victims:
                town.launch(victim)

    def _kill(self, one: Inhabitant) -> None:
        one.is_meant_to_run = False
        assert one.process is not None
        one.process.kill()

    async def _stop(self, one: Inhabitant) -> None:
        """SIGTERM, and an orderly end; one whose database or orchestrator is away may need the whole time."""
        process = one.process
        assert process is not None
        one.is_meant_to_run = False
        code, took_s = await asyncio.to_thread(process.terminate, within_s=STOPS_S)
        self._chronicle.note(f"{process.log.name} has ended with {code} after {took_s:.1f} s")

    async def _freeze(self, one: Inhabitant, lasts_s: float) -> None:
        process = one.process
        assert process is not None
        if process.is_running:
            await asyncio.to_thread(process.freeze)
            await asyncio.sleep(lasts_s)
            process.thaw()

    async def _end_postgres(self, fault: Fault) -> None:
        async with self._postgres:
            self._note(fault, "")
            await (self._town.kill_postgres() if "kill" in fault.kind else self._town.stop_postgres())
            await asyncio.sleep(fault.lasts_s)
            await self._town.start_postgres()

    # --- the network ------------------------------------------------------------------------------

    async def _refuse(self, fault: Fault, proxy: Proxy) -> None:
        self._note(fault, f"port {proxy.port}, {proxy.connections} connections")
        proxy.refuse()
        await asyncio.sleep(fault.lasts_s)
        proxy.accept()

    async def _silence(self, fault: Fault, proxy: Proxy) -> None:
        self._note(fault, f"port {proxy.port}, {proxy.connections} connections")
        proxy.hold()
        await asyncio.sleep(fault.lasts_s)
        proxy.release()

    def _cut_in_mid_commit(self, fault: Fault, cable: Proxy) -> None:
        self._note(fault, "rows of the journal were sent and not answered")
        cable.cut()

    def _note(self, fault: Fault, detail: str) -> None:
        lasting = f", for {fault.lasts_s:.1f} s" if fault.lasts_s else ""
        self._chronicle.fault(fault.kind, detail + lasting)
