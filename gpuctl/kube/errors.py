"""Refusals and failures of an API server, as errors people can act on. Every class here is one of ``gpuctl.base.errors`` too.

An error says which request failed, on which context, in one sentence; the server's own words are its cause. Classes are chosen by
status, reason and message in ``gpuctl.kube.refusals``; nothing else creates them from an answer.
"""

from gpuctl.base.errors import AuthError, ConflictError, GpuctlError, NotAllowedError, NotFoundError, UnavailableError, UsageError
from gpuctl.kube.resources import Target


class ApiFailure(GpuctlError):
    """An API server answered with an error, or could not be spoken to.

    Attributes:
        context: the kubeconfig context (or ``in-cluster``) that was asked.
        target: what was asked, in RBAC's words; None for a failure before any request.
        status: HTTP status, 0 without an answer.
        reason: Kubernetes' own word for it (``AlreadyExists``), or ``""``.
        retry_after: seconds the server asked to wait, or None.
    """

    context: str = ""
    target: Target | None = None
    status: int = 0
    reason: str = ""
    retry_after: float | None = None


class Unauthorized(ApiFailure, AuthError):
    """401: the credentials are missing, wrong or expired."""

    default_code = "credentials-refused"


class Forbidden(ApiFailure, NotAllowedError):
    """403 by the authorizer: who we are may not do this. ``rule`` is the RBAC rule that would allow it."""

    default_code = "forbidden"
    rule: str = ""


class AdmissionRefused(ApiFailure, NotAllowedError):
    """A webhook, an admission policy or Pod Security refused the object. ``policy`` names it where the server does."""

    default_code = "admission-refused"
    policy: str = ""


class QuotaExceeded(ApiFailure, NotAllowedError):
    """A ResourceQuota has no room. ``quota`` is its name; the three texts are the server's (``requests.nvidia.com/gpu=8``)."""

    default_code = "quota-exceeded"
    quota: str = ""
    requested: str = ""
    used: str = ""
    limited: str = ""


class NotFound(ApiFailure, NotFoundError):
    """404: no such object, or no such kind. ``kind_missing`` tells the second."""

    default_code = "not-found"
    kind_missing: bool = False


class AlreadyExists(ApiFailure, ConflictError):
    """409 on create: the name is taken."""

    default_code = "already-exists"


class Conflict(ApiFailure, ConflictError):
    """409: the object changed, or is not the one that was meant (a precondition failed)."""

    default_code = "conflict"


class Gone(ApiFailure, UnavailableError):
    """410: a resource version or a page's token is too old; start again from a fresh list."""

    default_code = "gone"


class Invalid(ApiFailure, UsageError):
    """422 or 400: the server does not take the object. ``causes`` holds every ``(field, message)``."""

    default_code = "invalid-object"
    causes: tuple[tuple[str, str], ...] = ()


class TooMany(ApiFailure, UnavailableError):
    """429: the server sheds load, and still did after the retries."""

    default_code = "too-many-requests"


class Unavailable(ApiFailure, UnavailableError):
    """No connection, no answer in time, or an answer of the 5xx kind. ``reached``: the server may have seen the request."""

    default_code = "cluster-unreachable"
    reached: bool = True


class Undecodable(ApiFailure, UnavailableError):
    """The answer is not what the API promises (a proxy's login page, half a body)."""

    default_code = "unreadable-answer"
