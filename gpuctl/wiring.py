"""The composition root: a profile becomes a pool. The only module that names configuration and clusters together.

Kinds of clusters are strings, imported only when a profile uses them. The table below answers without scanning the installed
distributions (which costs more than everything else a listing does); the entry-point group ``gpuctl.clusters`` adds the kinds of others.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gpuctl.base.errors import GpuctlError, InvalidInput, Problem, UsageError, nearest
from gpuctl.config import keys, paths, profiles
from gpuctl.config.settings import Settings, load

if TYPE_CHECKING:
    from gpuctl.config.profiles import ClusterEntry, Profile
    from gpuctl.policy.price import Prices
    from gpuctl.pool.direct import DirectPool
    from gpuctl.pool.members import Member
    from gpuctl.port.cluster import Cluster, ClusterFactory

KINDS: dict[str, str] = {
    "kubernetes": "gpuctl.clusters.kubernetes.cluster:build",
    "local": "gpuctl.clusters.local.cluster:build",
}
"""Kinds that come with gpuctl: ``module:function``, a ``port.cluster.ClusterFactory``."""

MODULES: dict[str, str] = {"pytorch": "torch", "ray": "ray"}
"""What the Python of a job has to have, by the job's kind."""

ENTRY_POINTS = "gpuctl.clusters"

_REMEMBERING = frozenset({"local"})
"""Kinds that keep their ended jobs for good, so that nobody else has to remember them."""

_PRICE = "price"
"""The option of every kind that names what a GPU costs there an hour."""

_TO_LOCAL: tuple[keys.Key[Any], ...] = (keys.STATE_DIR, keys.LOCK_DIR, keys.DEVICES, keys.SLOTS, keys.LOG_LIMIT, keys.SCHEDULE, keys.TEAM)
"""Settings that become options of a ``local`` cluster where somebody gave them; the profile's own options are stronger."""


def open_pool(
    profile: str | None = None,
    *,
    settings: Settings | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    request_timeout: float | None = None,
) -> "DirectPool":
    """The pool of a profile, not yet talking to anything.

    Args:
        profile: its name, the one in use by default.
        settings: already loaded ones; else they are read from ``env`` and upwards from ``cwd``.
        env: the environment, ``os.environ`` by default.
        cwd: where the project file is looked for.
        request_timeout: seconds that one cluster may take to answer, the setting's by default.

    Raises:
        NotFoundError: no such profile.
        InvalidInput: configuration, profile or an option of a cluster is wrong.
        UsageError: ``unknown-kind``, a cluster of a kind that is not installed.
    """
    from gpuctl.pool.direct import DirectPool
    from gpuctl.pool.members import Members

    settings = settings if settings is not None else load(flags={"profile": profile}, env=env, cwd=cwd)
    chosen = profiles.get(settings, profile)
    alone = len(chosen.clusters) == 1
    rivals = _rivals(chosen.clusters, settings)
    members = tuple(_member(entry, chosen, settings, alone=alone, rival=rivals.get(entry.name)) for entry in chosen.clusters)
    deadline = request_timeout if request_timeout is not None else settings.get(keys.REQUEST_TIMEOUT)
    record = os.path.join(settings.get(keys.STATE_DIR) or paths.state_dir(env), "record", chosen.name) if _forget(members) else None
    strict = request_timeout is not None or settings.given_by(keys.REQUEST_TIMEOUT) is not None
    return DirectPool(Members(members, deadline=deadline, strict=strict), user=account(), profile=chosen.name, record_at=record)


def build_cluster(entry: "ClusterEntry", settings: Settings) -> "Cluster":
    """One cluster of a profile, from its options and the settings that concern its kind. What a GPU costs is the pool's to know."""
    options = {key: value for key, value in entry.options.items() if key != _PRICE}
    if entry.kind == "local":
        given = {key.name: str(settings.get(key)) for key in _TO_LOCAL if settings.given_by(key) is not None}
        options = {**given, **options}
    elif entry.kind == "kubernetes" and entry.tier is not None:
        options["tier"] = entry.tier
    return _factory(entry)(entry.name, options)


def check_clusters(entries: "Sequence[ClusterEntry]", settings: Settings, *, currency: str) -> tuple[str, ...]:
    """See that the clusters of a profile can be built; sentences about what may still become right (a kind that is not installed yet).

    Raises:
        InvalidInput: an option, a price or the currency is wrong; two schedules for this machine.
    """
    from gpuctl.port.notes import Configured

    notes = []
    for rival in _rivals(entries, settings).values():
        raise rival
    for entry in entries:
        _prices(entry, currency)
        try:
            cluster = build_cluster(entry, settings)
        except InvalidInput:
            raise
        except GpuctlError as error:
            notes.append(error.line)
            continue
        try:
            if isinstance(cluster, Configured):
                cluster.configured()
        except GpuctlError as error:
            notes.append(f"{entry.name} cannot be used yet: {error.line}")
        finally:
            cluster.close()
    return tuple(notes)


def _member(entry: "ClusterEntry", profile: "Profile", settings: Settings, *, alone: bool, rival: InvalidInput | None) -> "Member":
    """One cluster in its pool. One that cannot be built is a row with its reason there, unless it is the only one."""
    from gpuctl.pool.members import Member

    try:
        if rival is not None:
            raise rival
        prices = _prices(entry, profile.currency)
        cluster = build_cluster(entry, settings)
    except GpuctlError as error:
        if alone:
            raise
        from gpuctl.pool.broken import BrokenCluster

        prices, cluster = None, cast("Cluster", BrokenCluster(entry.name, error))
    return Member(cluster=cluster, name=entry.name, kind=entry.kind, tier=entry.tier, prices=prices, forgets=entry.kind not in _REMEMBERING)


def _rivals(entries: "Sequence[ClusterEntry]", settings: Settings) -> dict[str, InvalidInput]:
    """Entries that would put this machine under a second schedule, by name: a node has one owner, and the first entry says whose."""
    found: dict[str, InvalidInput] = {}
    first: tuple[str, str] | None = None
    for entry in entries:
        given = entry.options.get(keys.SCHEDULE.name) or settings.get(keys.SCHEDULE) if entry.kind == "local" else None
        if given is None:
            continue
        path = os.path.expanduser(given)
        first = first or (entry.name, path)
        if path != first[1]:
            field = f"{entry.name}.{keys.SCHEDULE.name}"
            problem = Problem(field=field, message=f"this machine is under the schedule of {first[0]} already", got=given, allowed=first[1])
            found[entry.name] = InvalidInput(f"cannot use cluster {entry.name}", [problem], code="two-schedules")
    return found


def _forget(members: "tuple[Member, ...]") -> bool:
    return any(member.forgets for member in members)


def _prices(entry: "ClusterEntry", currency: str) -> "Prices | None":
    """The price list of a cluster; none where the profile names none: what is there anyway costs nothing more."""
    text = entry.options.get(_PRICE)
    if text is None:
        return None
    from gpuctl.policy import price

    problems = []
    wrong = price.problem(currency)
    if wrong is not None:
        problems.append(Problem(field="currency", message=wrong, got=currency, allowed="a sign ($, €, £) or three letters (EUR)"))
    try:
        prices = price.parse(text, currency=currency)
    except ValueError as error:
        problems.append(Problem(field=f"{entry.name}.{_PRICE}", message=str(error), got=text, allowed=price.ALLOWED))
        prices = None
    if problems:
        raise InvalidInput(f"cannot use cluster {entry.name}", problems, code="bad-price")
    return prices


def runs_here(profile: str | None, settings: Settings, *, cluster: str | None = None) -> bool:
    """Whether jobs of the profile (or of one cluster of it) may run with a Python of this machine, and not with that of an image."""
    entries = profiles.get(settings, profile).clusters
    chosen = [entry for entry in entries if cluster is None or entry.name == cluster]
    return any(entry.kind != "kubernetes" for entry in chosen or entries)


def find_interpreter(python: str | None, workdir: str, env: Mapping[str, str]) -> str:
    """The absolute path of the Python that runs a job of this machine, see ``clusters.local.interpreter``.

    Here so that who builds submissions need not know a cluster.
    """
    from gpuctl.clusters.local import interpreter

    return interpreter.find(python, workdir=workdir, env=env).path


def explain_interpreter(python: str | None, workdir: str, env: Mapping[str, str]) -> tuple[str, str]:
    """As :func:`find_interpreter`, with the reason why it was chosen (``--python``, ``.venv``, ``VIRTUAL_ENV``, ...)."""
    from gpuctl.clusters.local import interpreter

    found = interpreter.find(python, workdir=workdir, env=env)
    return found.path, found.why


def require_module(python: str, kind: str, *, env: Mapping[str, str] | None = None) -> None:
    """See that the interpreter ``python`` has what jobs of this kind import: torch for pytorch, ray for ray, nothing for others.

    Raises:
        UsageError: ``module-missing``, with the command that would install it; ``bad-interpreter``, it cannot be run.
    """
    module = MODULES.get(kind)
    if module is None:
        return
    from gpuctl.clusters.local import interpreter

    if not interpreter.has_module(python, module, cache_directory=_cache(env)):
        raise UsageError(
            f"cannot run a {kind} job with {python}: it has no {module}",
            code="module-missing",
            hint=f"{interpreter.install_command(python, module)}    or: gpuctl submit --python /path/to/python ...",
        )


class FoundInterpreter(NamedTuple):
    """A Python that jobs could run with: why it counts, which of torch and ray it has (None: it did not answer), how to install torch."""

    path: str
    why: str
    modules: Mapping[str, bool | None]
    install_torch: str


def interpreters(workdir: str, env: Mapping[str, str]) -> tuple[FoundInterpreter, ...]:
    """Every Python that a job submitted from ``workdir`` could run with, the one it would take first (``gpuctl doctor``)."""
    from gpuctl.clusters.local import interpreter

    cache = _cache(env)

    def has(path: str, module: str) -> bool | None:
        try:
            return interpreter.has_module(path, module, cache_directory=cache)
        except UsageError:
            return None

    return tuple(
        FoundInterpreter(
            path=found.path,
            why=found.why,
            modules={module: has(found.path, module) for module in MODULES.values()},
            install_torch=interpreter.install_command(found.path, "torch"),
        )
        for found in interpreter.all_found(workdir, env)
    )


def _cache(env: Mapping[str, str] | None) -> str | None:
    from gpuctl.config import paths

    try:
        return paths.cache_dir(env)
    except UsageError:  # no home: ask every time
        return None


class LocksSetUp(NamedTuple):
    """Whether this machine's shared lock directory is there now, in a sentence; else the command that somebody with more rights gives."""

    done: bool
    text: str
    command: str | None


def set_up_locks(group: str | None = None) -> LocksSetUp:
    """Make the directory by whose locks the people of this machine share its devices, for everybody or for a group's members."""
    from gpuctl.clusters.local import locks

    made = locks.set_up(group)
    return LocksSetUp(made.done, made.text, made.command)


def installed_kinds() -> tuple[str, ...]:
    """Every kind of cluster that could be built here, by name. Slow: it scans the installed distributions."""
    return tuple(sorted({*KINDS, *_entry_points()}))


def account() -> str:
    """The name of the account that runs this process, which clusters on this machine record jobs under; ``uid-N`` without a name."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid-{os.geteuid()}"


def _factory(entry: "ClusterEntry") -> "ClusterFactory":
    target = KINDS.get(entry.kind) or _entry_points().get(entry.kind)
    if target is None:
        kinds = installed_kinds()
        close = nearest(entry.kind, kinds)
        raise UsageError(
            f"cannot build cluster {entry.name}: no kind {entry.kind} is installed (installed: {', '.join(kinds)})",
            code="unknown-kind",
            hint=f"did you mean kind={close}?" if close else "gpuctl profile show",
        )
    return cast("ClusterFactory", _load(target, entry))


def _load(target: str, entry: "ClusterEntry") -> Any:
    module, _, name = target.partition(":")
    if target not in KINDS.values():
        # Somebody else's package: whatever goes wrong while it loads is told as that, not as a traceback of ours.
        try:
            return getattr(importlib.import_module(module), name)
        except Exception as error:
            raise GpuctlError(
                f"cannot load cluster {entry.name} of kind {entry.kind} from {target}",
                code="kind-broken",
                cause=f"{type(error).__name__}: {error}",
                hint="gpuctl profile list",
            ) from error
    return getattr(importlib.import_module(module), name)


def _entry_points() -> dict[str, str]:
    from importlib import metadata

    return {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINTS)}
