"""``gpuctl profile``: which clusters make up the pool."""

from typing import Annotated, Any

import msgspec
import typer

from gpuctl.base.errors import InvalidInput, UsageError
from gpuctl.cli.result import Column, One, Result, Rows, Text
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Noun, Verb
from gpuctl.config import profiles, settings
from gpuctl.config.keys import PROFILE

Name = Annotated[str, typer.Argument(metavar="NAME", help="A profile.")]
OptionalName = Annotated[str | None, typer.Argument(metavar="[NAME]", help="A profile; the current one without it.")]
Clusters = Annotated[
    list[str] | None,
    typer.Option("--cluster", metavar="KEY=VALUE,...", help="A cluster, in order of preference: ctx=res-a,tier=reserved. Repeatable."),
]
Currency = Annotated[str, typer.Option("--currency", metavar="SIGN", help="Of the prices: $ (the default), EUR, ...")]
Store = Annotated[str, typer.Option("--store", metavar="STORE", help="Where its token lies: keyring, or file (mode 0600).")]
Use = Annotated[bool, typer.Option("--use", help="Use it from now on.")]


class Shown(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A profile as it is printed."""

    name: str
    clusters: tuple[dict[str, Any], ...]
    source: str
    store: str
    current: bool = False


def show_all(session: Session) -> Result:
    """List the profiles; * marks the one in use."""
    loaded = _settings(session)
    current = session.profile or loaded.get(PROFILE)
    items = [_shown(profile, current) for profile in profiles.all_profiles(loaded)]
    return Rows(kind="Profile", items=items, columns=COLUMNS, name=_name, empty="no profiles")


def show(session: Session, name: OptionalName = None) -> Result:
    """Show a profile with its clusters and their options."""
    loaded = _settings(session)
    current = session.profile or loaded.get(PROFILE)
    found = _shown(profiles.get(loaded, name or session.profile), current)
    return One(kind="Profile", item=found, text=lambda _: _text(found), name=_name, columns=COLUMNS)


def use(session: Session, name: Name) -> Result:
    """Make a profile the one that commands use from now on."""
    loaded = _settings(session)
    profile = profiles.use(loaded, name)
    session.say(f"{loaded.user_file} now names profile {profile.name}")
    overriding = loaded.given_by(PROFILE)
    if overriding and overriding not in (loaded.user_file, "default") and loaded.get(PROFILE) != name:
        session.say(f"note: {overriding} still says {loaded.get(PROFILE)}, and wins")
    return Text(text=f"profile/{profile.name}\n")


def add(
    session: Session,
    name: Name,
    cluster: Clusters = None,
    store: Store = "keyring",
    currency: Currency = profiles.CURRENCY,
    use_it: Use = False,
) -> Result:
    """Write a new profile into your configuration file.

    Each --cluster is one place, the preferred one first, as KEY=VALUE pairs with
    commas between. A key given twice has both values.

    Of every kind:
      name        what it is called here (default: the context, or the kind)
      tier        reserved or on-demand, of nodes that carry no label of their own
      price       per GPU and hour: H100:4.10; price=H100:4.10,price=A100:2
    ctx=CONTEXT, a context of your kubeconfig:
      namespace   where jobs go (default: the context's)
      queue       Kueue LocalQueue that jobs go to
      engine      auto, jobset, trainjob, pytorchjob, job, rayjob
      image       for jobs that name none
      gpu-map     GPU type by node label: LABEL=VALUE:H100
      elastic     GPUs up to which it grows by itself: H100:64
      pod         file with a patch for every pod
      kubeconfig  a file other than KUBECONFIG
      team        of the jobs there (default: the label of the namespace)
      ttl         how long ended jobs stay there (default: 7d)
      also        priority-classes (0:batch,100:urgent), elastic-node, git-image,
                  gpu-resource, pull-secret, ray-version, runtime, service-account, storage-class
    kind=local, this machine:
      slots       process slots, on a machine without GPUs
      devices     auto, nvidia, amd or slots

    A cluster of an installed plug-in names its kind the same way.
    """
    if store not in ("keyring", "file"):
        raise UsageError(f"cannot add profile {name}: no store is called {store}", hint="--store keyring    or: --store file")
    loaded = _settings(session)
    notes = _checked(cluster or [], loaded, currency)
    profile = profiles.add(loaded, name, cluster or [], store="file" if store == "file" else "keyring", currency=currency)
    for note in notes:
        session.say(f"note: {note}")
    if use_it:
        profiles.use(_settings(session), name)
    else:
        session.say(f"hint: gpuctl profile use {name}")
    return Text(text=f"profile/{profile.name}\n")


def _checked(clusters: list[str], loaded: settings.Settings, currency: str) -> tuple[str, ...]:
    """What building the clusters brings up. Options that do not even parse are told by ``profiles.add``, all at once."""
    from gpuctl import wiring

    try:
        entries = [profiles.parse_cluster(text) for text in clusters]
    except InvalidInput:
        return ()
    return wiring.check_clusters(entries, loaded, currency=currency)


def remove(session: Session, name: Name) -> Result:
    """Take a profile out of your configuration file. Jobs are not touched."""
    profile = profiles.remove(_settings(session), name)
    return Text(text=f"profile/{profile.name}\n")


def _settings(session: Session) -> settings.Settings:
    return settings.load(env=session.env, cwd=session.cwd)


def _shown(profile: profiles.Profile, current: str) -> Shown:
    clusters = tuple(
        {"name": entry.name, "kind": entry.kind, **({"tier": entry.tier} if entry.tier else {}), **entry.options}
        for entry in profile.clusters
    )
    return Shown(name=profile.name, clusters=clusters, source=profile.source, store=profile.store, current=profile.name == current)


def _text(profile: Shown) -> str:
    lines = [f"profile {profile.name}{' (current)' if profile.current else ''}", f"  from {profile.source}"]
    for cluster in profile.clusters:
        rest = " ".join(f"{key}={value}" for key, value in cluster.items() if key != "name")
        lines.append(f"  cluster {cluster['name']}: {rest}")
    return "\n".join(lines) + "\n"


def _name(profile: Shown) -> str:
    return f"profile/{profile.name}"


COLUMNS = (
    Column(name="NAME", cell=lambda item, _: item.name),
    Column(name="CURRENT", cell=lambda item, _: "*" if item.current else ""),
    Column(name="CLUSTERS", cell=lambda item, _: ",".join(cluster["name"] for cluster in item.clusters), shrink=True),
    Column(name="SOURCE", cell=lambda item, _: item.source),
)

VERB = Noun(
    help="Manage profiles: which clusters make up the pool.",
    verbs={
        "list": Verb(run=show_all),
        "show": Verb(run=show),
        "use": Verb(run=use),
        "add": Verb(
            run=add,
            examples=(
                "gpuctl profile add ws --cluster kind=local,slots=16",
                "gpuctl profile add lab --cluster ctx=res-a,tier=reserved \\",
                "    --cluster ctx=cloud,tier=on-demand,price=H100:4.10",
            ),
        ),
        "remove": Verb(run=remove),
    },
    default="list",
)
