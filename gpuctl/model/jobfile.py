"""The text of a job file (or a schedule) to plain values: one YAML document, without the traps of YAML.

Duplicate keys (YAML parsers keep the last and say nothing), aliases that multiply, and documents after the first are refused. What the
values mean is ``check``'s to say.
"""

from typing import Any, NamedTuple

from gpuctl.base.errors import InvalidInput, Problem, UsageError

LARGEST = 1 << 20
"""Bytes; a job file is a page, not a data set."""

MOST_VALUES = 100_000
"""Values in one file, counted with every alias resolved."""

DEEPEST = 32


_DATE = "tag:yaml.org,2002:timestamp"
_TEXT = "tag:yaml.org,2002:str"


class FileKind(NamedTuple):
    """What a text is called, the code of its errors, and a command that begins one."""

    name: str
    code: str
    begin: str | None = None


JOB_FILE = FileKind("job file", "bad-job-file", "gpuctl submit --dry-run -o yaml ...    writes one to begin with")
SCHEDULE_FILE = FileKind("schedule", "bad-schedule")


def parse(text: bytes, *, source: str, kind: FileKind = JOB_FILE) -> Any:
    """The one document in ``text``. Dates stay text: 2026-02-31 is a wrong value of a field, not a broken file.

    Args:
        text: YAML or JSON, UTF-8.
        source: the file's name, for messages.
        kind: what the text is.

    Raises:
        UsageError: with the kind's code: empty, too large, no YAML, several documents.
        InvalidInput: with the kind's code: keys given twice, all of them listed with their lines.
    """
    if len(text) > LARGEST:
        raise _refused(kind, source, f"it is larger than {LARGEST >> 20} MiB")
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refused(kind, source, "it is not YAML", cause=_one_line(error)) from error
    try:
        node = loader.get_node() if loader.check_node() else None
        if node is None:
            raise _refused(kind, source, "it is empty", hint=kind.begin)
        if loader.check_node():
            raise _refused(kind, source, f"it holds several documents, one {kind.name.removesuffix(' file')} is one file")
        _check(node, kind, source)
        return loader.construct_document(node)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _refused(kind, source, "it is not YAML", cause=_one_line(error)) from error
    finally:
        loader.dispose()


def _check(root: Any, kind: FileKind, source: str) -> None:
    """Refuse duplicate keys and graphs that explode or bite their own tail, before any value is made of them."""
    problems: list[Problem] = []
    judged: set[int] = set()
    count = 0
    rest = [(root, "", 0)]
    while rest:
        node, path, depth = rest.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            what = f"more than {MOST_VALUES} values" if count > MOST_VALUES else f"values more than {DEEPEST} levels deep"
            raise _refused(kind, source, f"its aliases make {what}", hint="write the values out instead of using & and *")
        if node.tag == _DATE:
            node.tag = _TEXT
        if node.id == "sequence":
            rest.extend((item, f"{path}[{position}]", depth + 1) for position, item in enumerate(node.value))
        elif node.id == "mapping":
            if id(node) not in judged:
                judged.add(id(node))
                problems.extend(_duplicates(node, path))
            rest.extend((item, f"{path}.{key.value}" if path else str(key.value), depth + 1) for key, item in node.value)
    if problems:
        raise InvalidInput(f"cannot read {source}: keys are given twice", problems, code=kind.code)


def _duplicates(node: Any, path: str) -> list[Problem]:
    seen: dict[str, int] = {}
    problems = []
    for key, _ in node.value:
        if key.id != "scalar" or key.value == "<<":
            continue
        line = key.start_mark.line + 1
        if key.value in seen:
            field = f"{path}.{key.value}" if path else key.value
            problems.append(Problem(field=field, message=f"is given twice, in lines {seen[key.value]} and {line}"))
        seen.setdefault(key.value, line)
    return problems


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _refused(kind: FileKind, source: str, why: str, *, cause: str | None = None, hint: str | None = None) -> UsageError:
    return UsageError(f"cannot read {kind.name} {source}: {why}", code=kind.code, cause=cause, hint=hint)
