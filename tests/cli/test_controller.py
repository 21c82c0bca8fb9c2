"""``gpuctl controller``: manifests in YAML and JSON, and what is refused."""

import json
from typing import Any

import pytest
import yaml

from tests.cli.recorder import RecordingPool


def test_the_definition_is_the_same_in_yaml_and_json(run: Any) -> None:
    written = run(RecordingPool(), "controller", "crds")
    assert (written.code, written.err) == (0, "")
    listed = json.loads(run(RecordingPool(), "controller", "crds", "-o", "json").out)
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "List")
    assert listed["items"] == list(yaml.safe_load_all(written.out))
    assert [each["metadata"]["name"] for each in listed["items"]] == ["poolschedules.gpuctl.io"]


@pytest.mark.parametrize("form", ["table", "wide", "name", "csv", "columns=name", "jsonpath=.items"])
def test_other_formats_are_refused(run: Any, form: str) -> None:
    outcome = run(RecordingPool(), "controller", "crds", "-o", form)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"--output: shows no Kubernetes objects, got '{form}' (allowed: yaml, json)" in outcome.err


def test_the_noun_alone_starts_nothing(run: Any) -> None:
    outcome = run(RecordingPool(), "controller")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Usage: gpuctl controller [OPTIONS] [VERB] [ARGS]...\n")
