"""A directory with scripts, and the build half of submit without a terminal."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import InvalidInput
from gpuctl.cli.spec import given as words
from gpuctl.cli.spec import table
from gpuctl.cli.spec.build import Built, build
from gpuctl.cli.spec.flag import Place, Use
from gpuctl.cli.spec.parser import Given

FLAGS = table.by_spelling(table.EVERY)


def parse(*args: str) -> Given:
    """What the parser of ``gpuctl submit`` makes of these words."""
    split = words.split(args, {spelling: flag.takes_value for spelling, flag in FLAGS.items()})
    uses = tuple(Use(flag=FLAGS[spelling], text=text, origin=FLAGS[spelling].name) for spelling, text in split.uses)
    return Given(uses=uses, rest=split.rest, problems=split.problems, spellings=tuple(FLAGS))


Building = Callable[..., Built]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A working directory with a Python script and a shell script without directives."""
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "job.sh").write_text("#!/bin/sh\ntrue\n")
    return tmp_path


@pytest.fixture
def built(directory: Path) -> Building:
    """``built("-j", "1x2", "train.py", env={...}, stdin="...")``: the job these words describe, from ``directory``."""

    def make(*args: str, env: Mapping[str, str] | None = None, stdin: str = "", **more: Any) -> Built:
        place = Place(env=env or {}, cwd=os.fspath(directory), stdin=lambda: stdin)
        return build(parse(*args), place, **more)

    return make


@pytest.fixture
def refused(built: Building) -> Callable[..., dict[str, str]]:
    """As ``built``, but for words that are wrong: the problems' text by field."""

    def make(*args: str, **more: Any) -> dict[str, str]:
        with pytest.raises(InvalidInput) as caught:
            built(*args, **more)
        return {problem.field: str(problem) for problem in caught.value.problems}

    return make
