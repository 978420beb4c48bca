"""What the tests of the routes stand on."""

from collections.abc import Iterator

import pytest
from tests.support.rest import Rest

from curta_server.settings import Settings
from curta_wire.offload import Offload


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rest]:
    """The REST application with small limits; long texts go to a real child process."""
    offload = Offload(1, 4)
    settings = Settings(
        text_bytes_max=4000,
        inline_text_bytes=400,
        body_bytes_max=10_000,
        tasks_max=300,
        literal_digits_max=50,
        batch_max=20,
        value_digits_max=1000,
    )
    try:
        yield Rest(monkeypatch, settings, offload)
    finally:
        offload.close()
