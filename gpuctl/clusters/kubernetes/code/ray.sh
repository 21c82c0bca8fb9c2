# The part of the in-pod program that is about Ray. Read by entry.sh, whose words it uses, in the pods of jobs of kind ray.
#
#   ray_verb VERB WORDS...   what entry.sh does for its verbs program, ray, ray-node and ray-submit; it does not return
#
# Of entry.sh's variables it reads base, told_to_end, and broken: with what status the setup of a node of KubeRay's failed.

# shellcheck disable=SC2154 # base, broken and told_to_end are entry.sh's
# shellcheck disable=SC2034 # started is for entry.sh's at_limit
set -u

ray_verb() {
  case $1 in
    program)
      printf '%s' $$ >"$base/work/program"
      contract
      enter
      whole_ray
      eval "set -- $GPUCTL_COMMAND"
      supervise "$@"
      result=$?
      # Ray hears only of this status, and a program that ended well because it was told to was cut all the same.
      if [ -n "$told_to_end" ] && at_limit; then result=${GPUCTL_POD_CUT_STATUS:-$result}; fi
      exit "$result"
      ;;
    ray)
      unpack
      ray
      finished $?
      exit $?
      ;;
    ray-node)
      unpack
      contract
      setup
      enter
      ray_node
      exit $?
      ;;
    ray-submit)
      python=$(find_python) || missing_python
      exec "$python" -c "$ray_submit" "$2" "${GPUCTL_POD_WAIT:-60}"
      ;;
  esac
}

# --- Ray without its operator ---------------------------------------------------------------------------------------------------------

ray() {
  contract
  again
  setup
  enter
  python=$(find_python) || missing_python
  role=$GPUCTL_POD_ROLE
  if [ "$role" = any ]; then
    if [ "$GPUCTL_NODE_RANK" -eq 0 ]; then role=both; else role=worker; fi
  fi
  address=$GPUCTL_POD_RAY_HEAD:$GPUCTL_POD_RAY_PORT
  case $role in
    worker) ray_worker ;;
    head) ray_head 0 $((GPUCTL_POD_NODES + 1)) ;;
    both) ray_head "$GPUCTL_POD_RAY_GPUS" "$GPUCTL_POD_NODES" ;;
  esac
}

ray_head() { # GPUS NODES: Ray's head here, then the entrypoint once so many nodes are alive
  set -- "$@" --head --port="$port" --dashboard-host=0.0.0.0
  [ "$role" = both ] || set -- "$@" --num-cpus=0
  [ "$role" != both ] || [ -z "${GPUCTL_POD_RAY_CPUS:-}" ] || set -- "$@" --num-cpus="$GPUCTL_POD_RAY_CPUS"
  wanted=$2
  ray_start "$@"
  head=$!
  watching "$ray_alive" "127.0.0.1:$port" "$wanted" "$GPUCTL_POD_WAIT" >>"$base/work/ray.log" 2>&1 || {
    result=$?
    kill "$head" 2>/dev/null
    [ "$result" -le 128 ] || return "$result"
    tail -n 40 "$base/work/ray.log" >&2
    fail 75 gang-incomplete "Ray did not come up on $wanted nodes within $GPUCTL_POD_WAIT s"
  }
  export RAY_ADDRESS=auto
  eval "set -- $GPUCTL_COMMAND"
  supervise "$@"
  result=$?
  kill "$head" 2>/dev/null
  wait "$head" 2>/dev/null
  return "$result"
}

ray_start() { # GPUS NODES ARGUMENTS...: a node of Ray in the background; what it says about itself is no part of the job's log
  gpus=$1
  shift 2
  (
    hide
    default_signals "$python" -m ray.scripts.scripts start --block --num-gpus="$gpus" --disable-usage-stats --log-color=false "$@"
  ) >"$base/work/ray.log" 2>&1 &
}

watching() { # PROGRAM WORDS...: Python that waits for something; a signal ends it at once, where a shell would let it finish first
  "$python" -c "$@" &
  started_as $!
  await "$programs"
  result=$?
  programs=
  return "$result"
}

ray_worker() { # a node that ends with its head, and then ends well: whether the job did is the head's to say
  # Its head has to be a node already: Ray itself waits some seconds for that and then ends.
  watching "$ray_reachable" "$GPUCTL_POD_RAY_HEAD" "$port" "$GPUCTL_POD_WAIT" &&
    watching "$ray_alive" "$address" 1 "$GPUCTL_POD_WAIT" >>"$base/work/ray.log" 2>&1 || {
    result=$?
    [ "$result" -le 128 ] || return "$result"
    fail 75 gang-incomplete "the head of Ray at $address did not come up within $GPUCTL_POD_WAIT s"
  }
  ray_start "$GPUCTL_POD_RAY_GPUS" 1 --address="$address" ${GPUCTL_POD_RAY_CPUS:+--num-cpus="$GPUCTL_POD_RAY_CPUS"}
  started_as $!
  await "$programs"
  result=$?
  if "$python" -c "$ray_reachable" "$GPUCTL_POD_RAY_HEAD" "$port" 3; then
    tail -n 40 "$base/work/ray.log" >&2
    return "$result"
  fi
  return 0
}

# --- Ray with its operator ------------------------------------------------------------------------------------------------------------

# KubeRay replaces a node that ends, again and again. So one whose setup failed becomes a node all the same, and has it known: the entrypoint
# fails for all of them.
ray_node() { # KubeRay's own command; what Ray says about itself is no part of the job's log
  started=$(pod_start)
  start=$KUBERAY_GEN_RAY_START_CMD
  case $start in 'ray start'*) start="exec $start" ;; esac # a shell in between would keep signals from it
  [ -z "$broken" ] || start="$start --resources='{\"gpuctl-setup-ended-$broken\": 1}'"
  [ "$GPUCTL_POD_ROLE" != head ] || trap 'end_program; hand_over TERM' TERM
  (
    [ "$GPUCTL_POD_ROLE" = head ] || hide # the head's Ray starts the entrypoint, which is this program again
    # shellcheck disable=SC3045 # where there is no such limit, there is none to raise
    ulimit -n 65536 2>/dev/null
    default_signals /bin/sh -c "$start"
  ) >"$base/work/ray.log" 2>&1 &
  started_as $!
  await "$programs"
  result=$?
  [ "$result" -eq 0 ] || [ -n "$told_to_end" ] || tail -n 40 "$base/work/ray.log" >&2
  return "$result"
}

whole_ray() { # fail where the setup of a node did
  [ -n "${GPUCTL_POD_SETUP:-}" ] || return 0
  python=$(find_python) || missing_python
  broken=$("$python" -c "$ray_broken") || broken=
  [ -z "$broken" ] || fail "${broken%% *}" setup-failed "setup ended with ${broken%% *} on ${broken#* }"
}

ray_broken='
import os, sys
from ray._raylet import GcsClient
for node in GcsClient(address=os.environ["RAY_ADDRESS"]).get_all_node_info(timeout=30).values():
    for name in node.resources_total:
        if name.startswith("gpuctl-setup-ended-"):
            sys.exit(print(name.rpartition("-")[2], node.node_name or node.node_manager_address))
'

end_program() { # Ray would end its entrypoint without a word, so that is told first; what became of it at its limit, only Ray can tell then
  pid=$(cat "$base/work/program" 2>/dev/null) || return 0
  kill -s TERM "$pid" 2>/dev/null || return 0
  while kill -s 0 "$pid" 2>/dev/null; do sleep 0.2; done
  if at_limit; then sleep 10; fi
}

ray_submit='
import asyncio, logging, os, signal, sys, threading, time
from ray.job_submission import JobSubmissionClient

logging.disable(logging.INFO)
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
address, job, patience = os.environ["RAY_DASHBOARD_ADDRESS"], os.environ["RAY_JOB_SUBMISSION_ID"], float(sys.argv[2])
address = address if "://" in address else f"http://{address}"
written = 0
own = False

def asked(question):
    end = time.monotonic() + patience
    while True:
        try:
            return question()
        except Exception as error:
            if time.monotonic() > end:
                sys.exit(f"gpuctl: Ray at {address} does not answer: {error}")
            time.sleep(1)

def handed_over():
    if all(each.submission_id != job for each in client.list_jobs()):
        client.submit_job(entrypoint=sys.argv[1], submission_id=job)

def write(text):
    # What Ray says about the entrypoint comes before the first line of its own.
    global own
    for line in text.splitlines(True):
        if not own and ("Runtime env is setting up" in line or line.startswith("Running entrypoint for job ")):
            continue
        own = True
        sys.stdout.write(line)
    sys.stdout.flush()

async def follow():
    global written
    seen = 0
    async for text in client.tail_job_logs(job):
        fresh = text[max(0, written - seen):]
        seen += len(text)
        written = max(written, seen)
        write(fresh)

client = asked(lambda: JobSubmissionClient(address))
asked(handed_over)
whole = threading.Event()

def read():
    while True:
        try:
            asyncio.run(follow())
            whole.set()
        except Exception:
            pass  # cut off; what was written is not written again
        time.sleep(1)

threading.Thread(target=read, daemon=True).start()
while not asked(lambda: client.get_job_status(job)).is_terminal():
    time.sleep(1)
whole.wait(10)
sys.stdout.flush()
os._exit(0)
'

port=${GPUCTL_POD_RAY_PORT:-6379}
ray_reachable='
import socket, sys, time
host, port, end = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
while True:
    try:
        socket.create_connection((host, port), 3).close()
        sys.exit(0)
    except OSError:
        if time.monotonic() > end:
            sys.exit(1)
        time.sleep(0.5)
'
ray_alive='
import sys, time
address, wanted, end = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
from ray._raylet import GcsClient
last = "nothing answered"
while time.monotonic() < end:
    try:
        alive = sum(1 for node in GcsClient(address=address).get_all_node_info(timeout=5).values() if node.state == 0)
        if alive >= wanted:
            sys.exit(0)
        last = f"{alive} of {wanted} nodes alive"
    except Exception as error:
        last = error
    time.sleep(0.5)
sys.exit(f"gpuctl: Ray: {last}")
'
