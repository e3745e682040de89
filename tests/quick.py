"""What keeps the runs of tests short, for those that are not about it."""

from __future__ import annotations

QUIET = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")
# Without pictures, and in single precision: processors without bfloat16 take thrice as long for it.
QUICK = (*QUIET, "--trainer.precision=32", "--outputs.pictures=false")
