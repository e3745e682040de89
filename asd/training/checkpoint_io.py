"""How the trainer writes and reads checkpoints: whole or not at all, and as data."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from asd.training import checkpoints


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then renames it, and reads none that holds anything but data."""

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint at `path`, on the CPU; see `checkpoints.load`."""
        return checkpoints.load(path)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`; see `checkpoints.save`."""
        checkpoints.save(checkpoint, path)
