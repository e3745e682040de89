"""Build a detector, and the data it was trained on, again from what its checkpoint says, without a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonargparse

from asd import checkpoint as kept
from asd import plugins
from asd.data.datamodule import ClipDataModule
from asd.detector import AnomalyDetector
from asd.errors import UserError


def restore(path: Path | str) -> tuple[AnomalyDetector, dict[str, Any]]:
    """The detector of a checkpoint of `asd fit`, in evaluation mode on the CPU, and its configuration.

    Raises:
        UserError: The file is no such checkpoint, keeps no configuration, or needs a plug-in that is not there.
    """
    content = kept.load(path)
    config = kept.read_description(content, path)["config"]
    if config is None:
        raise UserError(f"{path} keeps no configuration: it was not written by `asd fit`; build the detector in Python")
    config = kept.without_weights_files(config)
    failed = plugins.load_all()
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AnomalyDetector, "model")
    try:
        model = parser.instantiate_classes(parser.parse_object({"model": config["model"]}))["model"]
    except (jsonargparse.ArgumentError, ImportError) as error:
        broken = "".join(f" Failed to load: {name}: {one}." for name, one in failed.items())
        raise UserError(
            f"{path} cannot be built again: {' '.join(str(error).split())[:400]}.{broken} Is its plug-in installed?"
        ) from error
    detector: AnomalyDetector = model
    detector.config = config
    detector.on_load_checkpoint(content)
    try:
        detector.load_state_dict(content["state_dict"])
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path}: its weights do not fit its configuration ({reason}); give one of `asd fit`"
        ) from error
    return detector.eval(), config


def data_of(config: dict[str, Any], sample_rate: int, root: Path | str | None = None) -> ClipDataModule:
    """The data module of a configuration, set up for testing.

    Args:
        config: As `restore` returns it.
        sample_rate: Hz of the encoder.
        root: Where the data lies now; ``None``: where it lay.

    Raises:
        UserError: The data cannot be listed, or its class is not known.
    """
    given = config["data"]
    arguments = {**given.get("init_args", {}), "disk_cache": None}
    if root is not None:
        arguments["root"] = str(root)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ClipDataModule, "data")
    try:
        made = parser.parse_object({"data": {"class_path": given["class_path"], "init_args": arguments}})
        data: ClipDataModule = parser.instantiate_classes(made)["data"]
    except (jsonargparse.ArgumentError, ImportError) as error:
        raise UserError(f"the data cannot be built again: {' '.join(str(error).split())[:400]}") from error
    data.sample_rate = sample_rate
    data.setup("test")
    return data
