#!/bin/sh
# The program that runs in every container of a gpuctl job. POSIX sh, for images have nothing else in common.
#
#   entry.sh unpack                  verify the code and unpack it into the working directory, or fetch it from its repository
#   entry.sh gang                    wait until every peer has an address; fail as gang-incomplete
#   entry.sh run MODE WORDS...       setup, then the job's program, whose status is the container's
#   entry.sh program                 the program that GPUCTL_COMMAND holds; no setup (Ray's entrypoint)
#   entry.sh ray                     a node of a Ray without its operator; the entrypoint on the head
#   entry.sh ray-node                a node of KubeRay's: setup, then the command that KubeRay made
#   entry.sh ray-submit ENTRYPOINT   hand KubeRay's Ray its entrypoint, and write what it writes
#
# MODE: command (the words are it), script (what runs it is found out), python, torch (through torch's agent).
# What a GPUCTL_POD_ variable says is for this program alone; the job's program does not see them.
# Beside it, in the pods of jobs that need them: fetch.sh fetches a repository, ray.sh holds the last four verbs.

# shellcheck disable=SC1007,SC2034 # empty values on purpose; nl is for eval, other variables for the files beside this one
set -u
base=${GPUCTL_POD_BASE:-/gpuctl}
termination=${GPUCTL_POD_TERMINATION_LOG:-/dev/termination-log}
code=$base/work/code
nl='
'

say() { printf 'gpuctl: %s\n' "$*" >&2; }

fail() { # fail STATUS CODE SENTENCE: the sentence to the log, and with its code to the pod's status
  say "$3"
  { printf '%s: %s\n' "$2" "$3" >"$termination"; } 2>/dev/null
  exit "$1"
}

have() { command -v "$1" >/dev/null 2>&1; }

find_python() {
  [ -z "${GPUCTL_POD_PYTHON:-}" ] || { printf '%s' "$GPUCTL_POD_PYTHON"; return; }
  command -v python3 || command -v python || return 127
}

# --- code -----------------------------------------------------------------------------------------------------------------------------

digest_of_stdin() {
  if have sha256sum; then
    sha256sum | cut -d ' ' -f 1
  elif have shasum; then
    shasum -a 256 | cut -d ' ' -f 1
  elif have openssl; then
    openssl dgst -sha256 -r | cut -d ' ' -f 1
  elif python=$(find_python); then
    "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
  fi
}

parts() { # every part in its order, as one stream
  [ -z "${GPUCTL_POD_ARCHIVE:-}" ] || { cat "$base/code-volume/$GPUCTL_POD_ARCHIVE"; return; }
  number=0
  while [ "$number" -lt "$GPUCTL_POD_PARTS" ]; do
    cat "$base/in/part.$number" || return 1
    number=$((number + 1))
  done
}

unpack() {
  [ -n "${GPUCTL_POD_CODE:-}${GPUCTL_POD_GIT:-}" ] || return 0
  [ ! -e "$base/work/unpacked" ] || return 0
  if [ -n "${GPUCTL_POD_GIT:-}" ]; then
    . "$base/in/fetch.sh"
    fetch
    : >"$base/work/unpacked"
    return 0
  fi
  looks=0 # whoever clears the volume puts an archive aside for an instant
  until [ -z "${GPUCTL_POD_ARCHIVE:-}" ] || [ -r "$base/code-volume/$GPUCTL_POD_ARCHIVE" ]; do
    looks=$((looks + 1))
    [ "$looks" -lt 3 ] ||
      fail 74 code-missing "the code is not on its volume: there is no .gpuctl/code/$GPUCTL_POD_ARCHIVE that could be read"
    sleep "${GPUCTL_POD_POLL:-2}"
  done
  found=$(parts | digest_of_stdin)
  [ -n "$found" ] || fail 74 code-unverified "the image has neither sha256sum nor Python, so the code cannot be verified"
  [ "$found" = "$GPUCTL_POD_CODE" ] || fail 74 code-damaged "the code that arrived is not what was submitted: $found, not $GPUCTL_POD_CODE"
  mkdir -p "$code" || fail 74 code-unpacked "the directory $code cannot be made"
  if have tar && have gzip; then
    parts | gzip -dc | tar -xmof - -C "$code" || fail 74 code-unpacked "the code could not be unpacked into $code"
  elif python=$(find_python); then
    parts | "$python" -c 'import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode="r|gz").extractall(sys.argv[1])' "$code" ||
      fail 74 code-unpacked "the code could not be unpacked into $code"
  else
    fail 74 code-unpacked "the image has neither tar with gzip nor Python, so the code cannot be unpacked"
  fi
  : >"$base/work/unpacked"
}

# --- a gang starts together -----------------------------------------------------------------------------------------------------------

resolves() {
  if have getent; then
    getent ahosts "$1" >/dev/null 2>&1
  elif python=$(find_python); then
    "$python" -c 'import socket, sys; socket.getaddrinfo(sys.argv[1], None)' "$1" >/dev/null 2>&1
  else
    nslookup "$1" >/dev/null 2>&1
  fi
}

peer() { printf '%s%s%s' "${GPUCTL_POD_PEERS%%\{\}*}" "$1" "${GPUCTL_POD_PEERS#*\{\}}"; }

gang() {
  deadline=$(($(date +%s) + GPUCTL_POD_WAIT))
  index=0
  while [ "$index" -lt "$GPUCTL_POD_NODES" ]; do
    until resolves "$(peer "$index")"; do
      if [ "$(date +%s)" -ge "$deadline" ]; then
        missing=0 names=
        while [ "$index" -lt "$GPUCTL_POD_NODES" ]; do
          resolves "$(peer "$index")" || { missing=$((missing + 1)); [ "$missing" -gt 8 ] || names="$names $index"; }
          index=$((index + 1))
        done
        [ "$missing" -gt 0 ] || return 0
        fail 75 gang-incomplete "$missing of $GPUCTL_POD_NODES nodes did not start within $GPUCTL_POD_WAIT s (node$names)"
      fi
      sleep "${GPUCTL_POD_POLL:-2}"
    done
    index=$((index + 1))
  done
}

# --- time -----------------------------------------------------------------------------------------------------------------------------

pod_start() { # seconds since 1970; the kubelet made our input volume when the pod came to the node, which is where its limit counts from
  { [ -L "$base/in/..data" ] && stat -c %Y "$base/in/..data" 2>/dev/null; } || date +%s
}

at_limit() { # whether the pod's time is up, or so nearly that whoever ends us now does so for it
  [ -n "${GPUCTL_POD_LIMIT:-}" ] && [ "$(date +%s)" -ge $((started + GPUCTL_POD_LIMIT - 3)) ]
}

# --- signals --------------------------------------------------------------------------------------------------------------------------

is_shell() {
  { IFS= read -r comm <"/proc/$1/comm"; } 2>/dev/null || return 1 # it may be gone by now
  case $comm in sh | bash | dash | zsh | ksh | mksh | ash | busybox) return 0 ;; esac
  return 1
}

children() { # pids whose parent is $1
  for status in /proc/[0-9]*/status; do
    while read -r key value _; do
      [ "$key" = PPid: ] || continue
      [ "$value" != "$1" ] || { pid=${status#/proc/}; printf '%s\n' "${pid%/status}"; }
      break
    done 2>/dev/null <"$status"
  done 2>/dev/null
}

has_rank() { tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -q '^LOCAL_RANK='; }

stands_still() { # PID: whether it is stopped, or gone
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  case ${line##*) } in T* | t* | Z*) return 0 ;; esac
  return 1
}

end_tree() { # SIGNAL PID: to a program; to a shell and what it runs, for a shell tells its children nothing
  if ! is_shell "$2"; then
    kill -s "$1" "$2" 2>/dev/null
    return 0
  fi
  # Stopped meanwhile, so that it neither starts another child nor goes on to its next command when the present one dies.
  kill -s STOP "$2" 2>/dev/null
  looks=0 # it may be starting a child at this very moment
  until stands_still "$2" || [ "$looks" -ge 1000 ]; do looks=$((looks + 1)); done
  for below in $(children "$2"); do (end_tree "$1" "$below"); done
  kill -s "$1" "$2" 2>/dev/null
  kill -s CONT "$2" 2>/dev/null
}

ranks_below() { # PID: what a launcher has started, not what these have started
  for below in $(children "$1"); do
    if has_rank "$below"; then printf '%s\n' "$below"; else (ranks_below "$below"); fi
  done
}

warn_tree() { # SIGNAL PID: to the ranks below a launcher; where it has none, to the program
  ranks=$(ranks_below "$2")
  if [ -z "$ranks" ] || has_rank "$2"; then
    end_tree "$1" "$2"
  else
    for each in $ranks; do kill -s "$1" "$each" 2>/dev/null; done
  fi
}

hand_over() { # SIGNAL: to every program that we started; kept for the next one where there is none now
  caught=$1
  case " $pending " in *" $1 "*) ;; *) pending="$pending $1" ;; esac
  [ "$1" != TERM ] || told_to_end=1
  deliver
}

deliver() { # what is pending, one after the other: whoever comes meanwhile leaves it to the one at work
  until [ -n "$handing" ] || [ -z "$pending" ] || [ -z "$programs" ]; do
    handing=1 taken=$pending pending=
    for sent in $taken; do
      for program in $programs; do tell "$sent" "$program"; done
    done
    handing=
  done
}

tell() { # SIGNAL PID
  if [ -n "$relay" ]; then
    kill -s "$1" "$2" 2>/dev/null
  elif [ "$1" = USR1 ] || [ "$1" = USR2 ] || [ "$1" = "${GPUCTL_POD_SIGNAL:-}" ]; then # a launcher would die of it
    warn_tree "$1" "$2"
  else
    end_tree "$1" "$2"
  fi
}

started_as() { # PIDS: these are the programs now
  programs=$1
  deliver
}

watch_signals() {
  for each in TERM INT HUP QUIT USR1 USR2; do
    # shellcheck disable=SC2064
    trap "hand_over $each" "$each"
  done
}

plan_warning() { # send ourselves the signal that was asked for, so long before the limit
  timer=
  [ -n "${GPUCTL_POD_SIGNAL:-}" ] && [ -n "${GPUCTL_POD_LIMIT:-}" ] || return 0
  delay=$((started + GPUCTL_POD_LIMIT - GPUCTL_POD_SIGNAL_BEFORE - $(date +%s)))
  [ "$delay" -gt 0 ] || delay=0
  (
    trap 'kill "$nap" 2>/dev/null; exit 0' TERM
    sleep "$delay" &
    nap=$!
    wait "$nap" && kill -s "$GPUCTL_POD_SIGNAL" $$
  ) >/dev/null 2>&1 &
  timer=$!
}

# A shell's background processes ignore SIGINT and SIGQUIT, and so would everything they run.
default_signals() {
  if env --default-signal=INT,QUIT true 2>/dev/null; then
    exec env --default-signal=INT,QUIT -- "$@"
  elif python=$(find_python); then
    exec "$python" -c 'import os, signal, sys
for each in (signal.SIGINT, signal.SIGQUIT): signal.signal(each, signal.SIG_DFL)
try: os.execvp(sys.argv[1], sys.argv[1:])
except FileNotFoundError as error: sys.exit(print(f"gpuctl: {sys.argv[1]}: {error.strerror}", file=sys.stderr) or 127)
except OSError as error: sys.exit(print(f"gpuctl: {sys.argv[1]}: {error.strerror}", file=sys.stderr) or 126)' "$@"
  fi
  exec "$@"
}

await() { # PID: its status, whatever signals come meanwhile
  status=
  while :; do
    caught=
    wait "$1" 2>/dev/null
    now=$?
    # A signal that came just after the end was known makes us ask a second time, and some shells have forgotten by then.
    [ "$now" -ne 127 ] || [ -z "$status" ] || return "$status"
    last=$status status=$now
    [ -z "$caught" ] || continue
    # Bash's wait may answer with a signal that came, and was handled, before it was asked: believed when it says so twice of who is gone.
    [ "$now" -gt 128 ] || return "$now"
    kill -s 0 "$1" 2>/dev/null || [ "$now" != "$last" ] || return "$now"
  done
}

# --- the program ----------------------------------------------------------------------------------------------------------------------

enter() { # the working directory
  if [ -z "${GPUCTL_POD_CODE:-}" ]; then mkdir -p "$code"; fi
  cd "$code/${GPUCTL_POD_CWD:-}" || fail 74 workdir-missing "there is no directory ${GPUCTL_POD_CWD:-} in the code"
}

setup() { # once per container, before anything of the job's runs
  [ -n "${GPUCTL_POD_SETUP:-}" ] || return 0
  (enter && hide && default_signals /bin/sh -c "$setup_text") &
  started_as $!
  await "$programs"
  result=$?
  programs=
  if [ "$result" -ne 0 ] && [ "$verb" = ray-node ] && [ -z "$told_to_end" ]; then
    broken=$result
    say "setup ended with $result"
    return 0
  fi
  [ "$result" -eq 0 ] || fail "$result" setup-failed "setup ended with $result"
}

contract() { # the variables that a program may rely on, whatever made the pod
  index=${JOB_COMPLETION_INDEX:-${PET_NODE_RANK:-${NODE_RANK:-${RANK:-0}}}}
  export GPUCTL_NODE_RANK="$index"
  case ${GPUCTL_POD_ARRAY:-} in
    '') ;;
    *+) export GPUCTL_NODE_RANK=0 GPUCTL_ARRAY_INDEX=$((${GPUCTL_POD_ARRAY%+} + index)) ;;
    *)
      GPUCTL_ARRAY_INDEX=$(printf '%s' "$GPUCTL_POD_ARRAY" | cut -d , -f $((index + 1)))
      export GPUCTL_NODE_RANK=0 GPUCTL_ARRAY_INDEX
      ;;
  esac
  # The training operator knows ranks only by node, and calls a node's number RANK.
  [ "${GPUCTL_POD_ENGINE:-}" != pytorchjob ] || unset RANK WORLD_SIZE
  if [ -n "${MASTER_ADDR:-}" ] && [ -z "${PET_MASTER_ADDR:-}" ]; then export PET_MASTER_ADDR="$MASTER_ADDR"; fi
  if [ -n "${MASTER_PORT:-}" ] && [ -z "${PET_MASTER_PORT:-}" ]; then export PET_MASTER_PORT="$MASTER_PORT"; fi
  if [ -n "${PET_MASTER_ADDR:-}" ]; then
    export MASTER_ADDR="$PET_MASTER_ADDR" MASTER_PORT="${PET_MASTER_PORT:-29500}" NODE_RANK="${NODE_RANK:-$index}"
  fi
  if [ -n "${GPUCTL_POD_TORCH:-}" ]; then
    # Older training operators tell torch's agent nothing.
    export PET_TEE=3 PET_NPROC_PER_NODE="$GPUCTL_POD_TORCH" PET_NNODES="${PET_NNODES:-$GPUCTL_POD_NODES}" PET_NODE_RANK="$GPUCTL_NODE_RANK"
    # What torch's agent would choose anyway, without its lines of warning in every log.
    [ "$GPUCTL_POD_TORCH" -le 1 ] || export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
  fi
  # Of a JobSet; of a task of an array, with those that count and those that do not. Empty where the cluster does not say.
  before=$((${GPUCTL_POD_RESTARTS:-0} + ${GPUCTL_POD_FAILURES:-0} + ${GPUCTL_POD_IGNORED:-0}))
  if [ "$before" -gt 0 ]; then
    GPUCTL_ATTEMPT=$((${GPUCTL_ATTEMPT:-1} + before))
    export GPUCTL_ATTEMPT
    [ -z "${GPUCTL_CHECKPOINT_DIR:-}" ] || export GPUCTL_RESUME_FROM="$GPUCTL_CHECKPOINT_DIR"
  fi
  [ -z "${GPUCTL_CHECKPOINT_DIR:-}" ] || mkdir -p "$GPUCTL_CHECKPOINT_DIR" ||
    fail 73 checkpoint-unwritable "the directory $GPUCTL_CHECKPOINT_DIR cannot be made"
}

again() { # whether this pod's share was started before: a queue that preempts, and a Job that tries an index again, count no attempt
  [ -n "${GPUCTL_CHECKPOINT_DIR:-}" ] || return 0
  mark=$GPUCTL_CHECKPOINT_DIR/.gpuctl-${GPUCTL_JOB_ID:-job}-${GPUCTL_POD_ROLE:-node}-${JOB_COMPLETION_INDEX:-$GPUCTL_NODE_RANK}
  if [ -e "$mark" ]; then
    export GPUCTL_RESUME_FROM="$GPUCTL_CHECKPOINT_DIR"
  else
    (: >"$mark") 2>/dev/null || :
  fi
}

finished() { # STATUS: forget that it was started, unless it may be started again; who ends well when told to may be
  [ "$1" -ne 0 ] || [ -n "$told_to_end" ] || [ -z "$mark" ] || rm -f "$mark"
  return "$1"
}

hide() { # what is ours alone; only ever in the process that becomes the job's program
  setup_text=${GPUCTL_POD_SETUP:-}
  for each in $(env | sed -n 's/^\(GPUCTL_POD_[A-Z_]*\)=.*/\1/p') GPUCTL_COMMAND; do unset "$each"; done
}

start_program() { # MODE WORDS...: become the job's program
  mode=$1
  shift
  python=$(find_python) || python=
  hide
  case $mode in
    torch)
      [ -n "$python" ] || missing_python
      default_signals "$python" -m torch.distributed.run "$@"
      ;;
    python)
      [ -n "$python" ] || missing_python
      default_signals "$python" "$@"
      ;;
    script) start_script "$@" ;;
    *) default_signals "$@" ;;
  esac
}

missing_python() {
  say "the image has no Python"
  exit 127
}

start_script() {
  case $1 in
    *.py | *.pyc | *.pyz)
      [ -n "$python" ] || missing_python
      default_signals "$python" "$@"
      ;;
  esac
  [ -e "$1" ] || { say "$1: no such file in $PWD"; exit 127; }
  script=$1
  shift
  case $script in */*) ;; *) script=./$script ;; esac
  first=
  IFS= read -r first 2>/dev/null <"$script" || :
  case $first in
    '#!'*)
      runner=${first#'#!'}
      # Words of a #! line: the interpreter, and the rest as one.
      runner=${runner#"${runner%%[! ]*}"}
      option=${runner#"${runner%% *}"}
      option=${option#"${option%%[! ]*}"}
      runner=${runner%% *}
      if [ -n "$option" ]; then default_signals "$runner" "$option" "$script" "$@"; fi
      default_signals "$runner" "$script" "$@"
      ;;
  esac
  if [ -x "$script" ]; then default_signals "$script" "$@"; fi
  default_signals /bin/sh "$script" "$@"
}

task_words() { # the arguments of this task of an array, as a shell reads them
  [ -n "${GPUCTL_POD_ARRAY:-}" ] && [ -e "$base/files/tasks" ] || return 0
  sed -n "$((${JOB_COMPLETION_INDEX:-0} + 1))p" "$base/files/tasks"
}

kept() { # where the log of this container, or of one of its ranks, is kept
  [ -n "${GPUCTL_POD_LOGS:-}" ] || return 0
  mkdir -p "$GPUCTL_POD_LOGS" || return 0
  printf '%s/%s.log' "$GPUCTL_POD_LOGS" "${GPUCTL_POD_ROLE:-node}-${GPUCTL_ARRAY_INDEX:-$GPUCTL_NODE_RANK}"
}

prefixed() { # RANK: lines with their rank before them, each whole
  if printf '' | sed -u p >/dev/null 2>&1; then
    exec sed -u "s/^/[$1] /"
  fi
  while IFS= read -r line || [ -n "$line" ]; do printf '[%s] %s\n' "$1" "$line"; done
}

supervise() { # MODE WORDS...: run the program, hand signals over, end as it ends
  started=$(pod_start)
  programs= timer=
  watch_signals
  plan_warning
  file=$(kept)
  if [ "${GPUCTL_POD_COPIES:-1}" -gt 1 ] || { [ -n "${GPUCTL_POD_COPIES:-}" ] && [ "${GPUCTL_POD_NODES:-1}" -gt 1 ]; }; then
    copies "$@"
  else
    [ -z "${GPUCTL_POD_COPIES:-}" ] || [ "${GPUCTL_POD_COPIES:-}" -gt 1 ] || unset GPUCTL_POD_COPIES
    single "$@"
  fi
  result=$?
  [ -z "$timer" ] || kill "$timer" 2>/dev/null
  if [ -n "${GPUCTL_POD_CUT_STATUS:-}" ] && [ "$result" -ne 0 ] && at_limit; then result=$GPUCTL_POD_CUT_STATUS; fi
  return "$result"
}

room() { # a directory for our pipes
  dir=${TMPDIR:-/tmp}/gpuctl-$$
  mkdir -p "$dir" && printf '%s' "$dir"
}

single() {
  if [ -n "$file" ] && pipes=$(room) && mkfifo "$pipes/log"; then
    tee -a "$file" <"$pipes/log" &
    writer=$!
    (start_program "$@") >"$pipes/log" 2>&1 &
  else
    writer=
    (start_program "$@") &
  fi
  started_as $!
  await "$programs"
  result=$?
  programs=
  [ -z "$writer" ] || { drain "$writer"; rm -rf "$pipes"; }
  return "$result"
}

drain() { # PIDS: let the writers of the log finish, though not for a process that was left behind with the pipe in its hands
  (
    trap 'kill "$nap" 2>/dev/null; exit 0' TERM
    sleep 5 &
    nap=$!
    wait "$nap" && kill "$@"
  ) >/dev/null 2>&1 &
  patience=$!
  for each in "$@"; do wait "$each" 2>/dev/null; done
  kill "$patience" 2>/dev/null
}

copies() { # one copy per GPU; the first that fails ends the others, and its status is the container's
  count=$GPUCTL_POD_COPIES local_rank=0 ready=0 ended=0 result=0 told=
  pipes=$(room) && mkfifo "$pipes/ends" || fail 73 no-room "pipes cannot be made in ${TMPDIR:-/tmp}"
  exec 3<>"$pipes/ends"
  relay=1 writers= started_all=
  while [ "$local_rank" -lt "$count" ]; do
    rank=$((GPUCTL_NODE_RANK * count + local_rank))
    mkfifo "$pipes/$local_rank"
    if [ -n "$file" ]; then
      (prefixed "$rank" | tee -a "$file") <"$pipes/$local_rank" &
    else
      prefixed "$rank" <"$pipes/$local_rank" &
    fi
    writers="$writers $!"
    (one_copy "$@") >"$pipes/$local_rank" 2>&1 &
    started_all="$started_all $!"
    local_rank=$((local_rank + 1))
  done
  while [ "$ended" -lt "$count" ]; do
    read -r which status <&3 || continue
    if [ "$status" = ready ]; then
      # Before it is ready, a signal would end a copy's supervisor without a word.
      ready=$((ready + 1))
      [ "$ready" -lt "$count" ] || started_as "$started_all"
    else
      ended=$((ended + 1))
      if [ "$status" -ne 0 ] && [ "$result" -eq 0 ]; then result=$status first=$which; fi
    fi
    if [ "$result" -ne 0 ] && [ "$ready" -eq "$count" ] && [ "$ended" -lt "$count" ] && [ -z "$told" ]; then
      told=1
      say "copy $first ended with $result, so the others are ended"
      for other in $programs; do kill -s TERM "$other" 2>/dev/null; done
    fi
  done
  programs= relay=
  # shellcheck disable=SC2086
  drain $writers
  exec 3>&-
  rm -rf "$pipes"
  return "$result"
}

one_copy() { # a copy with its ranks, and a supervisor of its own that tells how it ended
  relay=
  export RANK="$rank" LOCAL_RANK="$local_rank" LOCAL_WORLD_SIZE="$count" WORLD_SIZE=$((GPUCTL_POD_NODES * count))
  programs= pending= # what came before comes again, from the process that started us
  watch_signals
  printf '%s ready\n' "$rank" >&3
  (exec 3>&-; start_program "$@") &
  started_as $!
  await "$programs"
  status=$?
  programs=
  printf '%s %s\n' "$rank" "$status" >&3
}

# --------------------------------------------------------------------------------------------------------------------------------------

setup_text=${GPUCTL_POD_SETUP:-}
broken= programs= pending= handing= caught= relay= mark= told_to_end= verb=${1:-}
case ${1:-} in
  unpack | gang) trap 'exit 143' TERM ;; # the first process of a container has no default action
  *) watch_signals ;;
esac

case ${1:-} in
  unpack) unpack ;;
  gang) gang ;;
  run)
    shift
    unpack
    contract
    again
    setup
    enter
    words=$(task_words)
    if [ -n "$words" ]; then eval "set -- \"\$@\" $words"; fi
    supervise "$@"
    finished $?
    exit $?
    ;;
  program | ray | ray-node | ray-submit)
    . "$base/in/ray.sh"
    ray_verb "$@"
    ;;
  *)
    say "no such verb: ${1:-}"
    exit 64
    ;;
esac
