"""Everything in docs/protocol.md that a program can read is read here, and its agent is run."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import yaml
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from curta_agent.addresses import websocket_url
from curta_wire import SUBPROTOCOL, codec, frames
from curta_wire.frames import (
    Ack,
    AgentFrame,
    Assignment,
    Attempt,
    Cancel,
    Result,
    ServerFrame,
    Tasks,
    Welcome,
)

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "protocol.md").read_text()
DEADLINE_S = 30
TOKEN = "a token of role agent"
TAGS: dict[str, Any] = {kind.__struct_config__.tag: kind for kind in get_args(AgentFrame | ServerFrame)}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", blocks("json"))
def test_every_example_on_the_page_is_a_frame_with_fields_that_the_code_knows(text: str) -> None:
    fields = json.loads(text)
    kind: Any = TAGS[fields["type"]]
    decode = codec.decode_from_agent if kind in get_args(AgentFrame) else codec.decode_from_server
    assert isinstance(decode(text), kind)
    assert set(fields) - {"type"} <= set(kind.__struct_fields__)


def test_every_frame_has_an_example_on_the_page() -> None:
    assert {json.loads(text)["type"] for text in blocks("json")} == set(TAGS)


def test_every_frame_of_the_ladder_exists() -> None:
    (ladder,) = blocks("mermaid")
    shown = re.findall(r"^ +(A->>O|O->>A): (\w+)", ladder, flags=re.MULTILINE)
    named = {(arrow, word) for arrow, word in shown if word not in ("GET", "close")}
    assert named
    for arrow, word in named:
        assert TAGS[word] in get_args(AgentFrame if arrow == "A->>O" else ServerFrame)


def test_closing_codes_are_those_of_the_machine_readable_description() -> None:
    rows = re.findall(r"^\| ([0-9]{4}) \| (.*?) \| (.*?) \|$", PAGE, flags=re.MULTILINE)
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    described = document["channels"]["agents"]["x-close-codes"]
    assert {int(code): meaning for code, meaning, _ in rows} == {
        code: entry["meaning"] for code, entry in described.items()
    }
    for code, _, action in rows:
        assert (
            action.removeprefix("a defect: ").replace("log it,", "log and") == described[int(code)]["agent"]
        )


def agent_of_the_page() -> ModuleType:
    """The agent's code as a fresh module, without running it."""
    (code,) = blocks("python")
    module = ModuleType("agent_of_the_page")
    exec(compile(code, "docs/protocol.md", "exec"), module.__dict__)
    return module


class Orchestrator:
    """The server's side of the protocol, spoken by hand."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/agents/connect"
        assert connection.request.headers["Authorization"] == f"Bearer {TOKEN}"
        self.connections.put_nowait(connection)
        await connection.wait_closed()

    async def greet(self, *, drop: tuple[Attempt, ...] = ()) -> tuple["Peer", frames.Hello]:
        """Await a connection and its hello, and welcome the agent."""
        peer = Peer(await self.connections.get())
        hello = await peer.receive(frames.Hello)
        await peer.send(Welcome(0.05, 0.05, 10, [], list(drop), []))
        return peer, hello


class Peer:
    """One connection of the agent of the page."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def send(self, frame: ServerFrame) -> None:
        await self.connection.send(codec.encode(frame))

    async def receive(self, kind: type[Any]) -> Any:
        """The next frame of that kind; heartbeats in between are skipped, nothing else."""
        while True:
            frame = codec.decode_from_agent(await self.connection.recv())
            if isinstance(frame, kind):
                return frame
            assert isinstance(frame, frames.Heartbeat)

    async def results(self, count: int) -> list[Result]:
        found: list[Result] = []
        while len(found) < count:
            found += (await self.receive(frames.Results)).results
        return found

    async def beat(self, held: list[Attempt], seen: int) -> None:
        """Await a heartbeat that says so."""
        while True:
            frame = await self.receive(frames.Heartbeat)
            if frame.held == held and frame.seen == seen:
                return


@asynccontextmanager
async def orchestrator() -> AsyncIterator[tuple[Orchestrator, str]]:
    inside = Orchestrator()
    server: Server
    async with serve(
        inside.handle, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None
    ) as server:
        port = server.sockets[0].getsockname()[1]
        yield inside, f"http://127.0.0.1:{port}"


@asynccontextmanager
async def running(url: str) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.timeout(DEADLINE_S):
        task = asyncio.create_task(agent_of_the_page().main(url, TOKEN))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_the_agent_of_the_page_computes_and_keeps_results_until_they_are_acknowledged() -> None:
    async with orchestrator() as (server, url), running(url):
        peer, hello = await server.greet()
        assert (hello.protocol, hello.held) == (1, [])
        operands = [("1", "3"), ("1/2", "-1/3"), ("-4", "6"), ("1", "0")]
        work = zip(("addition", "subtraction", "multiplication", "division"), operands, strict=True)
        tasks = [Assignment(f"e.{i}", i, name, pair, i) for i, (name, pair) in enumerate(work)]
        await peer.send(Tasks(1, tasks))
        results = {result.task: result for result in await peer.results(4)}
        assert [results[f"e.{i}"].value for i in range(3)] == ["4", "5/6", "-24"]
        assert results["e.3"].error == frames.Fault("division_by_zero")
        held = [Attempt(task.task, task.attempt) for task in tasks]
        await peer.beat(held, seen=1)
        await peer.send(Ack(held[:3]))
        await peer.beat(held[3:], seen=1)


async def test_the_agent_of_the_page_answers_a_cancelled_attempt() -> None:
    async with orchestrator() as (server, url), running(url):
        peer, _ = await server.greet()
        await peer.send(Tasks(1, [Assignment("e.0", 5, "addition", ("1", "2"), 3_600_000)]))
        await peer.send(Cancel([Attempt("e.0", 5), Attempt("unknown", 1)]))
        assert await peer.results(1) == [Result("e.0", 5, error=frames.Fault("cancelled"))]


async def test_the_agent_of_the_page_comes_back_with_what_it_holds() -> None:
    async with orchestrator() as (server, url), running(url):
        peer, hello = await server.greet()
        running_on, done, dropped = Attempt("e.0", 1), Attempt("e.1", 2), Attempt("e.2", 3)
        await peer.send(
            Tasks(
                1,
                [
                    Assignment("e.0", 1, "addition", ("1", "2"), 3_600_000),
                    Assignment("e.1", 2, "addition", ("3", "4"), 0),
                    Assignment("e.2", 3, "addition", ("5", "6"), 3_600_000),
                ],
            )
        )
        await peer.results(1)
        await peer.connection.close(1012)
        peer, again = await server.greet(drop=(dropped,))
        assert again.agent == hello.agent
        assert again.held == [running_on, done, dropped]
        assert await peer.results(1) == [Result("e.1", 2, value="7")]
        await peer.beat([running_on, done], seen=0)


FORMS = [
    "{url}",
    "{url}/",
    "{url}/agents/connect",
    "{url}/agents/connect/",
    "{ws}",
    "{ws}/",
    "{ws}/agents/connect",
]


def form_of(form: str, url: str) -> str:
    return form.format(url=url, ws=url.replace("http", "ws", 1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "url", ["http://a:1", "https://a", "HTTPS://a:1", "http://[::1]:8080", "https://a/under"]
)
def test_the_agent_of_the_page_makes_the_same_address_of_a_url_as_ours(form: str, url: str) -> None:
    url = form_of(form, url)
    assert agent_of_the_page().address_of(url) == websocket_url(url)


@pytest.mark.parametrize("form", FORMS)
async def test_the_agent_of_the_page_follows_a_redirect(form: str) -> None:
    async with orchestrator() as (server, url), orchestrator() as (leader, leader_url):
        async with running(form_of(form, url)):
            peer = Peer(await server.connections.get())
            await peer.receive(frames.Hello)
            await peer.send(frames.Redirect(form_of(form, leader_url)))
            await leader.greet()


@pytest.mark.parametrize("code", [4000, 4001, 4002, 4003])
async def test_the_agent_of_the_page_stops_when_it_is_told_to(code: int) -> None:
    async with orchestrator() as (server, url), running(url) as agent:
        peer, _ = await server.greet()
        await peer.connection.close(code)
        await agent
