"""Strategic merge onto a pod template, as ``kubectl patch --type strategic`` does it.

A mapping is merged key by key, null removes, a list replaces, except for the lists of a pod that Kubernetes merges by a key of their
items; the directives ``$patch: replace|delete|merge``, ``$retainKeys``, ``$setElementOrder/LIST`` and
``$deleteFromPrimitiveList/LIST`` are obeyed.
Source: patchMergeKey and patchStrategy in https://github.com/kubernetes/api/blob/master/core/v1/types.go
"""

from collections.abc import Mapping
from typing import Any

from gpuctl.base.errors import InvalidInput, Problem

_CONTAINER = {
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "resizePolicy": None,
}
KEYS: Mapping[str, str] = {
    "spec.containers": "name",
    "spec.initContainers": "name",
    "spec.ephemeralContainers": "name",
    "spec.volumes": "name",
    "spec.imagePullSecrets": "name",
    "spec.hostAliases": "ip",
    "spec.topologySpreadConstraints": "topologyKey",
    "spec.schedulingGates": "name",
    "spec.resourceClaims": "name",
    **{
        f"spec.{kind}.{field}": key
        for kind in ("containers", "initContainers", "ephemeralContainers")
        for field, key in _CONTAINER.items()
        if key is not None
    },
}
"""The lists that are merged, by their path (indices left out), with the key that tells items apart."""
APPENDED = frozenset({"spec.tolerations"})
"""Lists that Kubernetes replaces and that gpuctl appends to: a patch that adds a toleration must not lose the GPU's."""
_RETAIN = frozenset({"spec.volumes"})
"""Items of which a patch's ``$retainKeys`` decides what stays; Kubernetes sets it by itself where a volume changes its source."""
_PRIMITIVES = frozenset({"metadata.finalizers"})

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def merge(original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The pod template with the patch applied; neither argument is changed.

    Raises:
        InvalidInput: ``bad-pod-patch``, an item of a merged list lacks its key, or a field is of the wrong type.
    """
    return _mapping(dict(original), patch, "")


def _mapping(original: dict[str, Any], patch: Mapping[str, Any], path: str) -> dict[str, Any]:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {key: _clean(value) for key, value in patch.items() if key != _PATCH and value is not None}
    if directive == "delete":
        return {}
    result = dict(original)
    retained = patch.get(_RETAIN_KEYS)
    if retained is not None:
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN_KEYS) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE):
            field = key[len(_DELETE) :]
            result[field] = [each for each in result.get(field, []) if each not in value]
            continue
        where = f"{path}.{key}" if path else key
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            if before is not None and not isinstance(before, Mapping):
                raise _wrong(where, "is no mapping")
            result[key] = _mapping(dict(before or {}), value, where)
        elif isinstance(value, list):
            before = result.get(key)
            if before is not None and not isinstance(before, list):
                raise _wrong(where, "is a list, and what is there is none")
            result[key] = _list(before or [], value, where, order=patch.get(_ORDER + key))
        else:
            result[key] = value
    return result


def _list(original: list[Any], patch: list[Any], path: str, *, order: list[Any] | None) -> list[Any]:
    if path in APPENDED:
        return [*original, *(each for each in patch if each not in original)]
    if path in _PRIMITIVES:
        return _interleaved([each for each in original if each not in patch], list(patch), original)
    key = KEYS.get(path)
    if key is None:
        return [_clean(each) if isinstance(each, Mapping) else each for each in patch]
    return _keyed(original, patch, path, key, order)


def _keyed(original: list[Any], patch: list[Any], path: str, key: str, order: list[Any] | None) -> list[Any]:
    if any(isinstance(each, Mapping) and dict(each) == {_PATCH: "replace"} for each in patch):
        return [_clean(each) for each in patch if dict(each) != {_PATCH: "replace"}]
    result = list(original)
    touched: list[Any] = []
    for number, item in enumerate(patch):
        if not isinstance(item, Mapping):
            raise _wrong(f"{path}[{number}]", "is no mapping")
        if key not in item:
            raise _wrong(f"{path}[{number}]", f"has no {key}, which tells it apart from its neighbours")
        at = next((index for index, each in enumerate(result) if each.get(key) == item[key]), None)
        if item.get(_PATCH) == "delete":
            if at is not None:
                del result[at]
            continue
        touched.append(item[key])
        if at is None:
            result.append(_mapping({}, item, path))
        else:
            result[at] = _mapping(_kept(result[at], item, path), item, path)
    first = [each[key] for each in order] if order else touched
    by_key = {each.get(key): each for each in result}
    untouched = [name for name in by_key if name not in first]
    arranged = _interleaved(untouched, [name for name in first if name in by_key], [each.get(key) for each in original])
    return [by_key[name] for name in arranged]


def _kept(before: Mapping[str, Any], item: Mapping[str, Any], path: str) -> dict[str, Any]:
    """An item before it is merged. A volume that gets another source loses the one it had."""
    if path in _RETAIN and set(item) - {"name", _PATCH, _RETAIN_KEYS} - set(before):
        return {"name": before["name"]}
    return dict(before)


def _interleaved(untouched: list[Any], touched: list[Any], original: list[Any]) -> list[Any]:
    """Both lists in one, each in its own order: an untouched item stays before a touched one where it was before it, else comes after."""
    rest = list(untouched)
    result: list[Any] = []
    for item in touched:
        while rest and item in original and rest[0] in original and original.index(rest[0]) < original.index(item):
            result.append(rest.pop(0))
        result.append(item)
    return result + rest


def _clean(value: Any) -> Any:
    """A value that is new as a whole: nulls and directives have nothing left to say."""
    if isinstance(value, Mapping):
        return {key: _clean(each) for key, each in value.items() if each is not None and not key.startswith("$")}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return value


def _wrong(path: str, message: str) -> InvalidInput:
    return InvalidInput("cannot apply the pod patch", [Problem(field=path, message=message)], code="bad-pod-patch")
