"""``gpuctl help formats``."""

_TEXT = """\
Output formats (-o, --output), the same on every command that lists or shows

  table             the default: aligned columns; cut to the terminal's width only
                    on a terminal, never when piped
  wide              more columns
  json, yaml        the objects themselves, with apiVersion and kind; lists are
                    {"kind": "JobList", "items": [...]}. Keys are only ever added.
                    Times are RFC 3339 in UTC, durations and sizes numbers in
                    seconds and bytes unless the name says otherwise (a job's
                    spec is as in its job file: time: 10m), absent values are
                    left out
  name              one reference a line (job/train-k3f9), accepted back everywhere
  csv               every column, comma-separated, with a header line
  jsonpath=EXPR     values out of the JSON, one a line
  columns=a,b       only these columns of the table

  --no-headers      leaves out the header line of tables and csv

What could not be read is never shown as zero: tables say ?, JSON leaves the
value out and names the clusters under "incomplete". A job of mine on a cluster
that does not answer is a row all the same; its "unknown" names the fields that
are left out ("state").

Examples
  gpuctl jobs -o name | xargs gpuctl cancel
  gpuctl jobs -o jsonpath='.items[*].name'
  gpuctl job -o jsonpath=.exit.code
  gpuctl nodes -o columns=name,gpus,free
  gpuctl submit train.py && gpuctl logs -f

Errors go to stderr as error[code]: sentence; with GPUCTL_ERRORS=json as one line
of JSON.
"""


def text() -> str:
    """The page on output formats."""
    return _TEXT
