"""Typed partial decoding: what servers leave out, null, or say in two spellings."""

import datetime as dt
import inspect
import pkgutil
from importlib import import_module
from typing import Any

import msgspec
import pytest

from gpuctl.kube import objects
from gpuctl.kube.objects.core import Event, Secret
from gpuctl.kube.objects.meta import Condition, condition, is_true
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.paging import list_type

TYPES = [
    found
    for module in pkgutil.iter_modules(objects.__path__)
    for _, found in inspect.getmembers(import_module(f"{objects.__name__}.{module.name}"), inspect.isclass)
    if issubclass(found, msgspec.Struct) and found.__module__.startswith(objects.__name__)
]


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.__name__)
def test_everything_may_be_left_out_and_collections_may_be_null(type_: type[msgspec.Struct]) -> None:
    assert msgspec.json.decode(b"{}", type=type_) == type_()
    collections = {
        field.encode_name: None
        for field in msgspec.structs.fields(type_)
        if any(word in str(field.type) for word in ("list[", "dict[", "Quantities"))
    }
    assert msgspec.json.decode(msgspec.json.encode(collections), type=type_) == type_()
    assert type_.__struct_config__.gc is False


def test_a_list_may_be_null() -> None:
    assert msgspec.json.decode(b'{"metadata": {}, "items": null}', type=list_type(Pod)).items is None


def test_both_kinds_of_events_say_the_same() -> None:
    old: dict[str, Any] = {
        "involvedObject": {"kind": "Pod", "name": "x"},
        "message": "0/3 nodes",
        "lastTimestamp": "2026-03-01T12:00:00Z",
        "count": 4,
        "source": {"component": "default-scheduler"},
        "eventTime": None,
    }
    new: dict[str, Any] = {
        "regarding": {"kind": "Pod", "name": "x"},
        "note": "0/3 nodes",
        "series": {"count": 4, "lastObservedTime": "2026-03-01T12:00:00.000000Z"},
        "eventTime": "2026-03-01T11:00:00.000000Z",
        "reportingController": "default-scheduler",
    }
    for document in (old, new):
        event = msgspec.convert(document, Event, strict=False)
        assert (event.about.name, event.text, event.times, event.by) == ("x", "0/3 nodes", 4, "default-scheduler")
        assert event.at == dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)


def test_of_two_conditions_the_latest_counts() -> None:
    early, late = (dt.datetime(2026, 3, day, tzinfo=dt.timezone.utc) for day in (1, 2))
    both = [
        Condition(type="Ready", status="True", last_transition_time=late),
        Condition(type="Ready", status="False", last_transition_time=early),
    ]
    assert is_true(both, "Ready")
    assert is_true(both[::-1], "Ready")
    assert condition(both, "Other") is None
    assert not is_true(None, "Ready")


def test_a_secrets_values_have_no_repr() -> None:
    assert "czNjcmV0" not in repr(msgspec.json.decode(b'{"data": {"k": "czNjcmV0"}}', type=Secret))
