"""The OpenAPI document without a server: `python -m curta_server.api.document` prints it.

The client's types are made of it (`npm run types`), and so can anybody's be. The routes are there, no
service behind them: nothing is listened on, and no database is asked.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from typing import Any, Final

from curta_server.api.factory import create_app
from curta_server.api.services import EXTENSION, Context, Services
from curta_server.settings import Settings

_WITHOUT_DATABASE: Final = "postgresql:///nobody-asks-it"


async def document() -> dict[str, Any]:
    """What `GET /openapi.json` of a running orchestrator answers."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Services))
    services = Services(**{**nothing, "settings": Settings(database_url=_WITHOUT_DATABASE)})
    app = create_app(services)
    context: Context = app.extensions[EXTENSION]
    async with app.app_context():
        return context.describe()


if __name__ == "__main__":
    json.dump(asyncio.run(document()), sys.stdout, indent=1, ensure_ascii=False)
