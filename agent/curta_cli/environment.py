"""Flags, environment variables and files: the one place where configuration enters the process.

Every subcommand uses it. A setting `pool_size` is the variable `CURTA_POOL_SIZE`; a flag `--public-url` is
the variable `CURTA_PUBLIC_URL`; an empty variable counts as unset. Secrets are read here and nowhere else,
from `CURTA_X` or from the file that `CURTA_X_FILE` names, and never from a flag: flags are seen in the
process list.
"""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

import click

SECRETS = frozenset({"token", "admin_token", "agent_token", "database_url"})
"""Settings that are secret: no flag, a `…_FILE` twin."""

DATA = Path(".curta")
"""Where `curta up` keeps everything unless told otherwise."""

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


def option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    """`click.option` that is also the environment variable of the same name, shown in `--help`."""
    flag = next(name for name in names if name.startswith("--")).partition("/")[0]
    return click.option(*names, envvar=variable(flag[2:]), show_envvar=True, **attributes)


def variable(name: str) -> str:
    """The environment variable of a setting or flag: `public-url` is CURTA_PUBLIC_URL."""
    return "CURTA_" + name.replace("-", "_").upper()


def data_option() -> Callable[[Command], Command]:
    """`--data DIR`: where `curta up` keeps its database and tokens, and where others find them."""
    return option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=DATA,
        show_default=True,
        metavar="DIR",
        help="Where `curta up` keeps its database and tokens.",
    )


def secret(name: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret from CURTA_<NAME>, or from the file that CURTA_<NAME>_FILE names; empty when neither is set.

    White space around it is ignored, so that files may end with a line feed.
    Raises: UsageError when both are set, or the file cannot be read or is empty.
    """
    environ = os.environ if environ is None else environ
    direct, twin = variable(name), variable(name) + "_FILE"
    text, path = environ.get(direct, "").strip(), environ.get(twin, "")
    if text and path:
        raise click.UsageError(f"{direct} and {twin} are both set; set one of them.")
    if not path:
        return text
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise click.UsageError(f"The file that {twin} names, {path}, cannot be read: {reason}.") from None
    if not text:
        raise click.UsageError(f"The file that {twin} names, {path}, is empty.")
    return text


def settings(kind: type[T], environ: Mapping[str, str] | None = None, **given: Any) -> T:
    """An instance of the settings dataclass `kind`: flags before variables before defaults.

    `given` holds flags by field name; None there means that the flag was not used.
    Raises: UsageError that names the variable and says what is expected, also for a ValueError of `kind`.
    """
    environ = os.environ if environ is None else environ
    hints = get_type_hints(kind)
    values = {name: value for name, value in given.items() if value is not None}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in values:
            continue
        if field.name in SECRETS:
            text = secret(field.name, environ)
        else:
            text = environ.get(variable(field.name), "").strip()
        if text:
            values[field.name] = _convert(variable(field.name), text, hints[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            twin = f" or {variable(field.name)}_FILE" if field.name in SECRETS else ""
            raise click.UsageError(f"{variable(field.name)} is missing: set it{twin}.")
    try:
        return kind(**values)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


def _convert(name: str, text: str, hint: Any) -> Any:
    """A variable's text as what the field's type asks for."""
    if hint is int:
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise click.UsageError(f"{name} must be a whole number, not {text!r}.")
        return int(text)
    if hint is float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= 0):
            raise click.UsageError(f"{name} must be a number, not {text!r}.")
        return number
    if hint in (tuple[str, ...], tuple[str, ...] | None):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if hint is bool:
        return click.BOOL.convert(text, None, None)
    return text


class Span(click.ParamType[float]):
    """A length of time such as `30d`, `12h`, `90m` or `45s`; in seconds afterwards."""

    name = "duration"
    UNITS: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a length of time: write 30d, 12h, 90m or 45s.", param, ctx)
        return float(match[1]) * self.UNITS[match[2]]
