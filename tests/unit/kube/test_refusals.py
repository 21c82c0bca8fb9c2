"""What an API server's refusals become; every message here is one that a Kubernetes server writes."""

import json
from typing import Any

import pytest

from gpuctl.base.errors import GpuctlError
from gpuctl.base.exitcodes import ExitCode
from gpuctl.kube.errors import (
    AdmissionRefused,
    AlreadyExists,
    ApiFailure,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    QuotaExceeded,
    TooMany,
    Unauthorized,
    Unavailable,
)
from gpuctl.kube.refusals import failure
from gpuctl.kube.resources import Target, target
from tests.unit.kube.server import status

CREATE = target("POST", "/api/v1/namespaces/team-a/pods")


def refused(code: int, reason: str, message: str, *, asked: Target = CREATE, **details: Any) -> ApiFailure:
    return failure("res-a", asked, code, {}, json.dumps(status(code, reason, message, **details)).encode())


@pytest.mark.parametrize(
    ("code", "reason", "message", "kind", "exit_code"),
    [
        (401, "Unauthorized", "Unauthorized", Unauthorized, ExitCode.AUTH),
        (
            403,
            "Forbidden",
            'pods is forbidden: User "a" cannot create resource "pods" in API group "" in the namespace "team-a"',
            Forbidden,
            5,
        ),
        (403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4', QuotaExceeded, 5),
        (
            403,
            "Forbidden",
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)',
            AdmissionRefused,
            5,
        ),
        (403, "Forbidden", 'pods "x" is forbidden: no PriorityClass with name nope was found', AdmissionRefused, 5),
        (403, "Forbidden", 'admission webhook "check.example.com" denied the request: team label is missing', AdmissionRefused, 5),
        (400, "BadRequest", 'admission webhook "check.example.com" denied the request: team label is missing', AdmissionRefused, 5),
        (
            422,
            "Invalid",
            "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'owners' with binding 'owners-all' denied request: not your window",
            AdmissionRefused,
            5,
        ),
        (404, "NotFound", 'pods "x" not found', NotFound, 3),
        (409, "AlreadyExists", 'pods "x" already exists', AlreadyExists, 6),
        (409, "Conflict", "Operation cannot be fulfilled on pods", Conflict, 6),
        (422, "Invalid", 'Pod "x" is invalid', Invalid, 2),
        (400, "BadRequest", "strict decoding error", Invalid, 2),
        (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", Invalid, 2),
        (429, "TooManyRequests", "too many requests", TooMany, 7),
        (500, "InternalError", 'failed calling webhook "x.example.com": context deadline exceeded', Unavailable, 7),
        (504, "Timeout", "request did not complete within the requested timeout", Unavailable, 7),
    ],
)
def test_every_refusal_has_a_kind_and_an_exit_code(code: int, reason: str, message: str, kind: type[GpuctlError], exit_code: int) -> None:
    error = refused(code, reason, message)
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert "on res-a" in error.message
    assert not error.message.endswith(".")
    assert error.status == code


def test_a_full_quota_is_told_in_numbers() -> None:
    error = refused(
        403,
        "Forbidden",
        'jobs.batch "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=8,count/jobs=1,'
        " used: requests.nvidia.com/gpu=24,count/jobs=3, limited: requests.nvidia.com/gpu=24,count/jobs=9",
    )
    assert isinstance(error, QuotaExceeded)
    assert error.quota == "gpus"
    assert error.requested == "requests.nvidia.com/gpu=8,count/jobs=1"
    assert error.limited == "requests.nvidia.com/gpu=24,count/jobs=9"


def test_a_policys_own_words_are_the_cause() -> None:
    error = refused(403, "Forbidden", 'admission webhook "check.example.com" denied the request: use team labels\nsee wiki')
    assert isinstance(error, AdmissionRefused)
    assert (error.policy, error.cause) == ("check.example.com", "use team labels\nsee wiki")


def test_a_subresource_and_the_verb_the_server_names_are_in_the_rule() -> None:
    asked = target("GET", "/api/v1/namespaces/team-a/pods/x/exec")
    message = 'pods "x" is forbidden: User "a" cannot create resource "pods/exec" in API group "" in the namespace "team-a"'
    error = refused(403, "Forbidden", message, asked=asked)
    assert isinstance(error, Forbidden)
    assert error.rule == '- {apiGroups: [""], resources: ["pods/exec"], verbs: ["create"]}'
    assert error.hint
    assert error.hint.endswith("kubectl create role gpuctl-create --verb=create --resource=pods/exec -n team-a")


def test_what_is_cluster_wide_needs_a_cluster_role() -> None:
    asked = target("GET", "/apis/kueue.x-k8s.io/v1beta2/clusterqueues")
    message = 'x is forbidden: User "a" cannot list resource "clusterqueues" in API group "kueue.x-k8s.io" at the cluster scope'
    error = refused(403, "Forbidden", message, asked=asked)
    assert error.hint
    assert "kubectl create clusterrole gpuctl-list --verb=list --resource=clusterqueues.kueue.x-k8s.io" in error.hint


def test_every_cause_of_an_invalid_object_is_kept() -> None:
    causes = [{"field": "spec.a", "message": "Required value"}, {"field": "spec.b", "message": "Invalid value: 1"}]
    error = refused(422, "Invalid", 'Job "x" is invalid: [...]', causes=causes)
    assert isinstance(error, Invalid)
    assert error.causes == (("spec.a", "Required value"), ("spec.b", "Invalid value: 1"))
    assert error.cause == "spec.a: Required value; spec.b: Invalid value: 1"


def test_kinds_that_are_not_served_are_told_from_objects_that_are_not_there() -> None:
    asked = target("GET", "/apis/ray.io/v1/namespaces/a/rayjobs")
    plain = failure("res-a", asked, 404, {}, b"404 page not found\n")
    typed = refused(404, "NotFound", "the server could not find the requested resource", asked=asked)
    there = refused(404, "NotFound", 'rayjobs.ray.io "x" not found', asked=asked)
    namespace = refused(404, "NotFound", 'namespaces "a" not found', asked=asked)
    assert isinstance(plain, NotFound)
    assert isinstance(typed, NotFound)
    assert isinstance(there, NotFound)
    assert isinstance(namespace, NotFound)
    assert (plain.kind_missing, typed.kind_missing, there.kind_missing, namespace.kind_missing) == (True, True, False, False)
    assert namespace.code == "no-such-namespace"


def test_a_page_of_a_proxy_is_told_in_its_words_only() -> None:
    page = b"<html><style>p {x: y}</style><body><h1>403 Forbidden</h1><p>Blocked   by policy</p></body></html>"
    assert failure("res-a", CREATE, 502, {}, page).cause == "403 Forbidden Blocked by policy"


def test_waiting_is_read_from_header_and_details() -> None:
    assert failure("res-a", CREATE, 429, {"retry-after": "7"}, b"").retry_after == 7
    assert refused(429, "TooManyRequests", "x", retryAfterSeconds=3).retry_after == 3


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "pods", "a", None)),
        ("GET", "/api/v1/namespaces/a/pods/x/log", ("get", "", "pods/log", "a", "x")),
        ("GET", "/api/v1/namespaces", ("list", "", "namespaces", None, None)),
        ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", None, "a")),
        ("DELETE", "/apis/batch/v1/namespaces/a/jobs", ("deletecollection", "batch", "jobs", "a", None)),
        ("PATCH", "/api/v1/nodes/n/status", ("patch", "", "nodes/status", None, "n")),
        ("GET", "/version", ("get", "", "/version", None, None)),
    ],
)
def test_paths_are_read_back(method: str, path: str, expected: tuple[Any, ...]) -> None:
    found = target(method, path)
    assert (found.verb, found.group, found.resource, found.namespace, found.name) == expected


def test_an_upgrade_that_failed_is_told_without_a_kind_and_in_words_only() -> None:
    page = "unable to upgrade connection: <!DOCTYPE HTML>\n<html><head><title>Error</title></head><body><p>no such method</p></body></html>"
    body = json.dumps({"metadata": {}, "status": "Failure", "message": page, "code": 500}).encode()
    assert failure("res-a", CREATE, 500, {}, body).cause == "unable to upgrade connection: Error no such method"
