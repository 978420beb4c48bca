"""The REST application on stand-ins, and a client that speaks to it as one user or another."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from curta_server.api import Services, create_app
from curta_server.feed import Feed
from curta_server.leading import Leading
from curta_server.planning import Planning
from curta_server.settings import Settings
from curta_wire.offload import Offload
from tests.support.fakes import (
    FakeCredentials,
    FakeDispatcher,
    FakeForwarding,
    FakeLeadership,
    FakeNotices,
    FakePull,
    FakeTable,
    FakeThere,
)


class Answer:
    """What came back: `body` is the decoded JSON, or None."""

    def __init__(self, status: int, headers: Any, data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data
        is_json = headers.get("Content-Type", "").startswith(("application/json", "application/problem+json"))
        self.body = msgspec.json.decode(data) if is_json and data else None

    @property
    def code(self) -> str:
        """The code of the problem that this answer is; fails for any other answer."""
        assert self.headers["Content-Type"] == "application/problem+json", self.data
        assert self.body is not None
        assert set(self.body) >= {"type", "title", "status", "detail"}
        assert self.body["status"] == self.status
        assert self.body["detail"]
        return str(self.body["type"]).removeprefix("/problems/")


class Rest:
    """An application of its own for each test. `ask` speaks as `anna`, a user, unless told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings, offload: Offload) -> None:
        self.table = FakeTable()
        self.table.install(monkeypatch)
        self.pull = FakePull()
        self.there = FakeThere()
        self.leadership = FakeLeadership()
        self.notices = FakeNotices()
        self.forwarding = FakeForwarding()
        self.feed = Feed()
        self.dispatcher = FakeDispatcher(self.feed)
        self.credentials = FakeCredentials()
        for name, role in (
            ("anna", "user"), ("bert", "user"), ("root", "admin"), ("guest", "viewer"), ("machine", "agent"),
        ):  # fmt: skip
            self.credentials.add(name, role)
        self.settings = settings
        self.app = create_app(
            Services(
                settings=settings,
                engine=cast("Any", self.table),
                dispatcher=cast("Any", self.dispatcher),
                pull=cast("Any", self.pull),
                feed=self.feed,
                intake=cast("Any", self.table),
                credentials=cast("Any", self.credentials),
                planning=Planning(settings, offload),
                checks=offload,
                leadership=cast("Any", None),
                leading=Leading(self.dispatcher, self.there, self.leadership, self.notices),
                forwarding=cast("Any", self.forwarding),
                agent_board=cast("Any", None),
                stats_board=cast("Any", None),
            )
        )
        self.client: Any = self.app.test_client()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        by: str | None = "anna-user",
        data: bytes | str | None = None,
        json: Any = msgspec.UNSET,
        type: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; `by` is a secret (`<name>-<role>`), None sends no token."""
        sent = dict(headers or {})
        if by is not None:
            sent["Authorization"] = f"Bearer {by}"
        if json is not msgspec.UNSET:
            data, type = msgspec.json.encode(json), type or "application/json"
        if type is not None:
            sent["Content-Type"] = type
        response = await self.client.open(path, method=method, headers=sent, data=data)
        return Answer(response.status_code, response.headers, cast("bytes", await response.get_data()))

    async def submit(self, text: str, **options: Any) -> dict[str, Any]:
        """The expression that a bare text becomes."""
        answer = await self.ask("POST", "/expressions", data=text, **options)
        assert answer.status == 200, answer.data
        assert answer.body is not None
        return cast("dict[str, Any]", answer.body)
