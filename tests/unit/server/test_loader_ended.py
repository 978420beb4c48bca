"""What has left memory is final: no late answer of the database brings it back."""

from tests.support.drafts import draft

from curta_server.core.events import Event, Loaded
from curta_server.loader import Loader
from curta_server.settings import Settings


async def test_an_expression_that_ended_is_not_loaded_again() -> None:
    posted: list[Event] = []
    loader = Loader(
        None,  # type: ignore[arg-type]  # the table is not asked
        1,
        Settings(),
        post=posted.append,
        clock_us=lambda: 0,
        values_bytes=lambda: 0,
        durations=(0, 0, 0, 0),
    )
    one, other = draft(), draft()
    loader.stored([one])
    loader.dropped(str(one.id))
    loader.stored([one, other])
    loaded = [event.execution.id for event in posted if isinstance(event, Loaded)]
    assert loaded == [str(one.id), str(other.id)]
