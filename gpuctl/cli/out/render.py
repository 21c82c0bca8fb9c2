"""The one renderer: a verb's result, in the format the session asks for, to stdout; sentences about it to stderr."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from gpuctl.base import jsonpath
from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.cli.out import document, formats, table
from gpuctl.cli.result import Column, Context, Done, One, Result, Rows, Text
from gpuctl.cli.session import Session


def write(result: Result, session: Session) -> int:
    """Write ``result`` and return its exit code."""
    if isinstance(result, Done):
        return result.code
    if isinstance(result, Text):
        session.write(result.text)
        return result.code
    session.write(text(result, session))
    if isinstance(result, Rows):
        for cluster, reason in result.incomplete.items():
            session.say(f"note: {cluster} could not be read: {reason}")
        chosen = formats.parse(session.output)
        if not result.items and not chosen.machine and result.empty:
            session.say(result.nothing)
        if chosen.name in {"table", "wide"}:
            for line in result.footer:
                session.say(line)
    return result.code


def text(result: Rows | One, session: Session) -> str:
    """``result`` as text in the session's format.

    Raises:
        InvalidInput: the format, a column or the jsonpath expression is not known.
    """
    chosen = formats.parse(session.output)
    context = session.context()
    items: Sequence[Any] = result.items if isinstance(result, Rows) else (result.item,)
    if chosen.name == "name":
        return "".join(result.name(item) + "\n" for item in items)
    if chosen.machine:
        body = (
            document.listing(items, result.kind, result.incomplete) if isinstance(result, Rows) else document.of(result.item, result.kind)
        )
        if chosen.name == "jsonpath":
            return _jsonpath(chosen.argument, body)
        return document.json_text(body) if chosen.name == "json" else document.yaml_text(body)
    if isinstance(result, One) and chosen.name in {"table", "wide"}:
        return result.text(context)
    columns = _columns(result, chosen)
    if chosen.name == "csv":
        return _csv(items, columns, context, headers=session.headers)
    if not items:
        return ""
    width = session.width if session.out_tty else None
    shown = table.render(items, columns, context, width=width, headers=session.headers)
    beneath = result.below if isinstance(result, Rows) and chosen.name in {"table", "wide"} else None
    return shown + beneath(context) if beneath is not None else shown


def _columns(result: Rows | One, chosen: formats.Format) -> list[Column]:
    if chosen.name != "columns":
        everything = chosen.name in {"wide", "csv"}
        return [column for column in result.columns if everything or not column.wide]
    known = {column.name.lower(): column for column in result.columns}
    names = [name.strip().lower() for name in chosen.argument.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        allowed = ", ".join(known)
        raise InvalidInput(
            f"cannot show columns {chosen.argument}",
            [
                Problem(field="--output", message="no such column", got=repr(name), allowed=allowed, nearest=nearest(name, known))
                for name in wrong or [chosen.argument]
            ],
        )
    return [known[name] for name in names]


def _csv(items: Sequence[Any], columns: Sequence[Column], context: Context, *, headers: bool) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if headers:
        writer.writerow([column.name.lower() for column in columns])
    writer.writerows([column.cell(item, context) for column in columns] for item in items)
    return buffer.getvalue()


def _jsonpath(expression: str, body: Any) -> str:
    try:
        steps = jsonpath.parse(expression)
    except ValueError as error:
        raise InvalidInput(
            f"no jsonpath expression: {expression}",
            [Problem(field="--output", message=str(error), allowed="paths such as .items[*].name or .spec.gpus")],
        ) from None
    found = list(jsonpath.find(steps, body))
    if not found and steps and not _has_path(steps, body):
        keys = sorted(body)
        raise InvalidInput(
            f"nothing is at {expression}", [Problem(field="--output", message="no such field", got=expression, allowed=", ".join(keys))]
        )
    return "".join((value if isinstance(value, str) else document.json_text(value).strip()) + "\n" for value in found)


def _has_path(steps: tuple[jsonpath.Step, ...], body: Any) -> bool:
    """Whether the first step exists: an empty list below it is an answer, a misspelt key is not."""
    return any(True for _ in jsonpath.find(steps[:1], body))
