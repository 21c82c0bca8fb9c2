"""What runs in a container on our behalf: POSIX sh, for images have nothing else in common.

A program started by exec gets the container's environment as it was declared. What the in-pod program added to it (a rank's variables, the
setup's PATH) and where it went is read from the job's own processes in ``/proc``; a container without them leaves what was declared.
"""

from collections.abc import Sequence

from gpuctl.clusters.kubernetes.streams.target import PodTarget

TOKEN = "GPUCTL_EXEC"
"""Variable that marks the processes of one exec."""

_ENTER = r"""
rank=$1 local=$2 token=$3 term=$4; shift 4
nl='
' soh=$(printf '\001') pid= near= all= env=
for d in /proc/[0-9]*; do
  e=$nl$(tr '\000\012' '\012\001' 2>/dev/null <"$d/environ")$nl || continue
  case $e in *"${nl}GPUCTL_EXEC="*|*"${nl}GPUCTL_POD_ROLE="*) continue ;; *"${nl}GPUCTL_JOB="*) ;; *) continue ;; esac
  case $e in
    *"${nl}RANK=$rank$nl"*) pid=${d#/proc/} env=$e; break ;;
    *"${nl}RANK="*) [ -n "$near" ] || near=${d#/proc/} all=$e ;;
    *) near=${d#/proc/} all=$e; [ -n "$rank" ] || break ;;
  esac
done 2>/dev/null
if [ -z "$pid" ] && [ -n "$rank" ]; then all="$all${nl}RANK=$rank${nl}LOCAL_RANK=$local$nl"; fi
: "${pid:=$near}"
[ -n "$env" ] || env=$all
while IFS= read -r v; do
  k=${v%%=*}
  case $k in
    ''|*[!A-Za-z0-9_]*|[0-9]*|"$v"|_|IFS|PWD|OLDPWD|SHLVL|UID|EUID|PPID|BASHOPTS|SHELLOPTS|BASH_*) continue ;;
  esac
  case $v in *"$soh"*) v=$(printf '%sx' "$v" | tr '\001' '\012'); v=${v%x} ;; esac
  export "$v"
done <<GPUCTL_END
$env
GPUCTL_END
for k in $(env | sed -n 's/^\(GPUCTL_POD_[A-Z_]*\)=.*/\1/p' 2>/dev/null); do unset "$k"; done
cd -P "/proc/${pid:-1}/cwd" 2>/dev/null || :
[ -z "$term" ] || export TERM="$term"
export GPUCTL_EXEC="$token"
exec "$@"
"""

_INTERRUPT = r"""
for d in /proc/[0-9]*; do
  e=$(tr '\000' '\012' 2>/dev/null <"$d/environ") || continue
  case "
$e
" in *"
GPUCTL_EXEC=$1
"*) [ "${d#/proc/}" = $$ ] || kill -INT "${d#/proc/}" 2>/dev/null ;; esac
done 2>/dev/null
:
"""


def entering(target: PodTarget, argv: Sequence[str], *, rank: int | None = None, token: str = "", term: str = "") -> list[str]:
    """The command line that runs ``argv`` in the job's environment and directory.

    Args:
        target: the pod.
        argv: what to run.
        rank: with the variables of this rank; else those of the node.
        token: marks its processes, for :func:`interrupting`.
        term: the terminal's kind, when there is one.
    """
    local = str(target.ranks.index(rank)) if rank in target.ranks else "0"
    return ["/bin/sh", "-c", _ENTER, "gpuctl-exec", "" if rank is None else str(rank), local, token, term, *argv]


def interrupting(token: str) -> list[str]:
    """The command line that sends SIGINT to everything that was started with ``token``."""
    return ["/bin/sh", "-c", _INTERRUPT, "gpuctl-exec", token]
