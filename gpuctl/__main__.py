"""``python -m gpuctl``: the same program as the ``gpuctl`` script."""

from gpuctl.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
