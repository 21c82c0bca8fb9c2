"""``gpuctl help slurm``."""

_ROWS = (
    ("sbatch job.sh", "gpuctl submit job.sh"),
    ("#SBATCH --nodes=2 --gpus-per-node=8", "#GPUCTL -j 2x8"),
    ("sbatch --wrap 'cmd'", "gpuctl submit -- sh -c 'cmd'"),
    ("srun -N2 --gpus-per-node=8 cmd", "gpuctl run -j 2x8 -- cmd"),
    ("salloc, srun --pty bash", "gpuctl shell"),
    ("squeue --me", "gpuctl jobs"),
    ("squeue (all users)", "gpuctl jobs -u all"),
    ("squeue --start, REASON column", "gpuctl why JOB"),
    ("sbatch --test-only", "gpuctl submit --plan ..."),
    ("scontrol show job ID", "gpuctl job JOB"),
    ("scontrol update / hold / release", "gpuctl update JOB --time/--hold/--release"),
    ("scancel ID", "gpuctl cancel JOB"),
    ("scancel --name=x --state=PENDING", "gpuctl cancel --name x --state queued"),
    ("sinfo -N", "gpuctl nodes"),
    ("sacct", "gpuctl history"),
    ("sreport, sacct -X -o gpu-hours", "gpuctl usage"),
    ("sstat", "gpuctl top"),
    ("tail -f slurm-ID.out", "gpuctl logs -f JOB"),
    ("sattach, srun --overlap", "gpuctl exec JOB -- cmd"),
)

_FLAGS = (
    ("--array=0-99%8", "--array 0-99%8"),
    ("--dependency=afterok:ID", "--after ok:JOB (also any:, fail:)"),
    ("--time=1-12:00:00", "--time 1-12:00:00 or 1d12h (never a bare number)"),
    ("--signal=B:USR1@600", "--signal USR1@10m"),
    ("--requeue", "--requeue; --retries N retries failures too"),
    ("--job-name, --hold, --exclude", "--name, --hold, --exclude"),
    ("--nice, --qos", "--priority"),
    ("--chdir", "--workdir"),
    ("--export=ALL,K=V", "the environment is taken along; --env K=V adds"),
    ("--gres=gpu:h100:8, --constraint", "-j Nx8 --gpu-type H100"),
    ("--mem, --cpus-per-task", "--memory, --cpus (both per node)"),
    ("--parsable", "not needed: stdout is exactly job/NAME"),
)

_VARIABLES = (
    ("SLURM_JOB_ID, SLURM_JOB_NAME", "GPUCTL_JOB_ID, GPUCTL_JOB"),
    ("SLURM_ARRAY_TASK_ID", "GPUCTL_ARRAY_INDEX"),
    ("SLURM_RESTART_COUNT", "GPUCTL_ATTEMPT (begins at 1)"),
    ("SLURM_NODEID", "GPUCTL_NODE_RANK"),
    ("SLURM_PROCID, SLURM_NTASKS", "RANK, WORLD_SIZE (pytorch and --per gpu)"),
)


def text() -> str:
    """The translation tables."""
    parts = ["Slurm, translated\n"]
    for title, rows in (("Commands", _ROWS), ("Flags of submit", _FLAGS), ("Variables in a job", _VARIABLES)):
        parts.append(f"\n{title}\n" + "".join(f"  {old:<37} {new}\n" for old, new in rows))
    return "".join(parts)
