"""The definition of PoolSchedule follows the model: every field, described, and no word of the model's that it lacks."""

import re
import signal
from typing import Any, get_args

import msgspec
import pytest

from gpuctl.base import duration
from gpuctl.controllers.manifests import definition, structural
from gpuctl.controllers.status import Condition
from gpuctl.model.schedule import DrainPolicy, ScheduleSpec

WHOLE = definition.definition()
SCHEMA = WHOLE["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every schema within, with its path."""
    found = [(path, schema)]
    for name, inner in schema.get("properties", {}).items():
        found += nodes(inner, f"{path}.{name}")
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if inner is not None:
            found += nodes(inner, f"{path}[]")
    return found


def fields(kind: type, path: str) -> set[str]:
    """Paths of the fields of a struct and of those within."""
    found = set()
    for field in msgspec.structs.fields(kind):
        where = f"{path}.{field.encode_name}"
        found.add(where)
        for inner in (field.type, *get_args(field.type)):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found |= fields(inner, where if inner is field.type else f"{where}[]")
    return found


def test_every_field_of_the_model_is_there_and_no_other() -> None:
    there = {path for path, _ in nodes(SCHEMA["properties"]["spec"], ".spec") if not path.endswith("[]") and path != ".spec"}
    assert there == fields(ScheduleSpec, ".spec")


def test_every_field_says_what_it_is() -> None:
    silent = [path for path, schema in nodes(SCHEMA) if not path.endswith("[]") and "description" not in schema]
    assert silent == [".apiVersion", ".kind", ".metadata", ".metadata.name"]


def test_descriptions_are_sentences_in_the_spelling_of_documents() -> None:
    texts = {path: schema["description"] for path, schema in nodes(SCHEMA) if "description" in schema}
    assert [path for path, text in texts.items() if "`" in text or re.search("[a-z]_[a-z]", text) or not text.endswith(".")] == []
    assert texts[".spec.windows[].drain.notify"] == "So long before the end its jobs are told. Default: 45m."


def test_the_server_sets_no_defaults() -> None:
    assert [path for path, schema in nodes(SCHEMA) if "default" in schema] == []


def test_the_words_of_a_policy_and_the_signals_are_the_models() -> None:
    drain = SCHEMA["properties"]["spec"]["properties"]["windows"]["items"]["properties"]["drain"]["properties"]
    assert set(drain["policy"]["enum"]) == set(get_args(DrainPolicy))
    here = {each.name.removeprefix("SIG") for each in signal.Signals} - {"KILL", "STOP"}
    assert here <= set(definition.SIGNALS)


@pytest.mark.parametrize("text", ["6h", "1d12h", "90m", " 30s\n", "1-02:03:04", "02:03:04", "0s", "1d1s"])
def test_durations_match_their_pattern(text: str) -> None:
    duration.parse(text)
    assert re.search(duration.PATTERN, text, re.ASCII)


@pytest.mark.parametrize("text", ["", " ", "6", "h", "6h3", "6 h", "1h1d", "-1h", "1:00", "00:60:00", "\u0666h", "6h\u00a0"])
def test_what_is_no_duration_matches_neither(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        duration.parse(text)
    assert not re.search(duration.PATTERN, text, re.ASCII)


def test_a_rule_about_a_field_that_is_gone_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"status\.reasons"):
        structural.schema(Condition, rules={"status.reasons": {"maxItems": 1}}, root="status")


def test_columns_name_fields_that_are_there() -> None:
    known = {path for path, _ in nodes(SCHEMA)} | {".metadata.creationTimestamp"}
    named = {re.sub(r"\[\?.*?\)\]", "[]", path) for _, path, _ in definition.COLUMNS}
    assert named <= known
