from pathlib import Path

import pytest
import yaml

from gpuctl.base.errors import ConflictError, InvalidInput, NotFoundError
from gpuctl.config import paths, profiles, settings


def write(text: str) -> Path:
    path = Path(paths.user_config())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def document() -> dict[str, object]:
    loaded = yaml.safe_load(Path(paths.user_config()).read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_without_any_file_there_is_this_machine() -> None:
    profile = profiles.get(settings.load())
    assert profile.source == "embedded"
    assert profile.clusters == (profiles.ClusterEntry(name="local", kind="local"),)
    assert [each.name for each in profiles.all_profiles(settings.load())] == ["local"]


def test_add_use_remove_keep_what_is_not_theirs() -> None:
    write("color: never\nprofiles:\n  old: {clusters: [{name: ws, kind: local}]}\n")
    added = profiles.add(settings.load(), "lab", ["kind=local,name=ws,tier=reserved,slots=16", "ctx=res-a,price=H100:4.10,price=A100:2"])
    assert added.clusters[1] == profiles.ClusterEntry(
        name="res-a", kind="kubernetes", options={"ctx": "res-a", "price": "H100:4.10,A100:2"}
    )
    profiles.use(settings.load(), "lab")
    read = profiles.get(settings.load())
    assert read.clusters == added.clusters
    assert read.source == paths.user_config()
    assert document()["color"] == "never"
    profiles.remove(settings.load(), "lab")
    assert document() == {"color": "never", "profiles": {"old": {"clusters": [{"name": "ws", "kind": "local"}]}}}
    assert profiles.get(settings.load()).name == "local"


def test_the_file_is_private_replaced_whole_and_a_link_stays_one(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.yaml"
    target.write_text("color: never\n")
    link = Path(paths.user_config())
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    profiles.add(settings.load(), "lab", ["kind=local"])
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".gpuctl-")] == []
    assert document()["color"] == "never"


def test_what_cannot_be_added() -> None:
    with pytest.raises(InvalidInput) as caught:
        profiles.add(settings.load(), "My Lab", ["kind=local,tier=cheap", "slots", "kind=local", "name=local,kind=x", "price=1"])
    told = [str(problem) for problem in caught.value.problems]
    assert [text.split(":")[0] for text in told] == ["NAME", "--cluster", "--cluster", "--cluster", "--cluster"]
    assert "did you mean my-lab?" in told[0]
    assert "unknown tier" in told[1]
    assert "key=value" in told[2]
    assert "has no kind" in told[3]
    assert "one name" in told[4]
    assert not Path(paths.user_config()).exists()
    with pytest.raises(InvalidInput):
        profiles.add(settings.load(), "lab", [])
    profiles.add(settings.load(), "lab", ["kind=local"])
    with pytest.raises(ConflictError):
        profiles.add(settings.load(), "lab", ["kind=local"])


def test_every_problem_of_a_written_profile_is_told() -> None:
    path = write("profiles:\n  a: 3\n  b: {clusters: []}\n  c: {cluster: [], clusters: [{kind: local}, 5, {kind: local}], store: paper}\n")
    with pytest.raises(InvalidInput) as caught:
        profiles.all_profiles(settings.load())
    fields = [problem.field.removeprefix(f"{path}: profiles.") for problem in caught.value.problems]
    assert fields == ["a", "b.clusters", "c.cluster", "c.store", "c.clusters[1]", "c.clusters"]


def test_yaml_values_become_the_text_of_options() -> None:
    write("profiles:\n  lab: {clusters: [{kind: local, slots: 16, share: true, price: {H100: 4.1}, only: [1, 2], gone: null}]}\n")
    assert profiles.get(settings.load(), "lab").clusters[0].options == {"slots": "16", "share": "true", "price": "H100:4.1", "only": "1,2"}


def test_an_unknown_profile_says_who_named_it(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.add(settings.load(), "lab", ["kind=local"])
    monkeypatch.setenv("GPUCTL_PROFILE", "lap")
    with pytest.raises(NotFoundError) as caught:
        profiles.get(settings.load())
    assert caught.value.cause == "it was named by GPUCTL_PROFILE"
    assert caught.value.hint == "gpuctl profile use lab"


def test_the_embedded_profile_cannot_be_removed_but_hidden() -> None:
    with pytest.raises(ConflictError):
        profiles.remove(settings.load(), "local")
    profiles.add(settings.load(), "local", ["kind=local,slots=2"])
    assert profiles.get(settings.load(), "local").clusters[0].options == {"slots": "2"}


def test_the_systems_profiles_are_offered_and_hidden_by_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "system.yaml"
    system.write_text("profile: site\nprofiles:\n  site: {clusters: [{kind: local, name: shared}]}\n")
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", str(system))
    assert profiles.get(settings.load()).source == str(system)
    with pytest.raises(ConflictError, match=r"belongs to .*system\.yaml"):
        profiles.remove(settings.load(), "site")
    profiles.add(settings.load(), "site", ["kind=local,name=mine"])
    assert profiles.get(settings.load()).clusters[0].name == "mine"


def test_the_store_is_remembered_in_the_profile() -> None:
    profiles.add(settings.load(), "lab", ["kind=local"])
    profiles.set_store(settings.load(), "lab", "file")
    assert profiles.get(settings.load(), "lab").store == "file"
    with pytest.raises(ConflictError):
        profiles.set_store(settings.load(), "local", "file")
