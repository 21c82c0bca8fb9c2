"""Teach a small network two interleaved spirals, with as many processes as it is given.

    gpuctl run -j 1x2 docs/examples/train.py

Data-parallel training with DistributedDataParallel: NCCL where every process has a GPU of its own, gloo on CPUs. It needs nothing but
PyTorch, makes its data itself and ends after some seconds. With --checkpoint it leaves its state every few epochs and, started again by
gpuctl, goes on where it was.
"""

import argparse
import math
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    options = arguments()
    rank, local_rank, world = (
        int(os.environ.get(name, fallback)) for name, fallback in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))
    )
    on_gpu = torch.cuda.is_available() and torch.cuda.device_count() > local_rank
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    print(f"rank {rank} of {world} on {device}", flush=True)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    first = resume(model, optimizer, device)
    network = DistributedDataParallel(model, device_ids=[local_rank] if on_gpu else None) if world > 1 else model

    points, labels = (part.to(device) for part in spirals(4096))
    mine = slice(rank, None, world)  # each rank has its share of the points
    loss_of = nn.BCEWithLogitsLoss()
    for epoch in range(first, options.epochs):
        for batch, wanted in zip(points[mine].split(64), labels[mine].split(64), strict=True):
            optimizer.zero_grad()
            loss_of(network(batch).squeeze(1), wanted).backward()
            optimizer.step()
        if rank == 0 and (epoch + 1) % 5 == 0:
            with torch.no_grad():
                right = ((model(points).squeeze(1) > 0) == (labels > 0.5)).float().mean().item()
            print(f"epoch {epoch + 1:3d}  accuracy {right:.3f}", flush=True)
            save(epoch + 1, model, optimizer)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()
    print(f"rank {rank} done", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=5e-3)
    return parser.parse_args()


def spirals(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``count`` points in the plane, (count, 2), and which of the two spirals each belongs to, (count,)."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 2
    turn = torch.rand(count, generator=generator).sqrt() * 2 * math.pi
    angle = turn + labels * math.pi
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / (2 * math.pi)
    return points + 0.02 * torch.randn(count, 2, generator=generator), labels.float()


def save(epoch: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Leave the state where gpuctl says, whole or not at all: a job may be ended between any two writes."""
    directory = os.environ.get("GPUCTL_CHECKPOINT_DIR")
    if directory:
        target = Path(directory) / "latest.pt"
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


def resume(model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> int:
    """The epoch to begin with: 0, or what an earlier attempt has left."""
    directory = os.environ.get("GPUCTL_RESUME_FROM")
    if not directory or not (Path(directory) / "latest.pt").exists():
        return 0
    state = torch.load(Path(directory) / "latest.pt", map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"resumed at epoch {state['epoch']}", flush=True)
    return int(state["epoch"])


if __name__ == "__main__":
    main()
