"""docs/asyncapi.yaml and the frames say the same: whichever of them changes alone fails here."""

import json
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curta_wire import PROTOCOL, SUBPROTOCOL, codec, frames
from curta_wire.frames import AgentFrame, ServerFrame

DOCUMENT = yaml.safe_load((Path(__file__).parents[3] / "docs" / "asyncapi.yaml").read_text())
MESSAGES = DOCUMENT["components"]["messages"]
SCHEMAS = DOCUMENT["components"]["schemas"]
CHANNEL = DOCUMENT["channels"]["agents"]
FRAMES = (*get_args(AgentFrame), *get_args(ServerFrame))

# What describes but does not change which JSON is accepted by the code: the code checks numbers in `numbers`.
EDITORIAL = {"title", "description", "format", "pattern", "examples"}


def tag(frame: type[msgspec.Struct]) -> str:
    return str(frame.__struct_config__.tag)


def normal(schema: Any) -> Any:
    """A schema without what is editorial, in one of the several ways to say the same thing."""
    if isinstance(schema, list):
        return [normal(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: value for key, value in schema.items() if key not in EDITORIAL}
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if isinstance(plain.get("prefixItems"), list):
        first, *others = plain.pop("prefixItems")
        assert all(other == first for other in others)
        plain["items"] = first
    if "$ref" in plain:
        plain["$ref"] = plain["$ref"].rsplit("/", 1)[1]
    if "required" in plain:
        plain["required"] = sorted(plain["required"])
    if "properties" in plain:
        named = {name: normal(value) for name, value in plain.pop("properties").items()}
        return {**{key: normal(value) for key, value in plain.items()}, "properties": named}
    return {key: normal(value) for key, value in plain.items()}


def validator(name: str) -> jsonschema.Draft7Validator:
    """Checks the payload of one message as a reader of the document would."""
    return jsonschema.Draft7Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    )


def test_the_document_knows_every_type_of_the_code_and_no_other() -> None:
    _, structs = msgspec.json.schema_components(FRAMES)
    assert set(SCHEMAS) == set(structs)
    assert set(MESSAGES) == {tag(frame) for frame in FRAMES} == set(CHANNEL["messages"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_fields_types_bounds_and_what_is_required_are_the_same(name: str) -> None:
    _, structs = msgspec.json.schema_components(FRAMES)
    documented = normal(SCHEMAS[name])
    if name == "Result":
        # codec sees to it (below): msgspec has no word for it.
        assert documented.pop("oneOf") == [{"required": ["value"]}, {"required": ["error"]}]
    if name == "Assignment":
        # An agent answers an operation that it does not know by an error, so its decoder takes any text.
        assert documented["properties"]["operation"].pop("enum") == list(frames.OPERATIONS)
    assert documented == normal(structs[name])


@pytest.mark.parametrize("frame", FRAMES, ids=tag)
def test_a_message_is_named_by_its_tag_and_points_at_its_struct(frame: type[msgspec.Struct]) -> None:
    assert MESSAGES[tag(frame)]["payload"] == {"$ref": f"#/components/schemas/{frame.__name__}"}
    assert SCHEMAS[frame.__name__]["properties"]["type"] == {"const": tag(frame)}
    assert CHANNEL["messages"][tag(frame)] == {"$ref": f"#/components/messages/{tag(frame)}"}


@pytest.mark.parametrize(
    ("operation", "action", "side"), [("fromAgent", "receive", AgentFrame), ("toAgent", "send", ServerFrame)]
)
def test_each_direction_lists_its_messages(operation: str, action: str, side: Any) -> None:
    described = DOCUMENT["operations"][operation]
    assert described["action"] == action
    assert [message["$ref"] for message in described["messages"]] == [
        f"#/channels/agents/messages/{tag(frame)}" for frame in get_args(side)
    ]


def test_limits_and_names_are_the_same() -> None:
    assert CHANNEL["x-frame-bytes-max"] == codec.FRAME_BYTES_MAX
    headers = CHANNEL["bindings"]["ws"]["headers"]["properties"]
    assert headers["Sec-WebSocket-Protocol"]["pattern"].replace("\\", "") == SUBPROTOCOL
    assert DOCUMENT["info"]["version"].split(".")[0] == str(PROTOCOL)


def test_no_reference_leads_nowhere() -> None:
    def follow(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                target = DOCUMENT
                for key in part["$ref"].removeprefix("#/").split("/"):
                    target = target[key]
            for value in part.values():
                follow(value)
        elif isinstance(part, list):
            for value in part:
                follow(value)

    follow(DOCUMENT)


@pytest.mark.parametrize("frame", FRAMES, ids=tag)
def test_every_example_is_valid_and_is_what_the_code_reads(frame: type[msgspec.Struct]) -> None:
    examples = MESSAGES[tag(frame)]["examples"]
    assert examples
    decode = codec.decode_from_agent if frame in get_args(AgentFrame) else codec.decode_from_server
    for example in examples:
        validator(frame.__name__).validate(example["payload"])
        assert type(decode(json.dumps(example["payload"]))) is frame


def test_examples_name_orchestrators_as_the_server_does() -> None:
    payloads = [example["payload"] for message in MESSAGES.values() for example in message["examples"]]
    urls = [url for it in payloads for url in [*it.get("peers", ()), *([it["url"]] if "url" in it else ())]]
    assert len(urls) >= 3
    for url in urls:
        parts = urlsplit(url)
        assert (parts.scheme in ("http", "https"), parts.path) == (True, ""), url


results: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "task": st.text("t.\u00e9\U0001d11e", max_size=5),
        "attempt": st.integers(-2, 2**54),
        "value": st.just("7"),
    }
) | st.fixed_dictionaries(
    {"task": st.just("t"), "attempt": st.just(1)},
    optional={
        "value": st.sampled_from(["1", "-1/2", None, 3]),
        "error": st.sampled_from([{"code": "internal"}, {"code": "x", "message": "y"}, {}, None]),
    },
)


@given(results)
def test_code_and_document_agree_on_which_results_are_valid(result: dict[str, Any]) -> None:
    frame = {"type": "results", "results": [result]}
    try:
        codec.decode_from_agent(json.dumps(frame))
        is_read = True
    except codec.ProtocolError:
        is_read = False
    assert is_read == validator("Results").is_valid(frame)
