"""Whether a job is one that a query means, for jobs that no cluster has filtered."""

import fnmatch

from gpuctl.model.ask import JobQuery
from gpuctl.model.job import Job


def matches(job: Job, query: JobQuery) -> bool:
    """By everything in the query but ``recent_seconds`` and ``limit``."""
    return (
        query.user in (None, "all", job.user)
        and query.team in (None, job.team)
        and (query.states is None or job.state in query.states)
        and (query.name is None or fnmatch.fnmatchcase(job.name, query.name) or fnmatch.fnmatchcase(job.base_name, query.name))
        and (query.since is None or job.submitted_at >= query.since)
        and query.labels.items() <= job.labels.items()
    )
