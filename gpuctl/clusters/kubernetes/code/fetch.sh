# The part of the in-pod program that fetches code from a git repository. Read by entry.sh, whose words it uses, in the pods of jobs with --git.
# The same as gpuctl.base.git does, in the shell's words.

# shellcheck disable=SC2154 # base, code, termination and verb are entry.sh's
set -u

limited() { # SECONDS COMMAND...: its status, and $late set when it was ended because it took longer
  ends=$(($(date +%s) + $1)) late=
  shift
  rm -f "$base/work/late"
  "$@" </dev/null &
  working=$!
  # It ends by itself when there is nothing left to watch: a shell that has just been forked may lose a signal that would end it.
  (
    while kill -0 "$working"; do
      [ "$(date +%s)" -lt "$ends" ] || {
        : >"$base/work/late"
        kill "$working"
        break
      }
      sleep 1
    done
  ) >/dev/null 2>&1 &
  trap 'kill "$working" 2>/dev/null; exit 143' TERM
  wait "$working"
  ended=$?
  [ ! -e "$base/work/late" ] || late=1
  return "$ended"
}

git_here() { # WORDS...: git in the directory of the code, which asks nobody for a password, within what is left of the time
  left=$((deadline - $(date +%s)))
  [ "$left" -gt 0 ] || left=1
  limited "$left" env LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_HTTP_LOW_SPEED_LIMIT=1000 GIT_HTTP_LOW_SPEED_TIME=60 GIT_SSH_COMMAND="$ssh" \
    git -C "$code" ${host:+-c "credential.$host.helper="} \
    ${host:+-c "credential.$host.helper=$git_helper"} "$@" >>"$base/work/fetch.log" 2>&1
}

said() { sed -n 's/^fatal: //p; s/^error: //p' "$base/work/fetch.log" | head -n 1; }

fetch_ref() { # WHAT: once more when the network failed, as it may while a pod's is being made
  try=1
  until git_here fetch --quiet "$@"; do
    [ "$try" -lt 3 ] && [ -z "$late" ] &&
      grep -Eiq 'could not resolve|connection|timed out|unreachable|unable to access|early EOF' "$base/work/fetch.log" || return 1
    try=$((try + 1))
    sleep "${GPUCTL_POD_POLL:-2}"
    : >"$base/work/fetch.log"
  done
}

not_fetched() { # SENTENCE: the end, with what git said
  words=$(said)
  [ -z "$late" ] || words="it took longer than ${GPUCTL_POD_FETCH:-600} s"
  case $words in
    *'could not read'* | *'Authentication failed'* | *'Permission denied'* | *'terminal prompts disabled'*)
      words="$words; give --secret GIT_TOKEN (https) or --secret GIT_SSH_KEY=@FILE (ssh)"
      ;;
  esac
  fail 74 code-unfetched "$1${words:+: $words}"
}

fetch() { # the commit that was submitted (else what its branch or tag is now) into the directory of the code
  url=$GPUCTL_POD_GIT ref=$GPUCTL_POD_REF commit=${GPUCTL_POD_COMMIT:-} host=
  have git || fail 74 code-unfetched "the image has no git to fetch $url with: use an image with git, git-image=IMAGE in the profile, or --code-volume"
  deadline=$(($(date +%s) + ${GPUCTL_POD_FETCH:-600}))
  git_helper='!f() { echo "username=${GIT_USERNAME:-x-access-token}"; echo "password=$GIT_TOKEN"; }; f'
  case $url in
    https://*) [ -z "${GIT_TOKEN:-}" ] || { host=${url#https://} host=https://${host%%/*}; } ;;
  esac
  ssh="ssh -o BatchMode=yes -o ConnectTimeout=20 -o StrictHostKeyChecking=accept-new"
  if [ -n "${GIT_SSH_KEY:-}" ]; then
    (umask 077 && printf '%s\n' "$GIT_SSH_KEY" >"$base/work/ssh-key")
    ssh="$ssh -o IdentitiesOnly=yes -i $base/work/ssh-key"
  fi
  rm -rf "$code"
  mkdir -p "$code" || fail 74 code-unpacked "the directory $code cannot be made"
  : >"$base/work/fetch.log"
  git_here init --quiet && git_here remote add origin "$url" || not_fetched "git cannot be used in $code"
  if ! fetch_ref --depth=1 origin "${commit:-$ref}"; then
    [ -n "$commit" ] && [ "$commit" != "$ref" ] && [ -z "$late" ] || not_fetched "$url at $ref cannot be fetched"
    : >"$base/work/fetch.log"
    fetch_ref --tags origin "$ref" || not_fetched "$url at $ref cannot be fetched" # a host that hands out names only
  fi
  git_here checkout --quiet --detach "${commit:-FETCH_HEAD}" || not_fetched "$ref of $url holds no commit ${commit:-FETCH_HEAD} any more"
  if [ -e "$code/.gitmodules" ]; then
    git_here submodule update --quiet --init --recursive --depth=1 || not_fetched "the submodules of $url at $ref cannot be fetched"
  fi
  rm -f "$base/work/ssh-key"
  # Another image fetches than the one that runs it, maybe as another user.
  [ -z "${GPUCTL_POD_SHARED:-}" ] || chmod -R a+rwX "$code" || fail 74 code-unpacked "the code in $code cannot be opened to the job"
  commit=$(git -C "$code" rev-parse HEAD)
  case $verb in unpack) trap 'exit 143' TERM ;; *) watch_signals ;; esac
  say "code: $url at $ref is commit $commit"
  # For whoever asks the cluster later; of a container that goes on to run the job, these words are the job's.
  [ "$verb" != unpack ] || { printf 'code-commit: %s\n' "$commit" >"$termination"; } 2>/dev/null
}
