"""What docs/live.md says is what the server does, as far as a program can read it."""

import re
from pathlib import Path

import msgspec

from curta_server import live, live_messages, rooms, viewers
from curta_server.live_messages import BrowserMessage, ServerMessage

PAGE = (Path(__file__).parents[3] / "docs" / "live.md").read_text(encoding="utf-8")


def test_its_messages_are_messages() -> None:
    lines = [line for block in re.findall(r"```json\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    known: msgspec.json.Decoder[BrowserMessage | ServerMessage] = msgspec.json.Decoder(
        BrowserMessage | ServerMessage
    )
    shown = {type(known.decode(line)).__name__ for line in lines}
    assert shown == {"Subscribe", "Unsubscribe", "Snapshot", "Delta", "LiveError"}


def test_its_topics_have_the_windows_that_the_rooms_know() -> None:
    rows = re.findall(r"^\| `(\w+)(?:/<id>)?` \|.*?\|([^|]*)\|$", PAGE, re.M)
    told = {topic: set(re.findall(r"`(\w+)`", fields)) for topic, fields in rows}
    assert told == {topic: set(fields) for topic, fields in rooms.WINDOWS.items()}


def test_its_figures_are_the_servers() -> None:
    assert f"At most {viewers.SUBSCRIPTIONS_MAX} topics" in PAGE
    assert f"{viewers.MESSAGE_BYTES_MAX // 1024} KiB a message" in PAGE
    assert f"keeps {rooms.KEPT_MESSAGES} messages, or {rooms.KEPT_BYTES // 2**20} MiB" in PAGE
    assert f"every {live_messages.BEAT_S:g} seconds" in PAGE
    assert f"`{live_messages.SUBPROTOCOL}`" in PAGE
    assert f"| {live._ENDED[0]} |" in PAGE
    assert all(f"`{code}`" in PAGE for code in viewers._CODES)
