"""The shell programs that copying runs in a pod. Each gets a root (``""``: the whole file system), a path, and further words."""

NO_TAR, MISSING, OUTSIDE, NO_FIND = 91, 92, 93, 94
"""Exit statuses: the image has no tar; there is no such path; it leads out of the root; the image has no find and stat."""
_FIRST = r"""
root=$1 p=$2; shift 2
case $p in /*) [ -z "$root" ] || p=$root/$p ;; *) p=${root:-.}/$p ;; esac
command -v tar >/dev/null 2>&1 || exit 91
within() {
  [ -n "$root" ] || return 0
  r=$(cd -P "$root" && pwd -P) && w=$(cd -P "$1" 2>/dev/null && pwd -P) || return 0
  case ${w%/}/ in "${r%/}"/*) ;; *) exit 93 ;; esac
}
"""
OUT = (
    _FIRST
    + r"""
if [ -d "$p" ]; then
  within "$p"; printf 'd\n'; cd -P "$p" || exit 92
  if [ "$1" = some ]; then sed -n '/^\/$/q;p' | tr '\012' '\000' | xargs -0 tar -cf - ; else exec tar -cf - . ; fi
elif [ -e "$p" ]; then
  d=$(dirname "$p") b=$(basename "$p"); within "$d"; cd "$d" || exit 92
  if [ -n "$root" ] && [ -L "$b" ]; then exit 93; fi
  printf 'f\n'; exec tar -chf - "./$b"
else exit 92; fi
"""
)
"""``d`` or ``f`` on the first line, then a tar stream: of all, or (``some``) of the names that come on stdin."""
LIST = (
    _FIRST
    + r"""
command -v find >/dev/null 2>&1 && command -v stat >/dev/null 2>&1 || exit 94
if [ -d "$p" ]; then within "$p"; cd -P "$p" && printf 'd\n' && exec find . -exec stat -c '%f %s %Y %n' {} +
elif [ -e "$p" ] || [ -L "$p" ]; then
  d=$(dirname "$p") b=$(basename "$p"); within "$d"
  printf 'f\n'; cd "$d" && exec stat -c '%f %s %Y %n' "./$b"
else exit 92; fi
"""
)
"""``d`` or ``f``, then mode, size, time and name of everything, one a line."""
IN = (
    _FIRST
    + r"""
made=$p; while [ ! -d "$made" ]; do made=$(dirname "$made"); done; within "$made"
mkdir -p "$p" && within "$p" && cd -P "$p" || exit 1
[ -z "$1" ] || printf '%s\n' "$1" >.gpuctl-part
tar -xf - && if [ -n "$1" ]; then rm -f .gpuctl-part; fi
"""
)
"""Unpacks a tar stream from stdin below the path; the second word marks it as unfinished until then."""
SUM = (
    _FIRST.replace("exit 91", ":")
    + r"""
[ -f "$p" ] && [ ! -L "$p" ] || exit 92
for tool in sha256sum "shasum -a 256" "openssl dgst -sha256 -r"; do
  command -v "${tool%% *}" >/dev/null 2>&1 || continue
  $tool <"$p" | cut -d ' ' -f 1; exit
done
for python in python3 python; do
  command -v $python >/dev/null 2>&1 || continue
  exec $python -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())' <"$p"
done
echo 'no sha256sum and no Python' >&2; exit 1
"""
)
"""The SHA-256 of a regular file, hexadecimal."""
RENAME = _FIRST.replace("exit 91", ":") + 'within "$(dirname "$p")"; exec mv -f "$p" "$root/$1"'
REMOVE = _FIRST.replace("exit 91", ":") + 'within "$(dirname "$p")"; exec rm -f "$p"'
TOUCH = _FIRST.replace("exit 91", ":") + 'within "$(dirname "$p")"; [ -f "$p" ] && [ ! -L "$p" ] || exit 92; exec touch -c "$p"'
PRUNE = (
    _FIRST.replace("exit 91", ":")
    + r"""
days=$1; shift
command -v find >/dev/null 2>&1 || exit 94
[ -d "$p" ] || exit 0
within "$p"; cd -P "$p" || exit 92
old() { [ -n "$(find "./$1" -type f -mtime "+$days" 2>/dev/null)" ]; }
find . -type f -name '.part-*' -mtime +1 -exec rm -f {} + 2>/dev/null
for each in .old-*; do
  [ -f "$each" ] && [ ! -e "${each#.old-}" ] && mv "$each" "${each#.old-}"
done 2>/dev/null
for each in *.tar.gz; do
  for used in "$@"; do [ "$used" != "$each" ] || continue 2; done
  old "$each" && mv -f "$each" ".old-$each" 2>/dev/null || continue
  if old ".old-$each"; then rm -f ".old-$each" && printf '%s\n' "$each"; else mv -f ".old-$each" "$each" 2>/dev/null; fi
done
:
"""
)
"""Removes archives that nobody has touched for so many days, but those named; prints their names.

Each is put aside first and looked at again: somebody may have touched it, to use it, in between, and then it comes back. What an earlier
run put aside and left comes back, too. Uploads that broke off go after a day.
"""
