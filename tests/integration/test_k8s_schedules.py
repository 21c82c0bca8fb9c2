"""The definition of PoolSchedule on a real API server: what the model takes it takes, and each mistake it can judge it refuses by name."""

import copy
import time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gpuctl.clusters.kubernetes.names import POOL_SCHEDULES
from gpuctl.controllers.manifests.definition import definition
from gpuctl.controllers.status import ACCEPTED, Condition, PoolScheduleStatus
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure, NotFound
from gpuctl.kube.resources import Resource
from gpuctl.model import schedule as model
from gpuctl.policy.windows import cron
from tests.integration.control_plane import ControlPlane

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
SERVED_S = 30.0
NIGHT = {"name": "night", "owner": "team-a", "start": "0 22 * * 1-5", "end": "0 6 * * 2-6"}


@pytest.fixture(scope="module")
def api(alpha: ControlPlane) -> Api:
    """The administrator's, where the definition is served."""
    found = alpha.api()
    body = definition()
    found.patch(CRDS.path(name=body["metadata"]["name"]), body, dict[str, Any], kind="apply", force=True)
    ends = time.monotonic() + SERVED_S
    while True:
        try:
            found.list(POOL_SCHEDULES.path(), dict[str, Any])  # type: ignore[type-var]
            return found
        except NotFound:
            assert time.monotonic() < ends, "the definition is not served"
            time.sleep(0.1)


def said(api: Api, document: dict[str, Any]) -> str:
    """What the server says against a document; empty when it would take it."""
    try:
        api.create(POOL_SCHEDULES.path(), document, dict[str, Any], dry_run=True, params={"fieldValidation": "Strict"})
    except ApiFailure as error:
        return f"{error.message} ({error.cause})"
    return ""


def document(*windows: dict[str, Any], **spec: Any) -> dict[str, Any]:
    body = {"pool": {}, "timeZone": "Europe/Berlin", "defaultOwner": "platform", "windows": list(windows or (NIGHT,)), **spec}
    return {"apiVersion": "gpuctl.io/v1alpha1", "kind": "PoolSchedule", "metadata": {"name": "pool"}, "spec": body}


def problems(document: dict[str, Any]) -> list[str]:
    _, found = model.check_schedule(document, cron_problem=cron.problem, knows_zone=cron.knows_zone)
    return [str(each) for each in found]


# What the model takes.

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
blank = st.sampled_from([" ", "  ", "\t", " \n"])
spans = st.one_of(
    st.from_regex(r"\s{0,2}([1-6]d)?([0-9]{1,2}h)?([0-9]{1,3}m)?[0-9]{1,3}s[ \n]?", fullmatch=True),
    st.from_regex(r"([0-5]-)?[0-9]{1,2}:[0-5][0-9]:[0-5][0-9]", fullmatch=True),
    st.sampled_from(["0m", "7d", "168h", "1d12h"]),
)
crons = st.tuples(
    st.sampled_from(["", " "]),
    st.sampled_from(["*", "0", "5,10-20/3", "*/15", "0/7"]),
    blank,
    st.sampled_from(["*", "22", "0-23/2"]),
    blank,
    st.sampled_from(["*", "1", "L", "LW", "1,15", "31"]),
    blank,
    st.sampled_from(["*", "12", "jan-MAR", "*/2"]),
    blank,
    st.sampled_from(["*", "1-5", "MON,wed", "7", "MON#1", "5L"]),
    st.sampled_from(["", "\n"]),
).map("".join)


def given_fields(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields, some of them without a value."""
    return st.fixed_dictionaries({}, optional={name: st.one_of(value, st.none()) for name, value in fields.items()})


drains = st.one_of(
    given_fields({"notify": spans, "lead": spans, "grace": spans, "policy": st.sampled_from(["Evict", "Never"])}),
    given_fields({"maxOverrun": spans}).map(lambda found: {**found, "policy": "RunToCompletion"}),
    st.sampled_from(["USR1", "sigusr2", "Term", "SIGINT", "RTMAX"]).map(lambda name: {"policy": "CheckpointThenEvict", "signal": name}),
)


@st.composite
def windows(draw: st.DrawFn, name: str) -> dict[str, Any]:
    ends = draw(st.one_of(crons.map(lambda text: {"end": text}), spans.map(lambda text: {"duration": text, "end": None})))
    rest = given_fields({"priority": st.integers(-(2**31), 2**31), "drain": drains, "borrow": given_fields({"idle": st.booleans()})})
    return {"name": name, "owner": draw(labels), "start": draw(crons), **ends, **draw(rest)}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(labels, max_size=4, unique=True))
    some = st.lists(st.sampled_from(names), max_size=3) if names else st.just([])
    dates = st.dates().map(lambda day: f"{day:%Y-%m-%d}".rjust(10, "0"))
    exceptions = st.one_of(
        st.fixed_dictionaries({"date": dates, "skip": st.just(True)}, optional={"windows": some}),
        st.fixed_dictionaries({"date": dates, "owner": labels}, optional={"windows": some, "skip": st.just(False)}),
    )
    pool = given_fields(
        {
            "clusters": st.lists(st.text("abc-/. ", max_size=9), max_size=3),
            "nodeSelector": st.dictionaries(st.sampled_from(["a", "nvidia.com/gpu.product"]), st.sampled_from(["", "H100"])),
            "count": st.integers(1, 2**40),
        }
    )
    zones = st.sampled_from(["Europe/Berlin", "UTC", "Etc/GMT+5", "America/Port-au-Prince", "Antarctica/DumontDUrville"])
    made = document(
        pool=draw(pool),
        timeZone=draw(zones),
        defaultOwner=draw(labels),
        windows=[draw(windows(name)) for name in names],
        **draw(given_fields({"exceptions": st.lists(exceptions, max_size=3)})),
    )
    made["metadata"] = {"name": draw(labels)}
    return made


FULL = document(
    *({**NIGHT, "name": f"{'n' * 37}-{number:02}"} for number in range(model.MOST_WINDOWS)),
    exceptions=[{"date": "2026-12-24", "skip": True, "windows": [f"{'n' * 37}-{number:02}" for number in range(model.MOST_WINDOWS)]}]
    * model.MOST_EXCEPTIONS,
)


@given(documents())
@example(FULL)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])
def test_what_the_model_takes_the_server_takes(api: Api, made: dict[str, Any]) -> None:
    if problems(made):  # an impossible day, a span that is too long
        made = document()
    assert said(api, made) == ""


def test_the_full_schedule_is_one_the_model_takes() -> None:
    assert problems(FULL) == []


def changed(path: str, value: Any) -> dict[str, Any]:
    """A right document with one field set to ``value``, or taken away by ``...``."""
    made = copy.deepcopy(document({**NIGHT, "drain": {}}, exceptions=[{"date": "2026-12-24", "skip": True}]))
    found: Any = made
    *way, last = path.replace("[", ".[").split(".")
    for step in way:
        found = found[int(step[1:-1])] if step.startswith("[") else found[step]
    if value is ...:
        del found[last]
    else:
        found[last] = value
    return made


MISTAKES = (
    ("metadata.name", "night.pool", "metadata.name"),
    ("metadata.name", "n" * 41, "metadata.name"),
    ("spec.pool", ..., "spec.pool"),
    ("spec.timeZone", "", "spec.timeZone"),
    ("spec.timeZone", ..., "spec.timeZone"),
    ("spec.defaultOwner", "Platform", "spec.defaultOwner"),
    ("spec.pool.count", 0, "spec.pool.count"),
    ("spec.pool.nodes", 3, "spec.pool.nodes"),
    ("spec.windows", ..., "spec.windows"),
    ("spec.windows", [NIGHT, {**NIGHT, "priority": 1}], "spec.windows[1]"),
    ("spec.windows", [{**NIGHT, "name": f"n{number}"} for number in range(model.MOST_WINDOWS + 1)], "spec.windows"),
    ("spec.windows[0].name", "-night", "spec.windows[0].name"),
    ("spec.windows[0].name", ..., "spec.windows[0].name"),
    ("spec.windows[0].owner", "team_a", "spec.windows[0].owner"),
    ("spec.windows[0].owner", "t" * 41, "spec.windows[0].owner"),
    ("spec.windows[0].start", "@daily", "spec.windows[0].start"),
    ("spec.windows[0].start", "0 0 22 * * 1-5", "spec.windows[0].start"),
    ("spec.windows[0].end", "0 6 * *", "spec.windows[0].end"),
    ("spec.windows[0].end", ..., "spec.windows[0].end"),
    ("spec.windows[0].duration", "8h", "spec.windows[0].end"),
    ("spec.windows[0].priority", "high", "spec.windows[0].priority"),
    ("spec.windows[0].drain.lead", "30", "spec.windows[0].drain.lead"),
    ("spec.windows[0].drain.notify", 45, "spec.windows[0].drain.notify"),
    ("spec.windows[0].drain.grace", "ten minutes", "spec.windows[0].drain.grace"),
    ("spec.windows[0].drain.policy", "Kill", "spec.windows[0].drain.policy"),
    ("spec.windows[0].drain.maxOverrun", "1h", "spec.windows[0].drain.maxOverrun"),
    ("spec.windows[0].drain.signal", "USR1", "spec.windows[0].drain.signal"),
    ("spec.windows[0].drain", {"policy": "CheckpointThenEvict"}, "spec.windows[0].drain.signal"),
    ("spec.windows[0].drain", {"policy": "CheckpointThenEvict", "signal": "KILL"}, "spec.windows[0].drain.signal"),
    ("spec.windows[0].drain", {"policy": "CheckpointThenEvict", "signal": "USR3"}, "spec.windows[0].drain.signal"),
    ("spec.exceptions[0].date", "24.12.2026", "spec.exceptions[0].date"),
    ("spec.exceptions[0].date", "2026-02-31", "spec.exceptions[0].date"),
    ("spec.exceptions[0].date", ..., "spec.exceptions[0].date"),
    ("spec.exceptions[0].skip", ..., "spec.exceptions[0].owner"),
    ("spec.exceptions[0].owner", "team-a", "spec.exceptions[0].owner"),
    ("spec.exceptions[0].windows", ["nigth"], "spec.exceptions"),
    ("spec.exceptions", [{"date": "2026-12-24", "skip": True}] * (model.MOST_EXCEPTIONS + 1), "spec.exceptions"),
)


@pytest.mark.parametrize(("path", "value", "named"), MISTAKES)
def test_a_mistake_is_refused_and_its_field_named(api: Api, path: str, value: Any, named: str) -> None:
    made = changed(path, value)
    assert problems(made), "the model takes it"
    assert named in said(api, made)


def test_the_document_that_is_changed_is_right(api: Api) -> None:
    assert said(api, changed("spec.defaultOwner", "platform")) == ""


def test_columns_and_status(alpha: ControlPlane, api: Api) -> None:
    name = "shown"
    where = POOL_SCHEDULES.path(name=name)
    api.create(POOL_SCHEDULES.path(), {**document(), "metadata": {"name": name}}, dict[str, Any])
    try:
        at = model.datetime.fromisoformat("2026-03-02T21:00:00+00:00")
        status = PoolScheduleStatus(
            observed_generation=1,
            nodes=16,
            owner="platform",
            next_owner="team-a",
            next_change=at,
            conditions=(Condition(type=ACCEPTED, status="True", reason="Accepted", message="", last_transition_time=at),),
        )
        body = {"status": msgspec.to_builtins(status, str_keys=True)}
        written = api.patch(f"{where}/status", body, dict[str, Any])
        assert msgspec.convert(written["status"], PoolScheduleStatus) == status
        shown = [line.split() for line in alpha.kubectl("get", "gsched", name).splitlines()]
        assert shown[0] == ["NAME", "OWNER", "NEXT", "AT", "NODES", "ACCEPTED", "AGE"]
        assert shown[1][:6] == [name, "platform", "team-a", "2026-03-02T21:00:00Z", "16", "True"]
        assert name in alpha.kubectl("get", "gpuctl", "-o", "name")
        assert "Default: 45m." in alpha.kubectl("explain", "poolschedules.spec.windows.drain.notify")
        # Whoever may only write the status changes nothing else by it.
        assert api.patch(f"{where}/status", {"spec": {"defaultOwner": "mallory"}}, dict[str, Any])["spec"]["defaultOwner"] == "platform"
    finally:
        api.delete(where)
