"""Profiles: which clusters make up a pool.

They live in the user's configuration file, and an administrator may offer some in the system's::

    profile: lab
    profiles:
      lab:
        store: keyring
        currency: EUR
        clusters:
        - {name: ws, kind: local, tier: reserved, slots: 16}
        - {ctx: cloud, tier: on-demand, price: {H100: 4.10}}

Without any file there is one profile, ``local``: this machine. Changing a profile replaces the user's file by rename; every key in it
is kept, comments are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from gpuctl.base import names
from gpuctl.base.errors import ConflictError, InvalidInput, NotFoundError, Problem, nearest
from gpuctl.config import files
from gpuctl.config.keys import PROFILE
from gpuctl.config.settings import PROFILES_KEY, Settings

Store = Literal["keyring", "file"]
Tier = Literal["reserved", "on-demand"]

EMBEDDED = "local"
"""Name of the profile that exists without any file."""

CURRENCY = "$"
"""Of the prices of a profile that names no other."""

_PROFILE_KEYS = ("clusters", "store", "currency")
_TIERS = ("reserved", "on-demand")
_STORES = ("keyring", "file")


@dataclass(frozen=True, kw_only=True)
class ClusterEntry:
    """One cluster of a profile. ``options`` belong to its kind, which checks them; several values of one option are joined by commas."""

    name: str
    kind: str
    tier: Tier | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A named pool. ``source`` is the file it stands in, ``embedded`` for the one that needs none; the order of clusters counts.

    ``currency``: of its clusters' prices, a sign or three letters.
    """

    name: str
    clusters: tuple[ClusterEntry, ...]
    store: Store = "keyring"
    source: str = "embedded"
    currency: str = CURRENCY


def embedded() -> Profile:
    """The profile that exists without any file: this machine."""
    return Profile(name=EMBEDDED, clusters=(ClusterEntry(name="local", kind="local"),))


def all_profiles(settings: Settings) -> tuple[Profile, ...]:
    """Every profile, by name; a user's own hides the system's of the same name.

    Raises:
        InvalidInput: every wrong field of every profile at once.
    """
    found: dict[str, Profile] = {EMBEDDED: embedded()}
    problems: list[Problem] = []
    for path, documents in reversed(settings.profile_documents):
        for name, document in documents.items():
            profile = _read(str(name), document, path, problems)
            if profile is not None:
                found[profile.name] = profile
    if problems:
        raise InvalidInput("cannot read the profiles", problems, code="bad-config")
    return tuple(found[name] for name in sorted(found))


def get(settings: Settings, name: str | None = None) -> Profile:
    """The profile of that name, the one in use by default.

    Raises:
        NotFoundError: there is none of that name.
    """
    wanted = name or settings.get(PROFILE)
    if wanted == EMBEDDED and not settings.profile_documents:
        return embedded()
    known = {profile.name: profile for profile in all_profiles(settings)}
    if wanted not in known:
        close = nearest(wanted, known)
        raise NotFoundError(
            f"cannot use profile {wanted}: there is no such profile",
            code="no-such-profile",
            cause=None if name else f"it was named by {settings.given_by(PROFILE)}",
            hint=f"gpuctl profile use {close}" if close else "gpuctl profile list",
        )
    return known[wanted]


def use(settings: Settings, name: str) -> Profile:
    """Make it the profile that commands use from now on (in the user's file)."""
    profile = get(settings, name)
    document = files.read(settings.user_file)
    document[PROFILE.name] = name
    files.replace(settings.user_file, document)
    return profile


def add(settings: Settings, name: str, clusters: Sequence[str], *, store: Store = "keyring", currency: str = CURRENCY) -> Profile:
    """Write a new profile into the user's file.

    Args:
        settings: names the user's file.
        name: the new profile's, a DNS label.
        clusters: ``--cluster`` options, see :func:`parse_cluster`; at least one.
        store: where ``gpuctl login`` will leave its token.
        currency: of the prices.

    Raises:
        InvalidInput: the name or a cluster is wrong.
        ConflictError: a profile of that name stands in the user's file.
    """
    problems: list[Problem] = []
    reason = names.problem(name)
    if reason:
        problems.append(Problem(field="NAME", message=reason, got=name, allowed=names.ALLOWED, nearest=names.suggestion(name)))
    if not clusters:
        problems.append(Problem(field="--cluster", message="is missing", allowed="kind=local, or key=value pairs of another kind"))
    entries = []
    for text in clusters:
        try:
            entries.append(parse_cluster(text))
        except InvalidInput as error:
            problems.extend(error.problems)
    _check_names(tuple(entries), "--cluster", problems)
    if problems:
        raise InvalidInput(f"cannot add profile {name}", problems, code="bad-profile")
    document = files.read(settings.user_file)
    profiles = _profiles_of(document)
    if name in profiles:
        raise ConflictError(
            f"cannot add profile {name}: it exists", code="profile-exists", hint=f"gpuctl profile remove {name}, or take another name"
        )
    written: dict[str, Any] = {"clusters": [_written(entry) for entry in entries]}
    if store != "keyring":
        written["store"] = store
    if currency != CURRENCY:
        written["currency"] = currency
    profiles[name] = written
    document[PROFILES_KEY] = profiles
    files.replace(settings.user_file, document)
    return Profile(name=name, clusters=tuple(entries), store=store, source=settings.user_file, currency=currency)


def remove(settings: Settings, name: str) -> Profile:
    """Take it out of the user's file; if it was in use there, the embedded one is from now on.

    Raises:
        NotFoundError: no such profile.
        ConflictError: it does not stand in the user's file (embedded, or the system's).
    """
    profile = get(settings, name)
    document = files.read(settings.user_file)
    profiles = _profiles_of(document)
    if name not in profiles:
        where = "gpuctl itself" if profile.source == "embedded" else profile.source
        raise ConflictError(f"cannot remove profile {name}: it belongs to {where}", code="profile-not-yours", hint="gpuctl profile list")
    del profiles[name]
    document[PROFILES_KEY] = profiles
    if document.get(PROFILE.name) == name:
        del document[PROFILE.name]
    files.replace(settings.user_file, document)
    return profile


def set_store(settings: Settings, name: str, store: Store) -> None:
    """Remember where the profile's token lies (``gpuctl login --store file``).

    Raises:
        ConflictError: the profile does not stand in the user's file.
    """
    profile = get(settings, name)
    if profile.store == store:
        return
    document = files.read(settings.user_file)
    profiles = _profiles_of(document)
    if name not in profiles:
        raise ConflictError(
            f"cannot remember the store of profile {name}: it does not stand in {settings.user_file}",
            code="profile-not-yours",
            hint="gpuctl profile add NAME --cluster ...",
        )
    profiles[name] = {**profiles[name], "store": store}
    document[PROFILES_KEY] = profiles
    files.replace(settings.user_file, document)


def parse_cluster(text: str) -> ClusterEntry:
    """One ``--cluster`` option: ``kind=local,name=ws,tier=reserved,slots=16`` or ``ctx=res-a,tier=reserved,price=H100:4.10``.

    ``ctx`` (a kubeconfig context) implies ``kind=kubernetes``; ``name`` defaults to the context, else to the kind. A key given twice
    has both values (``price=H100:4.10,price=A100:2``).

    Raises:
        InvalidInput: no ``key=value``, no kind, a name or tier that cannot be.
    """
    pairs: dict[str, str] = {}
    problems: list[Problem] = []
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            problems.append(Problem(field="--cluster", message="expected key=value pairs with commas between", got=part or "nothing"))
        else:
            pairs[key] = f"{pairs[key]},{value}" if key in pairs else value
    if problems:
        raise InvalidInput(f"cannot read --cluster {text}", problems, code="bad-profile")
    entry = _entry(pairs, "--cluster", problems)
    if problems or entry is None:
        raise InvalidInput(f"cannot read --cluster {text}", problems, code="bad-profile")
    return entry


def _read(name: str, document: object, path: str, problems: list[Problem]) -> Profile | None:
    """One profile of a file; None with ``problems`` extended when it is wrong."""
    where = f"{path}: profiles.{name}"
    before = len(problems)
    if not isinstance(document, dict):
        problems.append(Problem(field=where, message="wrong type", got=type(document).__name__, allowed="a mapping with clusters"))
        return None
    problems.extend(
        Problem(field=f"{where}.{key}", message="unknown key", allowed=", ".join(_PROFILE_KEYS), nearest=nearest(str(key), _PROFILE_KEYS))
        for key in document
        if key not in _PROFILE_KEYS
    )
    store = document.get("store", "keyring")
    if store not in _STORES:
        problems.append(Problem(field=f"{where}.store", message="unknown store", got=repr(store), allowed=", ".join(_STORES)))
    currency = document.get("currency", CURRENCY)
    if not isinstance(currency, str):
        problems.append(Problem(field=f"{where}.currency", message="wrong type", got=type(currency).__name__, allowed="$, EUR, ..."))
    listed = document.get("clusters")
    entries: list[ClusterEntry] = []
    if not isinstance(listed, list) or not listed:
        problems.append(Problem(field=f"{where}.clusters", message="wrong type or empty", allowed="a list with at least one cluster"))
    else:
        for position, item in enumerate(listed):
            field_name = f"{where}.clusters[{position}]"
            if not isinstance(item, dict):
                problems.append(
                    Problem(field=field_name, message="wrong type", got=type(item).__name__, allowed="a mapping with name and kind")
                )
                continue
            entry = _entry({str(key): _option_text(value) for key, value in item.items() if value is not None}, field_name, problems)
            if entry is not None:
                entries.append(entry)
    _check_names(tuple(entries), f"{where}.clusters", problems)
    if len(problems) > before:
        return None
    return Profile(name=name, clusters=tuple(entries), store=cast(Store, store), source=path, currency=cast(str, currency))


def _entry(pairs: Mapping[str, str], where: str, problems: list[Problem]) -> ClusterEntry | None:
    before = len(problems)
    options = dict(pairs)
    kind = options.pop("kind", "kubernetes" if "ctx" in pairs else None)
    tier = options.pop("tier", None)
    name = options.pop("name", None) or (names.suggestion(pairs["ctx"]) if "ctx" in pairs else kind)
    if kind is None:
        problems.append(
            Problem(field=f"{where}.kind" if "[" in where else where, message="has no kind", allowed="kind=local, or ctx=CONTEXT")
        )
    if name is not None and names.problem(name):
        problems.append(
            Problem(field=where, message=f"its name {names.problem(name)}", got=name, allowed=names.ALLOWED, nearest=names.suggestion(name))
        )
    if tier is not None and tier not in _TIERS:
        problems.append(Problem(field=where, message="unknown tier", got=tier, allowed=", ".join(_TIERS), nearest=nearest(tier, _TIERS)))
    if len(problems) > before or kind is None or name is None:
        return None
    return ClusterEntry(name=name, kind=kind, tier=cast("Tier | None", tier), options=options)


def _check_names(entries: tuple[ClusterEntry, ...], where: str, problems: list[Problem]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            problems.append(
                Problem(field=where, message="two clusters have one name", got=entry.name, allowed="name=... to tell them apart")
            )
        seen.add(entry.name)


def _option_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_option_text(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{key}:{_option_text(item)}" for key, item in value.items())
    return str(value)


def _written(entry: ClusterEntry) -> dict[str, str]:
    written = {"name": entry.name, "kind": entry.kind}
    if entry.tier:
        written["tier"] = entry.tier
    return {**written, **entry.options}


def _profiles_of(document: Mapping[str, Any]) -> dict[str, Any]:
    return dict(document.get(PROFILES_KEY) or {})
