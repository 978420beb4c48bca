"""WebSocket frames as the server writes them, read by hand."""


def text_of(frame: bytes) -> str:
    """The text in a frame of `curta_server.channel.frame_of`."""
    assert frame[0] == 0x81, "a whole text frame"
    head, size = {126: (4, 2), 127: (10, 8)}.get(frame[1], (2, 0))
    length = int.from_bytes(frame[2 : 2 + size], "big") if size else frame[1]
    assert len(frame) == head + length
    return frame[head:].decode()
