"""REST: everything of the public interface that is asked by HTTP, one module for each noun.

The way of a request: `factory` (the application) → `access` (whose token, which role) → a route
(`submissions`, `expressions`, `plan_tasks`, `operations`, `agents`, `pulling`, `tokens`, `health`, `pages`)
→ `answers` (JSON, or a problem). `reading` takes requests apart, `rendering` turns rows into
`curta_server.resources`, and `openapi` writes down what all of them say of themselves. Routes decide
nothing about scheduling: they ask the services.
"""

from curta_server.api.factory import create_app
from curta_server.api.services import Services

__all__ = ["Services", "create_app"]
