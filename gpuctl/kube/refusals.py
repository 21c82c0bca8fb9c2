"""From an API server's answer to the error that says what it means.

The server's ``Status`` carries a reason, a message and causes; an RBAC refusal, a full quota, an admission policy and a missing kind are
told apart by the wording that Kubernetes has used since 1.8 (apiserver's ``forbiddenMessage``, the quota plugin, webhook dispatchers).
"""

import re
from collections.abc import Mapping

import msgspec

from gpuctl.kube.errors import (
    AdmissionRefused,
    AlreadyExists,
    ApiFailure,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    QuotaExceeded,
    TooMany,
    Unauthorized,
    Unavailable,
    Undecodable,
)
from gpuctl.kube.resources import Target
from gpuctl.model import decoding

_RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) (?:resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"|path "(?P<path>[^"]+)")'
)
_QUOTA = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>.+?), used: (?P<used>.+?), limited: (?P<limited>.+)\Z", re.DOTALL
)
_WEBHOOK = re.compile(r'admission webhook "(?P<policy>[^"]+)" denied the request(?: without explanation|: (?P<words>.*))?', re.DOTALL)
_POLICY = re.compile(r"ValidatingAdmissionPolicy '(?P<policy>[^']+)'.*?denied request: (?P<words>.*)", re.DOTALL)
_POD_SECURITY = re.compile(r'violates PodSecurity "(?P<policy>[^"]+)": (?P<words>.*)', re.DOTALL)
_PREFIX = re.compile(r'\A[\w./-]+ "[^"]*" is forbidden: ')
_DOING = {"list": "list", "watch": "watch", "get": "read", "create": "create", "update": "replace", "patch": "change", "delete": "delete"}
_DOING["deletecollection"] = "delete"


class _Cause(msgspec.Struct, gc=False):
    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(msgspec.Struct, rename="camel", gc=False):
    causes: list[_Cause] | None = None
    retry_after_seconds: int = 0


class _Status(msgspec.Struct, gc=False):
    kind: str = ""
    status: str = ""
    message: str = ""
    reason: str = ""
    details: _Details | None = None
    code: int = 0


def failure(context: str, asked: Target, status: int, headers: Mapping[str, str], body: bytes) -> ApiFailure:
    """The error that an answer with ``status`` (400 and above, or a redirect) stands for."""
    try:
        told = decoding.decode(body, _Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = _Status()
    if told.kind != "Status" and told.status != "Failure":  # an upgrade that fails is told without a kind
        told = _Status(message=_words(body))
    if "<html" in told.message.lower():  # the kubelet's page, or a proxy's on the way to it
        told.message = _words(told.message.encode())
    error = _of(context, asked, status, told)
    return placed(error, context, asked, status=status, reason=told.reason, retry_after=_wait(headers, told))


def of_status(context: str, asked: Target, body: bytes) -> ApiFailure:
    """The error inside a stream that answered 200 and then sent a ``Status`` (a watch's ERROR, exec's error channel)."""
    told = decoding.decode(body, _Status)
    return failure(context, asked, told.code or 500, {}, body)


def placed(
    error: ApiFailure, context: str, asked: Target | None, *, status: int = 0, reason: str = "", retry_after: float | None = None
) -> ApiFailure:
    """``error`` with what happened where filled in."""
    error.context, error.target, error.status, error.reason, error.retry_after = context, asked, status, reason, retry_after
    return error


def sentence(context: str, asked: Target) -> str:
    """``cannot list pods in team-a on res-a``: operation, object, place."""
    words = f"cannot {_DOING.get(asked.verb, asked.verb)} {asked.resource}"
    if asked.name:
        words += f" {asked.name}"
    if asked.namespace:
        words += f" in {asked.namespace}"
    return f"{words} on {context}"


def rule(asked: Target) -> str:
    """The RBAC rule that would allow it, as one line of YAML."""
    return f'- {{apiGroups: ["{asked.group}"], resources: ["{asked.resource}"], verbs: ["{asked.verb}"]}}'


def _of(context: str, asked: Target, status: int, told: _Status) -> ApiFailure:
    said, message = sentence(context, asked), told.message.strip() or f"HTTP {status}"
    refused = _refused(said, message) if status in {400, 403, 409, 422, 500} else None
    if refused is not None:
        return refused
    if status == 401:
        return Unauthorized(f"{said}: the credentials were refused", cause=message, hint=_login(context))
    if status == 403:
        return _forbidden(said, asked, message)
    if status == 404:
        return _missing(said, context, message, told)
    if status == 409:
        taken = told.reason == "AlreadyExists"
        return (AlreadyExists if taken else Conflict)(f"{said}: {'the name is taken' if taken else 'it has changed'}", cause=message)
    if status == 410 or told.reason in {"Expired", "Gone"}:
        return Gone(f"{said}: the server no longer knows where we were", cause=message)
    if status == 429:
        return TooMany(f"{said}: the server asks to come back later", cause=message)
    if status in {400, 405, 406, 413, 415, 422}:
        return _invalid(said, message, told)
    if status < 400:
        return Undecodable(f"{said}: the answer is a redirect, not a Kubernetes API's", cause=message)
    return Unavailable(f"{said}: the server answered {status}", cause=message, code="server-error")


def _refused(said: str, message: str) -> ApiFailure | None:
    """Quota and admission, whatever status they chose."""
    quota = _QUOTA.search(message)
    if quota:
        full = QuotaExceeded(
            f"{said}: quota {quota['quota']} has no room",
            cause=f"requested {quota['requested']}, used {quota['used']} of {quota['limited']}",
        )
        full.quota, full.requested, full.used, full.limited = quota["quota"], quota["requested"], quota["used"], quota["limited"]
        return full
    for pattern in (_WEBHOOK, _POLICY, _POD_SECURITY):
        found = pattern.search(message)
        if found:
            refusal = AdmissionRefused(f"{said}: refused by {found['policy']}", cause=(found["words"] or "without explanation").strip())
            refusal.policy = found["policy"]
            return refusal
    return None


def _forbidden(said: str, asked: Target, message: str) -> ApiFailure:
    found = _RBAC.search(message)
    prefix = _PREFIX.match(message)
    if not found and prefix:
        # An admission plugin: it is about the object, and who we are does not matter.
        return AdmissionRefused(f"{said}: the cluster's admission refused it", cause=message[prefix.end() :])
    if found and found["resource"]:
        asked = Target(verb=found["verb"], group=found["group"], resource=found["resource"], namespace=asked.namespace, name=asked.name)
    kind = "role" if asked.namespace else "clusterrole"
    scope = f" -n {asked.namespace}" if asked.namespace else ""
    resource = asked.resource.replace("/", f".{asked.group}/", 1) if "/" in asked.resource and asked.group else asked.resource
    if asked.group and "/" not in asked.resource:
        resource = f"{asked.resource}.{asked.group}"
    who = f"{found['user']} may not" if found else "we may not"
    error = Forbidden(
        f"{said}: {who} {asked.verb} {asked.resource}" + (f" in namespace {asked.namespace}" if asked.namespace else ""),
        cause=f"no RBAC rule allows it; this one would: {rule(asked)[2:]}",
        hint=f"ask the cluster's administrator: kubectl create {kind} gpuctl-{asked.verb} --verb={asked.verb} --resource={resource}{scope}",
    )
    error.rule = rule(asked)
    return error


def _missing(said: str, context: str, message: str, told: _Status) -> ApiFailure:
    # A kind that is not served is answered by the router: plain text, or a Status about no object.
    kind_missing = told.reason != "NotFound" or message == "the server could not find the requested resource"
    words = "the cluster does not know this kind" if kind_missing else "it does not exist"
    error = NotFound(f"{said}: {words}", cause=message)
    if not kind_missing and message.startswith("namespaces "):
        error = NotFound(
            f"{said}: the namespace does not exist",
            cause=message,
            code="no-such-namespace",
            hint=f"kubectl --context {context} get namespaces    then: namespace=NAME in the profile",
        )
    error.kind_missing = kind_missing
    return error


def _invalid(said: str, message: str, told: _Status) -> ApiFailure:
    causes = tuple((cause.field, cause.message) for cause in (told.details and told.details.causes) or ())
    listed = "; ".join(f"{field}: {words}" if field else words for field, words in causes)
    error = Invalid(f"{said}: the server does not accept it", cause=listed or message)
    error.causes = causes
    return error


def _login(context: str) -> str:
    return f"kubectl --context {context} auth whoami shows whether they still work; log in to the cluster again if not"


def _wait(headers: Mapping[str, str], told: _Status) -> float | None:
    text = headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    return float(told.details.retry_after_seconds) if told.details and told.details.retry_after_seconds else None


def _words(body: bytes) -> str:
    """The first line of an answer that is no Status, shortened: plain text, or a proxy's page without its tags."""
    text = re.sub(
        r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", body[:4096].decode("utf-8", "replace"), flags=re.DOTALL | re.IGNORECASE
    )
    return " ".join(text.split())[:200]
