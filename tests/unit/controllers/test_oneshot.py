"""One look holds the Lease meanwhile, however long it takes."""

import time

import pytest

from gpuctl.base.errors import ConflictError
from gpuctl.controllers.lease import Lease
from gpuctl.controllers.windows import oneshot
from gpuctl.kube.api import Api
from tests.fakes.kube_api import FakeApi
from tests.unit.controllers.test_lease import spec


def lease(opened: Api, identity: str) -> Lease:
    return Lease(opened, namespace="gpuctl-system", name="windows", identity=identity)


def test_the_lease_is_renewed_while_the_look_lasts(api: FakeApi, opened: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oneshot, "RETRY_S", 0.01)
    one = lease(opened, "one")
    with oneshot._leading(one, "lab"):
        seen = {str(spec(api)["renewTime"])}
        ends = time.monotonic() + 30
        while len(seen) < 4:
            assert time.monotonic() < ends
            time.sleep(0.01)
            seen.add(str(spec(api)["renewTime"]))
        assert one.held()
        assert spec(api)["holderIdentity"] == "one"
    assert not one.held()
    assert "holderIdentity" not in spec(api)


def test_while_a_controller_leads_nothing_is_done(api: FakeApi, opened: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oneshot, "DURATION_S", 0.0)
    monkeypatch.setattr(oneshot, "RETRY_S", 0.0)
    assert lease(opened, "controller").attempt()
    with pytest.raises(ConflictError) as refused, oneshot._leading(lease(opened, "one"), "lab"):
        pytest.fail("it acted")
    assert (refused.value.code, refused.value.message) == ("another-leads", "cannot act on lab: controller leads there")
    assert spec(api)["holderIdentity"] == "controller"
