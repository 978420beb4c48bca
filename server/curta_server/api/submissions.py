"""Expressions on their way in: `POST /expressions`, its batch, and the dry run `POST /plan`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Struct
from quart import Blueprint, Response, request

from curta_server import metrics, store
from curta_server import resources as shapes
from curta_server.api import answers, expression_views, reading, rendering
from curta_server.api.access import WRITERS, allow, caller
from curta_server.api.documentation import documented
from curta_server.api.services import context
from curta_server.errors import Problem
from curta_server.intake import new_id
from curta_server.leading import Memory
from curta_server.planning import Planned, Wanted
from curta_server.slices import Slices

submissions = Blueprint("submissions", __name__)

_PROBLEMS: Final = ("invalid_expression", "literal_too_long", "too_long", "too_many_tasks", "unprocessable")

_submission: Final = msgspec.json.Decoder(shapes.Submission)


class _Batch(Struct, frozen=True):
    """The items stay bytes, so that a malformed one is a problem in its place and not of the whole."""

    expressions: list[msgspec.Raw]


_batch: Final = msgspec.json.Decoder(_Batch)


class SubmissionQuery(Struct):
    optimize: Annotated[
        bool, msgspec.Meta(description="For a bare expression: false plans exactly as written.")
    ] = True


@submissions.post("/expressions")
@allow(*WRITERS)
@documented(
    "expressions",
    {200: shapes.Expression},
    query=SubmissionQuery,
    body=shapes.Submission,
    bare=True,
    headers={"Idempotency-Key": "The client's own id, where the body does not hold it."},
    answer_headers={"Location": "Where the expression is found."},
    problems=(*_PROBLEMS, "id_reused", "too_many_requests"),
)
async def submit_expression() -> Response:
    """Submit an expression.

    Send JSON, or the bare expression as the whole body with any other content type or none. The same id
    again, with the same text and `optimize`, gives the same expression, created once.
    """
    context().gate.submit(caller())
    wanted, client_id = await _read_submission()
    services = context().services
    planned = await services.planning.plan(*wanted, await context().durations.current())
    draft = _draft(caller().name, client_id, planned)
    (insertion,) = await _store([draft])
    outcome = _outcome(draft, insertion, await _memory([insertion]))
    if isinstance(outcome, Problem):
        raise outcome
    return _found(outcome)


@submissions.post("/expressions/batch")
@allow(*WRITERS)
@documented(
    "expressions",
    {200: shapes.BatchAnswer},
    body=shapes.BatchSubmission,
    problems=("too_long", "unprocessable", "too_many_requests"),
)
async def submit_expressions() -> Response:
    """Submit many expressions in one transaction.

    The answer has an item for each, in order: the expression, or a problem. One that is refused does not
    hinder the others. A batch beyond a limit of the token or the user (429) is refused as a whole, and
    nothing of it is stored: send it again, as it is.
    """
    services = context().services
    items = (await reading.json_body(_batch)).expressions
    limit = services.settings.batch_max
    if len(items) > limit:
        raise Problem(
            "unprocessable", f"A batch has at most {limit:,} expressions; this one has {len(items):,}."
        )
    context().gate.submit(caller(), len(items))
    drafts, refusals = await _drafts(items, caller().name)
    insertions = dict(zip(drafts, await _store(list(drafts.values())), strict=True))
    memory = await _memory(insertions.values())
    parts = []
    slices = Slices()
    for place in range(len(items)):
        outcome = refusals.get(place) or _outcome(drafts[place], insertions[place], memory)
        body = outcome.body() if isinstance(outcome, Problem) else outcome
        parts.append(answers.encoder.encode(body))
        await slices.turn()
    return answers.encoded(b'{"items":[' + b",".join(parts) + b"]}")


@submissions.post("/plan")
@allow(*WRITERS)
@documented(
    "expressions",
    {200: shapes.PlanSummary},
    query=SubmissionQuery,
    body=shapes.Submission,
    bare=True,
    problems=(*_PROBLEMS, "too_many_requests"),
)
async def plan_expression() -> Response:
    """What an expression would cost. Nothing is stored, and an id means nothing here."""
    context().gate.submit(caller())
    wanted, _ = await _read_submission()
    durations = await context().durations.current()
    summary = await context().services.planning.summarize(*wanted, durations)
    return answers.answer(
        shapes.PlanSummary(
            tasks=summary.tasks,
            sequential_ms=summary.sequential_ms,
            critical_path_ms=summary.critical_path_ms,
            critical_path_as_written_ms=summary.critical_path_as_written_ms,
            width=summary.width,
        )
    )


async def _store(drafts: Sequence[store.Draft]) -> list[store.Insertion]:
    """What became of the drafts, which are all the caller's. Raises: Problem 429, 503."""
    # Bare numbers are final when they are stored.
    opening = [draft for draft in drafts if draft.value is None]
    try:
        return await _store_in_places(drafts, len(opening))
    except Problem as problem:
        if problem.code != "too_many_requests":
            raise
        async with context().services.engine.connect() as connection:
            known = await store.count_known(connection, opening)
        if not known:
            raise
    # What is sent again opens nothing, and is answered however much is open.
    return await _store_in_places(drafts, len(opening) - known)


async def _store_in_places(drafts: Sequence[store.Draft], opening: int) -> list[store.Insertion]:
    """The same, where at most so many of them open something."""
    services = context().services
    if not opening:
        return await services.intake.submit(drafts)
    async with context().gate.places(caller().name, opening) as taken:
        insertions = await services.intake.submit(drafts)
        taken.count = sum(
            draft.value is None and isinstance(insertion, store.Stored)
            for draft, insertion in zip(drafts, insertions, strict=True)
        )
        return insertions


async def _read_submission() -> tuple[Wanted, str | None]:
    """The body in either form, and the client's id. Raises: Problem 400, 413, 415, 422."""
    data = await reading.body()
    keys = set(request.headers.getlist("Idempotency-Key"))
    if len(keys) > 1:
        raise Problem("malformed", "There are several headers `Idempotency-Key`, and they differ.")
    key = reading.checked_client_id(keys.pop()) if keys else None
    asked = reading.boolean("optimize")
    if not reading.is_json():
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise reading.not_utf8(error) from None
        return Wanted(text, asked is not False), key
    submission = reading.decode(data, _submission)
    id, optimize = submission.id, submission.optimize
    if id is not None:
        reading.checked_client_id(id)
        if key is not None and key != id:
            raise Problem("malformed", "The header `Idempotency-Key` and the body's `id` differ.")
    if optimize is UNSET:
        optimize = asked is not False
    elif asked is not None and asked != optimize:
        raise Problem("malformed", "The query parameter `optimize` and the body's `optimize` differ.")
    return Wanted(submission.expression, optimize), id or key


async def _drafts(
    items: Sequence[msgspec.Raw], owner: str
) -> tuple[dict[int, store.Draft], dict[int, Problem]]:
    """A batch's drafts and refusals, by their places in it. Raises: Problem 503."""
    slices = Slices()
    refusals: dict[int, Problem] = {}
    wanted: dict[int, tuple[Wanted, str | None]] = {}
    for place, item in enumerate(items):
        try:
            wanted[place] = _wanted(reading.decode(item, _submission))
        except Problem as problem:
            refusals[place] = problem
        await slices.turn()
    durations = await context().durations.current()
    plans = await context().services.planning.plan_many([one for one, _ in wanted.values()], durations)
    drafts: dict[int, store.Draft] = {}
    for (place, (_, client_id)), planned in zip(wanted.items(), plans, strict=True):
        if isinstance(planned, Problem):
            refusals[place] = planned
        else:
            drafts[place] = _draft(owner, client_id, planned)
        await slices.turn()
    return drafts, refusals


def _wanted(submission: shapes.Submission) -> tuple[Wanted, str | None]:
    """What is to be planned, and the client's id. Raises: Problem 422."""
    id = None if submission.id is None else reading.checked_client_id(submission.id)
    return Wanted(submission.expression, submission.optimize is not False), id


def _draft(owner: str, client_id: str | None, planned: Planned) -> store.Draft:
    return store.Draft(
        id=new_id(),
        owner=owner,
        client_id=client_id,
        text=planned.text,
        optimize=planned.optimize,
        plan=planned.plan,
        plan_bytes=planned.encoded,
        tasks=len(planned.plan),
        durations=planned.durations_ms,
        value=planned.value,
        result=planned.result,
        exact=planned.exact,
    )


async def _memory(insertions: Iterable[store.Insertion]) -> Memory:
    """What the leader's memory says of those that may be in it: what was stored just now, under no term, is
    not."""
    asked, reused = [], []
    for insertion in insertions:
        match insertion:
            case store.Reused(row) if not row.is_final:
                asked.append(str(row.id))
                reused.append(row)
            case store.Stored(id, _, epoch) if epoch:
                asked.append(str(id))
    services = context().services
    return await expression_views.with_journalled(services, reused, await services.leading.memory(asked))


def _outcome(draft: store.Draft, insertion: store.Insertion, memory: Memory) -> shapes.Expression | Problem:
    match insertion:
        case store.Stored():
            if draft.value is not None:
                metrics.finished_expressions.labels("done").inc()
            return rendering.stored(draft, insertion, memory)
        case store.Reused(row):
            return rendering.expression(row, memory)
        case store.Conflict():
            return _conflict(draft.client_id or "")


def _conflict(client_id: str) -> Problem:
    return Problem(
        "id_reused", f"The id {client_id} was used for another expression, or with another `optimize`."
    )


def _found(expression: shapes.Expression) -> Response:
    return answers.answer(expression, headers={"Location": f"/expressions/{expression.id}"})
