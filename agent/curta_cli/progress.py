"""Progress bars on standard error, for `curta submit --wait` on a terminal.

One bar for each expression that is being waited for while they are few, one for all of them otherwise. It
shows what it is told and asks nobody.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from curta_cli.text import length, shorten

FEW = 10
"""Up to so many expressions have bars of their own."""


class Bars:
    """Bars for `count` expressions; use as a context, which clears them at its end."""

    def __init__(self, count: int) -> None:
        # Standard output carries results and must stay untouched, so rich may not redirect it to the bars'
        # console.
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._all: TaskID | None = None
        if count > FEW:
            self._all = self._progress.add_task("expressions", total=count, note="")
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, expression: Mapping[str, Any]) -> None:
        """Bring an unfinished expression's bar up to date."""
        if self._all is not None:
            return
        name, tasks = expression["id"], expression["tasks"]
        if name not in self._bars:
            title = escape(shorten(expression["expression"], 30))
            self._bars[name] = self._progress.add_task(
                title, completed=tasks["done"], total=tasks["total"], note=""
            )
        eta_s = expression["eta_s"]
        note = expression["waiting_for"] or (f"{length(eta_s)} left" if eta_s is not None else "")
        self._progress.update(
            self._bars[name], completed=tasks["done"], total=tasks["total"], note=escape(shorten(note, 50))
        )

    def finished(self, expression: Mapping[str, Any]) -> None:
        """Take an expression that is final off the screen, or count it."""
        if self._all is not None:
            self._progress.advance(self._all)
        elif (bar := self._bars.pop(expression["id"], None)) is not None:
            self._progress.remove_task(bar)
