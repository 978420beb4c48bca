"""A client of the REST interface for tests against a running orchestrator: httpx and nothing of ours."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.waiting import until

FINAL = ("done", "failed", "cancelled")


class Client:
    """Speaks as the owner of `secret`. Use as an asynchronous context."""

    def __init__(self, url: str, secret: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=60,
            verify=tls or True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def ask(self, method: str, path: str, *, status: int = 200, **options: Any) -> Any:
        """One request that is answered with `status`; the JSON of the answer, None where there is none."""
        response = await self.http.request(method, path, **options)
        assert response.status_code == status, (method, path, response.status_code, response.text[:1000])
        return response.json() if response.content else None

    async def problem(self, method: str, path: str, *, status: int, **options: Any) -> dict[str, Any]:
        """One request that is refused with `status`; the problem of RFC 9457 that says why."""
        response = await self.http.request(method, path, **options)
        assert response.status_code == status, (method, path, response.status_code, response.text[:1000])
        assert response.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = response.json()
        assert problem["status"] == status and problem["title"] and problem["detail"]
        assert problem["type"].startswith("/problems/")
        return problem

    async def submit(self, text: str, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.ask("POST", "/expressions", json={"expression": text, **fields})
        return answer

    async def show(self, id: str, **parameters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.ask("GET", f"/expressions/{id}", params=parameters)
        return answer

    async def final(self, id: str, *, within_s: float = 30.0) -> dict[str, Any]:
        """The expression as it ended."""
        shown: dict[str, Any] = {}

        async def ended() -> bool:
            nonlocal shown
            shown = await self.show(id, wait=min(within_s, 10))
            return shown["status"] in FINAL

        try:
            await until(ended, within_s=within_s)
        except AssertionError:
            raise AssertionError(f"not final within {within_s:g} s: {shown}") from None
        return shown

    async def compute(self, text: str, *, within_s: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Submit and wait: the expression as it ended."""
        submitted = await self.submit(text, **fields)
        return await self.final(submitted["id"], within_s=within_s)

    async def tasks(self, id: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/expressions/{id}/tasks", params=parameters)
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def agents(self) -> dict[str, dict[str, Any]]:
        """Agents by name."""
        answer = await self.ask("GET", "/agents", params={"limit": 1000})
        return {item["name"]: item for item in answer["items"]}

    async def sees_one_lost(self) -> bool:
        """Whether there is one agent, and it is lost."""
        return [one["status"] for one in (await self.agents()).values()] == ["lost"]

    async def running(self, id: str) -> list[dict[str, Any]]:
        """The tasks of the expression that are in an agent's hands."""
        return [task for task in await self.tasks(id) if task["state"] == "running"]

    async def set_durations(self, **durations_ms: int) -> None:
        for name, duration_ms in durations_ms.items():
            await self.ask("PUT", f"/operations/{name}", json={"duration_ms": duration_ms})

    async def set_all_durations(self, duration_ms: int) -> None:
        await self.set_durations(
            addition=duration_ms,
            subtraction=duration_ms,
            multiplication=duration_ms,
            division=duration_ms,
        )

    async def make_token(self, name: str, role: str) -> tuple[str, str]:
        """As an admin: the id and the secret of a new token."""
        answer = await self.ask("POST", "/tokens", json={"name": name, "role": role})
        return answer["id"], answer["secret"]
