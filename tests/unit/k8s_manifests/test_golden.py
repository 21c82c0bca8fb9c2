"""What is rendered, to the letter: one file per kind and engine. ``pytest --snapshot-update`` writes them anew; read the difference."""

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tests.unit.k8s_manifests.cases import CASES, rendered


class YamlFiles(SingleFileSnapshotExtension):
    """One YAML file per case."""

    file_extension = "yaml"
    _write_mode = WriteMode.TEXT


@pytest.mark.parametrize("case", CASES)
def test_the_objects_of_a_case(case: str, snapshot: SnapshotAssertion) -> None:
    spec, engine, changes = CASES[case]
    text = yaml.safe_dump_all(rendered(spec, engine, **changes), sort_keys=False, width=200)
    assert text == snapshot(extension_class=YamlFiles)


@pytest.mark.parametrize("case", CASES)
def test_the_same_arguments_give_the_same_objects(case: str) -> None:
    spec, engine, changes = CASES[case]
    assert rendered(spec, engine, **changes) == rendered(spec, engine, **changes)
