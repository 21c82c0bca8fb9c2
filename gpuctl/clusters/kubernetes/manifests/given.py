"""The patches for pods that people give: which there are, and what they ask for."""

from collections.abc import Iterable, Mapping
from typing import Any

from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.clusters.kubernetes.manifests.values import Settings
from gpuctl.model.spec import JobSpec

MAIN = "main"
"""What a patch calls the container that runs the job, whatever its engine calls it."""


def patches(spec: JobSpec, settings: Settings) -> tuple[Mapping[str, Any], ...]:
    """The profile's, then the job's own.

    Raises:
        InvalidInput: ``bad-pod-patch``.
    """
    found: list[Mapping[str, Any]] = []
    if settings.pod is not None:
        found.append(as_template(settings.pod, "pod of the profile"))
    if spec.pod_patch is not None:
        import yaml  # only jobs with a patch pay for it

        try:
            document = yaml.safe_load(spec.pod_patch)
        except yaml.YAMLError as error:
            problem = Problem(field="spec.podPatch", message=f"is no YAML: {' '.join(str(error).split())}")
            raise InvalidInput("cannot apply the pod patch", [problem], code="bad-pod-patch") from error
        found.append(as_template(document, "spec.podPatch"))
    return tuple(found)


def as_template(document: object, where: str) -> Mapping[str, Any]:
    """A patch as one of a pod template. A whole Pod may be given, or only what stands below ``spec``.

    Raises:
        InvalidInput: ``bad-pod-patch``.
    """
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        problem = Problem(field=where, message="is no mapping", got=type(document).__name__, allowed="spec: with the fields of a pod")
        raise InvalidInput("cannot apply the pod patch", [problem], code="bad-pod-patch")
    kept = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    strange = _strange(kept, where)
    if strange:
        raise InvalidInput("cannot apply the pod patch", strange, code="bad-pod-patch")
    return kept


def _strange(document: Mapping[str, Any], where: str) -> list[Problem]:
    inner: Iterable[str] = document.keys() - {"metadata", "spec"}
    return [
        Problem(field=f"{where}: {key}", message="unknown field", allowed="metadata, spec", nearest=f"spec.{key}") for key in sorted(inner)
    ]


def requests(spec: JobSpec, settings: Settings) -> dict[str, str | int | float]:
    """What the patches let the container that runs the job ask for, by resource.

    Raises:
        InvalidInput: ``bad-pod-patch``.
    """
    found: dict[str, str | int | float] = {}
    for patch in patches(spec, settings):
        containers = (patch.get("spec") or {}).get("containers")
        for each in containers if isinstance(containers, list) else ():
            asked = (each.get("resources") or {}).get("requests") if isinstance(each, Mapping) and each.get("name") == MAIN else None
            found |= {key: value for key, value in (asked or {}).items() if isinstance(value, str | int | float)}
    return found
