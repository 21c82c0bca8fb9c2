"""The variables of a job's containers.

What the program sees is the contract; the ones that begin with ``GPUCTL_POD_`` are for the in-pod program alone, which removes them.
"""

import shlex
from typing import Any

from gpuctl.base import git
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.manifests.expansion import literal
from gpuctl.clusters.kubernetes.manifests.job import Rendering
from gpuctl.clusters.kubernetes.manifests.resources import candidates, footprint, share
from gpuctl.clusters.kubernetes.manifests.values import Engine

BASE = "/gpuctl"
CODE_VOLUME = f"{BASE}/code-volume"
"""Where the directory of archives on a code volume is mounted."""
FETCHING = ("GIT_USERNAME", "GIT_SSL_NO_VERIFY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
"""Variables of the job that also count while its repository is fetched."""
PORT = 29500
RAY_PORT = 6379
DASHBOARD_PORT = 8265
CUT_STATUS = 198
"""What the in-pod program ends with at the time limit where a failed attempt would be tried again, for a limit is no failure to retry; and
where the pod that has the limit is removed with it, as KubeRay does."""
PREFIX_TEMPLATE = "[${rank}] "

Variables = list[dict[str, Any]]


def variables(job: Rendering, *, role: str = "node") -> Variables:
    """Every variable of a container that runs the job (or, for Ray, a node of it). Later ones win, so what gpuctl sets is last."""
    found = [_value(name, value) for name, value in job.spec.env.items()]
    found += [_secret(name, job.secret or "") for name in job.spec.secrets]
    found += [_value(name, value) for name, value in _about_the_job(job).items()]
    found += [_value(name, value) for name, value in job.storage.env.items()]
    found += [_value(name, value) for name, value in _for_the_entry(job, role=role).items()]
    if job.engine in (Engine.JOB, Engine.JOBSET) and not (job.spec.array or job.spec.kind == "ray"):
        found += _rendezvous(job)
    if job.engine is Engine.JOBSET:
        found.append(_field("GPUCTL_POD_RESTARTS", f"metadata.labels['{names.JOBSET_RESTARTS}']"))
    if job.spec.array is not None:
        found.append(_field("GPUCTL_POD_FAILURES", f"metadata.annotations['{names.INDEX_FAILURES}']"))
        found.append(_field("GPUCTL_POD_IGNORED", f"metadata.annotations['{names.INDEX_IGNORED}']"))
    if job.spec.kind == "pytorch":
        found += [_value(name, value) for name, value in _torch(job).items()]
    return found


def master(job: Rendering) -> str:
    """Where rank 0 is found: a DNS name, or the pod itself when there is one only."""
    if job.pods == 1:
        return "127.0.0.1"
    return peers(job).replace("{}", "0")


def peers(job: Rendering) -> str:
    """The DNS name of one pod of the gang, ``{}`` for its index."""
    if job.engine in (Engine.JOBSET, Engine.TRAINJOB):
        return f"{job.name}-node-0-{{}}.{job.name}"
    return f"{job.name}-{{}}.{job.name}"


def _about_the_job(job: Rendering) -> dict[str, str]:
    found = {
        "PYTHONUNBUFFERED": "1",
        "GPUCTL_JOB": job.who.name,
        "GPUCTL_JOB_ID": job.who.job_id,
        "GPUCTL_CLUSTER": job.facts.name,
        "GPUCTL_ATTEMPT": str(job.who.attempt),
    }
    if job.storage.checkpoint is not None:
        found["GPUCTL_CHECKPOINT_DIR"] = job.storage.checkpoint
        if job.who.attempt > 1:
            found["GPUCTL_RESUME_FROM"] = job.storage.checkpoint
    return found


def _torch(job: Rendering) -> dict[str, str]:
    # Every rank's lines whole in the pod's log, each with its rank; Python's own default tears lines of two ranks into each other.
    found = {"PET_TEE": "3", "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": PREFIX_TEMPLATE}
    found["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(max(1, job.spec.grace_seconds - 5))
    if job.engine is Engine.TRAINJOB:
        del found["PET_TEE"]  # the operator refuses variables of its own family; the in-pod program sets it
    return found


def _rendezvous(job: Rendering) -> Variables:
    """What ``torchrun`` and env:// programs read. A command on one node with one GPU is just a program."""
    spec = job.spec
    if spec.kind == "command" and spec.nodes == 1 and spec.gpus <= 1 and spec.procs_per_node == 1:
        return []
    address = master(job)
    index = f"metadata.annotations['{names.COMPLETION_INDEX}']"
    return [
        _value("PET_NNODES", str(spec.nodes)),
        _value("PET_NPROC_PER_NODE", str(spec.nproc_per_node or max(1, spec.gpus))),
        _field("PET_NODE_RANK", index),
        _value("PET_MASTER_ADDR", address),
        _value("PET_MASTER_PORT", str(PORT)),
        _value("MASTER_ADDR", address),
        _value("MASTER_PORT", str(PORT)),
        _field("NODE_RANK", index),
    ]


def _for_the_entry(job: Rendering, *, role: str) -> dict[str, str]:
    spec = job.spec
    found = {"GPUCTL_POD_ROLE": role, "GPUCTL_POD_CWD": job.code.cwd, "GPUCTL_POD_NODES": str(spec.nodes)}
    found |= code_variables(job)
    if job.engine is Engine.PYTORCHJOB:
        found["GPUCTL_POD_ENGINE"] = job.engine.value
    if spec.setup is not None:
        found["GPUCTL_POD_SETUP"] = spec.setup
    if spec.python is not None:
        found["GPUCTL_POD_PYTHON"] = spec.python
    found |= _limits(job)
    if spec.kind == "command" and (spec.per == "gpu" or spec.nproc_per_node is not None):
        found["GPUCTL_POD_COPIES"] = str(spec.procs_per_node)
    if spec.kind == "pytorch":
        found["GPUCTL_POD_TORCH"] = str(spec.procs_per_node)
    if job.storage.logs is not None:
        found["GPUCTL_POD_LOGS"] = f"{job.storage.logs}/{job.name}"
    if spec.array is not None:
        found["GPUCTL_POD_ARRAY"] = ",".join(map(str, spec.array.only)) or f"{spec.array.first}+"
    if spec.kind == "ray":
        found |= _ray(job)
    return found


def code_variables(job: Rendering) -> dict[str, str]:
    """How the in-pod program gets at the code."""
    code = job.code
    if code.git is not None:
        found = {"GPUCTL_POD_GIT": code.git.url, "GPUCTL_POD_REF": code.git.ref}
        return found | ({"GPUCTL_POD_COMMIT": code.commit} if code.commit is not None else {})
    if code.archive_digest is None:
        return {}
    if code.volume is not None:
        return {"GPUCTL_POD_CODE": code.archive_digest, "GPUCTL_POD_ARCHIVE": names.code_archive(code.archive_digest)}
    return {"GPUCTL_POD_CODE": code.archive_digest, "GPUCTL_POD_PARTS": str(len(code.parts))}


def for_unpacking(job: Rendering) -> Variables:
    """Every variable of the init container that unpacks or fetches the code."""
    found = [_value(name, value) for name, value in code_variables(job).items()]
    if job.code.git is not None:
        found += [_value(name, job.spec.env[name]) for name in FETCHING if name in job.spec.env]
        found += [_secret(name, job.secret or "") for name in git.CREDENTIALS if name in job.spec.secrets]
        if job.git_image != job.image:
            found.append(_value("GPUCTL_POD_SHARED", "1"))
    return found


def _limits(job: Rendering) -> dict[str, str]:
    spec = job.spec
    found: dict[str, str] = {}
    if spec.time_seconds is not None:
        found["GPUCTL_POD_LIMIT"] = str(spec.time_seconds)
        if (spec.retries and job.engine is Engine.JOBSET) or job.engine is Engine.RAYJOB:
            found["GPUCTL_POD_CUT_STATUS"] = str(CUT_STATUS)
    if spec.signal is not None:
        found["GPUCTL_POD_SIGNAL"] = spec.signal.name.upper().removeprefix("SIG")
        found["GPUCTL_POD_SIGNAL_BEFORE"] = str(spec.signal.before_seconds)
    return found


def _ray(job: Rendering) -> dict[str, str]:
    found = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        # A node that is told to end would wait for its work to move elsewhere; when ours is told, there is no elsewhere.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": str(job.spec.grace_seconds),
        "GPUCTL_COMMAND": shlex.join(command(job)),
    }
    if job.engine is not Engine.RAYJOB:
        head = f"{job.name}-head-0-0.{job.name}" if job.engine is Engine.JOBSET else master(job)
        found |= {
            "GPUCTL_POD_RAY_HEAD": head,
            "GPUCTL_POD_RAY_PORT": str(RAY_PORT),
            "GPUCTL_POD_RAY_GPUS": str(job.spec.gpus),
            **_ray_cpus(job),
            "GPUCTL_POD_WAIT": str(job.settings.gang_seconds),
            "RAY_AUTH_MODE": "token",
        }
    return found


def _ray_cpus(job: Rendering) -> dict[str, str]:
    """How many tasks Ray starts on a node: what the pod asks for, for Ray itself counts the machine's cores, which several pods share."""
    takes = footprint(job.spec, job.engine, job.settings)
    cpu, _ = share(job.spec, candidates(job.spec, job.facts, job.placement), takes)
    return {"GPUCTL_POD_RAY_CPUS": str(-(-cpu // 1000))} if cpu else {}


def command(job: Rendering) -> tuple[str, ...]:
    """The arguments of the in-pod program that say what to run: a mode and the job's own words."""
    spec = job.spec
    if spec.command:
        return ("command", *spec.command)
    script = f"{BASE}/files/script" if spec.stdin_script is not None else spec.script or ""
    if spec.kind == "pytorch":
        return ("torch", script, *spec.args)
    if spec.kind == "ray" and spec.stdin_script is not None:
        return ("python", script, *spec.args)
    return ("script", script, *spec.args)


def arguments(job: Rendering, verb: str, *rest: str) -> list[str]:
    """The whole command line of a container: exec form, the in-pod program, a verb, the job's words."""
    return ["/bin/sh", f"{BASE}/in/entry.sh", verb, *map(literal, rest)]


def ray_token(job: Rendering) -> dict[str, Any]:
    """The variable that holds the token which keeps others out of the job's Ray."""
    return _secret("RAY_AUTH_TOKEN", job.secret or "", key=RAY_TOKEN_KEY)


RAY_TOKEN_KEY = "gpuctl-ray-token"
SCRIPT_KEY = "gpuctl-script"
TASKS_KEY = "gpuctl-tasks"


def merged(found: Variables) -> Variables:
    """Each name once, with its last meaning, at the place where it came first."""
    last = {each["name"]: each for each in found}
    return list(last.values())


def task_lines(job: Rendering) -> str:
    """One line per task of an array with arguments of its own: words as a shell reads them, line breaks spelled ``$nl``."""
    array = job.spec.array
    if array is None or not array.args:
        return ""
    indices = array.indices
    return "".join(" ".join(map(_word, array.args[index - array.first])) + "\n" for index in indices)


def _word(text: str) -> str:
    return shlex.quote(text).replace("\n", "'\"$nl\"'")


def _value(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": literal(value)}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _secret(name: str, secret: str, *, key: str | None = None) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key or name}}}
