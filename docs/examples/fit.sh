#!/bin/sh
#GPUCTL -j 1x2 --name spirals
#GPUCTL --time 10m
# A job script: the lines above are read by `gpuctl submit docs/examples/fit.sh`, as Slurm reads #SBATCH lines.
exec torchrun --standalone --nproc-per-node 2 docs/examples/train.py --epochs 10
