"""What can be set on an agent, and what cannot."""

from typing import Any

import pytest

from curta_agent.settings import AgentSettings


def made(**fields: Any) -> AgentSettings:
    return AgentSettings(**({"urls": ("http://127.0.0.1:8080",), "token": "t" * 32} | fields))


def test_defaults_are_what_a_machine_can_do() -> None:
    settings = made()
    assert settings.slots >= 1 and settings.name and settings.operations is None and settings.drain_s == 5.0


def test_the_token_is_not_shown() -> None:
    assert "tttt" not in repr(made())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"urls": ()}, "at least one"),
        ({"urls": ("nowhere",)}, "URL"),
        ({"token": ""}, "token"),
        ({"token": "a\nb"}, "token"),
        ({"token": "ä"}, "token"),
        ({"slots": 0}, "slots"),
        ({"slots": 20_001}, "slots"),
        ({"name": ""}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"drain_s": -1}, "negative"),
        ({"operations": ("addition", "power")}, "power"),
        ({"operations": ()}, "at least one"),
        ({"http": "x"}, "port"),
        ({"http": "localhost:"}, "port"),
        ({"http": "70000"}, "port"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        made(**fields)


@pytest.mark.parametrize(
    ("http", "address"),
    [
        ("8081", ("127.0.0.1", 8081)),
        (":8081", ("127.0.0.1", 8081)),
        ("0.0.0.0:8081", ("0.0.0.0", 8081)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:8081", ("localhost", 8081)),
    ],
)
def test_the_own_port_is_local_unless_told_otherwise(http: str, address: tuple[str, int]) -> None:
    assert made(http=http).http_address() == address
