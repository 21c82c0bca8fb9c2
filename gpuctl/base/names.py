"""Names of jobs and the like: DNS labels, a random tail, and references as people type them.

A name has to work as a Kubernetes object name and label value everywhere, so the strictest rule is used on every cluster: RFC 1123
label, 40 characters for the part a person chooses (Indexed Jobs, JobSets and services add their own tails below the limit of 63).
"""

import hashlib
import re
import secrets

LONGEST_BASE = 40
TAIL_ALPHABET = "bcdfghjkmnpqrstvwxz2456789"
TAIL_LENGTH = 4
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
ALLOWED = f"lower-case letters, digits and '-', beginning and ending with a letter or digit, at most {LONGEST_BASE} characters"


def problem(name: str) -> str | None:
    """Why ``name`` cannot be the name of a job or volume, or None when it can."""
    if not name:
        return "is empty"
    if len(name) > LONGEST_BASE:
        return f"is {len(name)} characters long, {LONGEST_BASE} is the most"
    if not _LABEL.match(name):
        return "has characters that a name cannot hold"
    return None


def suggestion(text: str) -> str:
    """The nearest valid name: ``My Run/3`` is ``my-run-3``. ``job`` when nothing of the text can be used."""
    lowered = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:LONGEST_BASE].strip("-")
    return lowered or "job"


def tail() -> str:
    """A random tail of four characters without vowels or look-alikes (``k3f9``)."""
    return "".join(secrets.choice(TAIL_ALPHABET) for _ in range(TAIL_LENGTH))


def tail_of(seed: str) -> str:
    """The tail that always belongs to ``seed``: the same request id names the same object on every machine."""
    digest = hashlib.sha256(seed.encode()).digest()
    return "".join(TAIL_ALPHABET[byte % len(TAIL_ALPHABET)] for byte in digest[:TAIL_LENGTH])


def is_request_id(text: str) -> bool:
    """Whether ``text`` may be a request id: 1 to 128 printable ASCII characters without spaces."""
    return bool(re.match(r"[!-~]{1,128}\Z", text))
