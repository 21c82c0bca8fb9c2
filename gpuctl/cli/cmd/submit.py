"""``gpuctl submit``."""

from gpuctl.base.errors import NotKeptHere
from gpuctl.cli import follow, submitting
from gpuctl.cli.out import document as documents
from gpuctl.cli.out import formats, jobtext, plantext
from gpuctl.cli.out.columns import job as columns
from gpuctl.cli.result import Column, Done, One, Result, Text
from gpuctl.cli.session import Session
from gpuctl.cli.spec import explain, table
from gpuctl.cli.spec.build import Built, build
from gpuctl.cli.spec.parser import FlagCommand, Given, takes
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import Submission
from gpuctl.model.job import Job, State
from gpuctl.port.rendering import Rendering

FLAGS = table.EVERY


@takes(FLAGS)
def run(session: Session, given: Given) -> Result:
    """Submit a job. stdout is exactly job/NAME; all else goes to stderr.

    The flags of gpuctl end at SCRIPT: what follows is the script's, verbatim.
    SCRIPT is a file, or - for standard input. Behind -- stands a command.

    Values come, each stronger than those before, from '#GPUCTL --time 6h' lines
    at the beginning of the script, from GPUCTL_SUBMIT_TIME and the like, from -f,
    and from flags. --explain shows which came from where and submits nothing.
    With --follow, stdout is job/NAME and then what the job writes.
    """
    return submit(session, submitting.checked(given))


def submit(session: Session, given: Given, *, built: Built | None = None, rerun_of: str | None = None) -> Result:
    """The run half, also of ``rerun``: show the job, or submit it and stay with it if asked to.

    Args:
        session: streams and pool.
        given: the flags; those about looking and staying are judged here.
        built: the job, built from ``given`` without one.
        rerun_of: id of the job that is run again.
    """
    chosen = formats.parse(session.output)
    looking = submitting.only_one(given, "--explain", "--plan", "--dry-run", "--render", "--wait", "--follow")
    built = built if built is not None else build(given, submitting.place(session))
    submitting.tell(session, built)
    if looking == "--explain":
        return explain.rows(built)
    if looking == "--dry-run":
        return _document(built)
    submission = submitting.prepare(session, given, built, rerun_of=rerun_of)
    if looking == "--plan":
        return _plan(session, submission)
    if looking == "--render":
        return _rendered(session, submission)
    waits = given.has("--wait-for-capacity")
    job = submitting.submit(session, submission, built, staying=looking is not None, wait_for_capacity=waits).job
    if looking is None:
        held = job.spec.hold and job.state is State.QUEUED
        session.say(f"hint: gpuctl update {job.name} --release" if held else f"hint: gpuctl logs -f {job.name}")
        return _accepted(session, job)
    if session.output is None or chosen.name == "name":
        session.write(columns.name(job) + "\n")
    code = follow.to_end(session, job, logs=looking == "--follow", timeout=submitting.timeout_of(given))
    return Done(code=code) if session.output is None or chosen.name == "name" else _one(session.pool.job(job.id), code=code)


def _accepted(session: Session, job: Job) -> Result:
    return Text(text=columns.name(job) + "\n") if session.output is None else _one(job)


def _one(job: Job, *, code: int = 0) -> One:
    return One(
        kind="Job",
        item=job,
        text=lambda context: jobtext.render(job, context, wrap=False),
        name=columns.name,
        columns=columns.COLUMNS,
        code=code,
    )


def _plan(session: Session, submission: Submission) -> Result:
    return plantext.rows(session.pool.plan(submission))


def _rendered(session: Session, submission: Submission) -> Text:
    """The objects of the job as kubectl reads them: a stream of YAML documents, or a List in JSON."""
    pool = session.pool
    if not isinstance(pool, Rendering):
        raise NotKeptHere(
            "cannot render the job: the pool of this profile does not show objects",
            cause="--render shows what a Kubernetes cluster of the profile would be sent",
            hint="gpuctl submit --dry-run -o yaml ...",
        )
    objects = pool.render(submission)
    if formats.parse(session.output).name == "json":
        return Text(text=documents.json_text({"apiVersion": "v1", "kind": "List", "items": objects}))
    session.say("note: nothing was created; the values of secrets, and the code, are left out")
    return Text(text="---\n".join(documents.yaml_text(each) for each in objects))


def _document(built: Built) -> One:
    """The job file; YAML for people too, as that is what ``-f`` reads."""
    return One(
        kind="Job",
        item=built.body,
        text=lambda _: documents.yaml_text(documents.of(built.body, "Job")),
        name=lambda _: f"job/{built.base_name}",
        columns=_document_columns(built),
    )


def _document_columns(built: Built) -> tuple[Column, ...]:
    spec = built.document.spec
    cells = {
        "NAME": built.base_name,
        "KIND": spec.kind,
        "SHAPE": f"{spec.nodes}x{spec.gpus}",
        "TIME": spec.time or "-",
        "PROGRAM": columns.program(spec),
    }
    return tuple(_constant(name, text) for name, text in cells.items())


def _constant(name: str, text: str) -> Column:
    return Column(name=name, cell=lambda _item, _context: text)


VERB = Verb(
    run=run,
    parser=FlagCommand,
    pass_through=True,
    examples=(
        "gpuctl submit -j 4x8 train.py --lr 3e-4     4 nodes of 8 GPUs, torchrun",
        "gpuctl submit -j 2x8 -- torchrun mine.py    any command, once a node",
        "gpuctl submit --kind ray -j 4x8 tune.py     a Ray cluster of its own",
        "gpuctl submit job.sh                        flags in '#GPUCTL -j 2x8' lines",
        "gpuctl submit -f job.yaml --set env.LR=1e-3",
        "gpuctl submit --array 0-99%8 sweep.py       100 tasks, 8 at a time",
        "gpuctl submit --after ok:prep train.py      when prep has succeeded",
    ),
)
