"""All sources together: one checked job document, and what goes with it; or every problem at once."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.cli.spec import jobfile, script, sources
from gpuctl.cli.spec.flag import SECRET_VALUES, Place, Secret
from gpuctl.cli.spec.given import Program
from gpuctl.cli.spec.layers import Layers, Setting
from gpuctl.cli.spec.parser import Given
from gpuctl.model import check
from gpuctl.model.spec import API_VERSION, JobDocument, JobSpec
from gpuctl.pool import submission

NOTHING = Problem(field="SCRIPT", message="there is nothing to run", allowed="SCRIPT [ARGS...], -- COMMAND... or -f FILE")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """A job that could be submitted.

    Attributes:
        document: the job.
        body: the same as ``--dry-run`` prints it and ``-f`` reads it: all that somebody set, also where it is the default.
        base_name: its name without a tail: chosen, or made from what it runs.
        secrets: values by name.
        layers: every value with its origin, for ``--explain``.
        notes: lines for stderr.
    """

    document: JobDocument
    body: dict[str, Any]
    base_name: str
    secrets: dict[str, str]
    layers: Layers
    notes: tuple[str, ...] = ()


def build(given: Given, place: Place, *, program: Program | None = None, base: Iterable[Setting] = (), verb: str = "submit") -> Built:
    """The job that the command line, the environment, a job file and the script describe together.

    Args:
        given: the command line.
        place: where values are looked up.
        program: what runs, where it is not what stands behind the flags.
        base: settings below all flags, in the place of a job file (of the job that is run again).
        verb: for the sentence of an error.

    Raises:
        InvalidInput: with every problem of every source, named as it was written.
    """
    problems = list(given.problems)
    notes: list[str] = []
    base = list(base)
    if _elsewhere(given, place, base):
        place = dataclasses.replace(place, elsewhere=True)
    runs = program if program is not None else given.program()
    file = _file(given, runs, problems)
    from_file = jobfile.read(file, place, problems) if file is not None else base
    if any(setting.path[:2] == ("spec", "git") for setting in from_file):
        place = dataclasses.replace(place, elsewhere=True)
    from_flags = sources.settings(given.uses, place, problems)
    from_set = jobfile.changes([use for use in given.uses if use.flag.name == "--set"], problems)
    environment = sources.settings(sources.environment(place.env, problems), place, problems)
    layers = Layers()
    found = _look(runs, [environment, from_file, from_flags, from_set], place, problems)
    if found is not None and found.text and (runs.script is not None or file is not None):
        shown = "standard input" if found.name == "-" else found.name
        layers.add(sources.settings(sources.directives(found.text, shown, problems, notes), place, problems))
    for settings in (environment, from_file, from_flags, from_set):
        layers.add(settings)
    _add_program(layers, runs, found, place)
    _add_array(layers)
    _add_secrets(layers, place, problems)
    problems += [
        Problem(field=setting.origin, message="is no text in UTF-8", got=repr(setting.value))
        for setting in layers
        if _undecodable(setting.value)
    ]
    tree = {"apiVersion": API_VERSION, "kind": "Job", **layers.tree()}
    document, wrong = check.check_document(tree)
    # A misspelt flag may have swallowed the script, a misspelt field the command: then that nothing runs is no news.
    silent = runs.script is not None or bool(given.problems) or (file is not None and len(problems) + len(wrong) > 1)
    for problem in wrong:
        if not problem.message.startswith("nothing to run"):
            problems.append(named(problem, layers))
        elif not silent:
            problems.append(NOTHING)
    if document is None or problems:
        problems = list(dict.fromkeys(problems))
        hint = f"gpuctl {verb} --help" if file is None else "gpuctl submit --dry-run -o yaml -j 1x2 train.py > job.yaml"
        raise InvalidInput(f"cannot {verb}: {_count(problems)}", problems, hint=hint)
    name = document.metadata.name or submission.base_name(document.spec)
    said = (*runs.notes, *notes)
    return Built(document=document, body=_in_order(tree), base_name=name, secrets=layers.secrets(), layers=layers, notes=said)


def _elsewhere(given: Given, place: Place, base: Sequence[Setting]) -> bool:
    """Whether the code is a repository's, as far as can be told before anything is read: a script's own directive comes too late."""
    asked = given.has("--git") or bool(place.env.get("GPUCTL_SUBMIT_GIT"))
    return asked or any(setting.path[:2] == ("spec", "git") for setting in base)


def _file(given: Given, runs: Program, problems: list[Problem]) -> str | None:
    file = given.text("-f")
    if file is not None and (runs.script is not None or runs.command):
        got = runs.script or " ".join(runs.command)
        problems.append(Problem(field="-f", message="already says what runs; nothing may stand behind the flags", got=got))
    return file


def _look(runs: Program, known: Sequence[Sequence[Setting]], place: Place, problems: list[Problem]) -> script.Script | None:
    """The script, as far as the sources above its own directives say which one it is, and where."""
    above = Layers()
    for settings in known:
        above.add(settings)
    kind, name = above.get("spec", "kind"), runs.script
    asked = kind if isinstance(kind, str) else None
    if name is not None:
        return script.read(name, place, problems, kind=asked)
    name, setting = above.get("spec", "script"), above.who("spec.script")
    if not isinstance(name, str) or setting is None or runs.command:
        return None
    workdir = above.get("spec", "workdir")
    there = dataclasses.replace(place, cwd=os.path.join(place.cwd, workdir)) if isinstance(workdir, str) else place
    return script.read(name, there, problems, kind=asked, field=_origin(setting, "spec.script"))


def _add_program(layers: Layers, runs: Program, found: script.Script | None, place: Place) -> None:
    """What runs, and the kind and directory that follow from it."""
    settings: list[Setting] = []
    if runs.script is not None:
        settings += [Setting(path=("spec", field), value=None, origin="SCRIPT") for field in ("script", "stdinScript", "command", "args")]
        if runs.script == "-":
            settings.append(Setting(path=("spec", "stdinScript"), value=found.text if found else "", origin="standard input"))
        else:
            settings.append(Setting(path=("spec", "script"), value=_script(runs.script, layers, place), origin="SCRIPT"))
        settings.append(Setting(path=("spec", "args"), value=list(runs.args) or None, origin="ARGS"))
    elif runs.command:
        settings += [Setting(path=("spec", field), value=None, origin="COMMAND") for field in ("script", "stdinScript", "args")]
        settings.append(Setting(path=("spec", "command"), value=list(runs.command), origin="COMMAND"))
    layers.add(settings)
    if layers.get("spec", "kind") is None:
        name = layers.get("spec", "script")
        python = isinstance(name, str) and name.endswith((".py", ".pyz"))
        origin = f"{name} ends in .py" if python else "neither .py nor --kind"
        layers.add([Setting(path=("spec", "kind"), value="pytorch" if python else "command", origin=origin)])


def _script(name: str, layers: Layers, place: Place) -> str:
    """The script as the job's directory sees it: as given, or absolute when the job runs elsewhere."""
    expanded = os.path.expanduser(name)
    workdir = layers.get("spec", "workdir")
    if place.elsewhere:
        return name
    if workdir is None or os.path.abspath(workdir) == os.path.abspath(place.cwd):
        return expanded
    return os.path.abspath(os.path.join(place.cwd, expanded))


def _add_array(layers: Layers) -> None:
    """``--args-from`` alone makes an array as long as its lines."""
    args = layers.get("spec", "array", "args")
    if isinstance(args, list) and layers.get("spec", "array", "last") is None:
        origin = "one task per line"
        first = layers.get("spec", "array", "first") or 0
        layers.add([Setting(path=("spec", "array", "last"), value=first + len(args) - 1, origin=origin)])


def _add_secrets(layers: Layers, place: Place, problems: list[Problem]) -> None:
    """Values for secrets that a job file only names: from the environment, as for ``--secret NAME``."""
    known = layers.secrets()
    for setting in list(layers):
        if setting.path[:2] == ("spec", "secrets") and len(setting.path) == 3 and setting.path[2] not in known:
            name = setting.path[2]
            if place.env.get(name):
                layers.add([Setting(path=(SECRET_VALUES, name), value=Secret(place.env[name]), origin=name)])
            else:
                problems.append(
                    Problem(
                        field=f"{setting.origin}: secret {name}", message="has no value: it is not set here", allowed="--secret NAME=@FILE"
                    )
                )


def _undecodable(value: object) -> bool:
    """Whether text holds bytes that were no UTF-8 where it came from; no document can carry those."""
    if isinstance(value, str):
        return any("\ud800" <= char <= "\udfff" for char in value)
    return any(map(_undecodable, value)) if isinstance(value, list) else False


def named(problem: Problem, layers: Layers) -> Problem:
    """The problem under the name of what the person wrote: a flag, a directive's line, a variable, or a file and the field in it."""
    setting = layers.who(problem.field)
    if setting is None:
        return problem
    return dataclasses.replace(problem, field=_origin(setting, problem.field))


def _origin(setting: Setting, field: str) -> str:
    return setting.origin if setting.own_name else f"{setting.origin}: {field}"


def _in_order(tree: dict[str, Any]) -> dict[str, Any]:
    """The body with the fields of ``spec`` in the order of the reference, whichever source said them first."""
    order = {field.encode_name: position for position, field in enumerate(msgspec.structs.fields(JobSpec))}
    spec = {name: tree["spec"][name] for name in sorted(tree["spec"], key=lambda name: order[name])}
    return {name: spec if name == "spec" else tree[name] for name in ("apiVersion", "kind", "metadata", "spec") if name in tree}


def _count(problems: Sequence[Problem]) -> str:
    return "one value is wrong" if len(problems) == 1 else f"{len(problems)} values are wrong"
