"""Kind ``command``: any program, one copy a node, or one per GPU with the variables of a distributed run."""

from gpuctl.clusters.local.kinds.program import entrypoint
from gpuctl.clusters.local.kinds.step import Start, Step, TaskContext, free_ports

LOOPBACK = "127.0.0.1"


def steps(context: TaskContext) -> tuple[Step, ...]:
    """One foreground step with every copy; ``1x1`` is just the program, with nothing added."""
    spec = context.spec
    argv = entrypoint(context)
    copies = spec.procs_per_node if spec.per == "gpu" or spec.nproc_per_node is not None else 1
    single = spec.nodes == 1 and copies == 1
    port = None if single and spec.gpus <= 1 else free_ports(1)[0]
    starts = []
    for node in range(spec.nodes):
        for local in range(copies):
            rank = node * copies + local
            env = context.node_env(node)
            if port is not None:
                env.update(rendezvous(context, node=node, port=port))
            if not single and (spec.per == "gpu" or copies > 1):
                env.update(RANK=str(rank), LOCAL_RANK=str(local), WORLD_SIZE=str(spec.nodes * copies), LOCAL_WORLD_SIZE=str(copies))
            label = "the program" if single else f"copy {rank}"
            starts.append(Start(argv=argv, env=env, cwd=context.plan.workdir, node=node, rank=rank, label=label))
    return (Step(name="run", starts=tuple(starts)),)


def rendezvous(context: TaskContext, *, node: int, port: int) -> dict[str, str]:
    """What ``torchrun`` and programs of its kind read to find each other; WORLD_SIZE is not among it, as it is a lie without RANK."""
    spec = context.spec
    return {
        "PET_NNODES": str(spec.nodes),
        "PET_NPROC_PER_NODE": str(spec.nproc_per_node or max(1, spec.gpus)),
        "PET_NODE_RANK": str(node),
        "PET_MASTER_ADDR": LOOPBACK,
        "PET_MASTER_PORT": str(port),
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        "NODE_RANK": str(node),
    }
