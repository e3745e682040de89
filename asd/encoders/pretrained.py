"""Weights as people have them: wrapped in other files, under prefixes, beside other things."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asd.encoders.weights_file import check_sizes, read
from asd.errors import Notice, UserError

# What wrappers put in the midst of a name; no network has parts that are called so.
_WRAPPED = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_AVERAGED = re.compile(r"(?:^|[._])(ema|averaged|swa|teacher|target)(?=[._])", re.IGNORECASE)
_USUAL = {"model", "state_dict", "module", "net", "network", "encoder", "backbone", "weights", "params", "student"}
_DEEPEST = 6

# A key that tells a network, with the last dimension of its tensor where another network has the key, too.
_LAYOUTS: tuple[tuple[str, str, int | None], ...] = (
    ("BEATs", "patch_embedding.weight", 16),
    ("Dasheng", "time_pos_embed", 252),
    ("CED", "time_pos_embed", 63),
    ("a MobileNet, such as those of EfficientAT", "features.0.0.weight", None),
    ("AST", "embeddings.patch_embeddings.projection.weight", None),
    ("AST as its authors publish it", "v.patch_embed.proj.weight", None),
    ("PaSST", "freq_new_pos_embed", None),
    ("ATST-Frame", "patch_embed.patch_embed.weight", None),
    ("EAT, SSLAM or FISHER", "local_encoder.proj.weight", None),
    ("one of PANNs", "logmel_extractor.melW", None),
    ("one of PANNs", "fc_audioset.weight", None),
    ("aiSFX", "embedding_net.conv_block1.conv1.weight", None),
    ("aiSFX or one of PANNs", "conv_block1.conv1.weight", None),
    ("OpenL3", "audio_embedding_layer.weight", None),
    ("YAMNet", "layer1.fused.conv.weight", None),
    ("CLAP", "audio_encoder.patch_embed.proj.weight", None),
    ("wav2vec 2.0, HuBERT or WavLM", "feature_extractor.conv_layers.0.conv.weight", None),
    ("wav2vec 2.0, HuBERT or WavLM of fairseq", "feature_extractor.conv_layers.0.0.weight", None),
    ("Whisper", "encoder.conv1.weight", None),
    ("a vision transformer", "patch_embed.proj.weight", None),
)


@dataclass(frozen=True)
class Weights:
    """The weights of one network in a file.

    Attributes:
        path: The file.
        state: Tensors by the network's own names.
        content: All that the file holds.
    """

    path: Path
    state: dict[str, Tensor]
    content: Mapping[str, Any]

    def settings(self, *names: str) -> dict[str, Any]:
        """What the file says of the network under a name, such as ``cfg``, and names within; empty where nothing."""
        said: Any = self.content
        for name in names:
            said = said.get(name)
            said = vars(said) if isinstance(said, argparse.Namespace) else said
            said = said if isinstance(said, Mapping) else {}
        return dict(said)

    def dims(self, key: str, count: int | None = None) -> tuple[int, ...]:
        """The shape of a tensor, perhaps of so many dimensions.

        Args:
            key: Its name.
            count: How many dimensions it must have; ``None``: any number.

        Raises:
            UserError: There is none of that name, or it has another number of dimensions.
        """
        if key not in self.state:
            raise UserError(f"{self.path}: no key {key}; the file is of another model or size")
        shape = tuple(self.state[key].shape)
        if count not in (None, len(shape)):
            raise UserError(
                f"{self.path}: {key} is of shape {shape}, not of {count} dimensions; the file is of another model"
            )
        return shape

    def depth(self, blocks: str) -> int:
        """How many different parts are called `blocks`, a dot and a number."""
        return len({key.split(".")[1] for key in self.state if key.startswith(f"{blocks}.")})

    def check_holds(self, numbers: int) -> None:
        """Refuse a file whose names promise a network of more numbers than are in it, before one is built.

        Raises:
            UserError: It does.
        """
        held = sum(value.numel() for value in self.state.values())
        if numbers > held:
            raise UserError(f"{self.path} promises a network of {numbers:,} numbers, but holds {held:,}")


def weights_of(path: Path, network: str, *anchors: str) -> Weights:
    """The weights of a network, out of whatever mappings and prefixes a file has them in.

    Averaged weights (EMA) are taken where there are no others.

    Args:
        path: A safetensors file or one of `torch.save`, whatever its suffix.
        network: What the network is called in messages.
        anchors: Keys of which it has at least one, as its authors call it; what stands before the first that is there
            is the prefix.

    Raises:
        UserError: The file cannot be used, or is of another network; says of which.
    """
    content = read(path)
    state = dict(_tensors(content))
    check_sizes(state, path)
    for anchor in anchors:
        if prefixes := [key.removesuffix(anchor) for key in state if f".{key}".endswith(f".{anchor}")]:
            break
    else:
        raise UserError(f"{path} is no file of {network}: it holds {_told(state)}")
    prefix = _chosen(prefixes, path)
    # Another network may lie within the one that is chosen, such as its average.
    others = tuple(one for one in prefixes if one != prefix and one.startswith(prefix))
    own = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix) and not (others and key.startswith(others))
    }
    return Weights(path, own, content)


def _tensors(content: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested mappings, by its whole name with a dot between the levels."""
    if isinstance(content, Tensor):
        if content.layout == torch.strided and not content.is_quantized and not content.is_meta:
            yield _WRAPPED.sub("", name), content
    elif isinstance(content, Mapping) and depth < _DEEPEST:
        for key, value in content.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key), depth + 1)


def _chosen(prefixes: list[str], path: Path) -> str:
    plain = [one for one in prefixes if not _AVERAGED.search(one)]
    candidates = plain or prefixes
    usual = [one for one in candidates if set(one.split(".")[:-1]) <= _USUAL]
    candidates = usual or candidates
    if len(candidates) > 1:
        raise UserError(
            f"{path} holds {len(candidates)} networks ({', '.join(one or 'no prefix' for one in candidates[:4])}); "
            "keep one of them in a file"
        )
    if plain and len(plain) < len(prefixes):
        warnings.warn(
            f"{path} holds averaged weights as well; those of {candidates[0].rstrip('.') or 'no prefix'} are taken",
            Notice,
            stacklevel=2,
        )
    return candidates[0]


def _told(state: Mapping[str, Tensor]) -> str:
    """What a file seems to be."""
    if not state:
        return "no tensors by name"
    size = f"{sum(value.numel() for value in state.values()) / 1e6:.3g} M numbers"
    for name, key, last in _LAYOUTS:
        found = [value for one, value in state.items() if f".{one}".endswith(f".{key}")]
        if found and (last is None or found[0].shape[-1:] == (last,)):
            return f"{name} ({size})"
    return f"{size} under the keys {_few(list(state))}"


def load_strict(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load `state`, which must have the keys and shapes of `module`, no more and no fewer, in any precision.

    Raises:
        UserError: Keys are missing or left over, a shape is another, or a value is not finite; the first are named.
    """
    own = module.state_dict()
    both = [(key, state[key].shape, value.shape) for key, value in own.items() if key in state]
    check_keys(path, own.keys() - state.keys(), state.keys() - own.keys(), [one for one in both if one[1] != one[2]])
    if complexes := sorted(key for key in own if state[key].is_complex()):
        raise UserError(f"{path}: {_few(complexes)} of complex numbers; the file is of another model")
    if integers := sorted(key for key in own if own[key].is_floating_point() and not state[key].is_floating_point()):
        raise UserError(f"{path}: {_few(integers)} of whole numbers; the file is quantised, give the original weights")
    check_finite(path, state)
    module.load_state_dict(dict(state))


def check_keys(
    path: Path | str,
    missing: Iterable[str],
    spare: Iterable[str],
    shapes: Iterable[tuple[str, Sequence[int], Sequence[int]]],
) -> None:
    """Refuse weights that are not those of a network, no more and no fewer.

    Args:
        path: Where they are, for messages.
        missing: Keys that the network has and they have not.
        spare: Keys that they have and the network has not.
        shapes: Keys that both have, with their shapes there and in the network, which are not the same.

    Raises:
        UserError: There is one; the first are named.
    """
    for told, keys in (("no key", sorted(missing)), ("unexpected key", sorted(spare))):
        if keys:
            raise UserError(f"{path}: {told} {_few(keys)}; the file is of another model or size")
    for key, there, own in sorted(shapes):
        raise UserError(
            f"{path}: {key} is of shape {tuple(there)}, expected {tuple(own)}; the file is of another size of the model"
        )


def check_finite(path: Path | str, state: Mapping[str, Tensor]) -> None:
    """Raise `UserError` for weights with values that are not finite."""
    if broken := sorted(key for key, value in state.items() if not value.isfinite().all()):
        raise UserError(f"{path}: {_few(broken)} is not finite; its training broke down, or the file is damaged")


def settled(config: dict[str, Any] | None, encoder: nn.Module) -> dict[str, Any] | None:
    """A run's configuration with what its encoders took from their files of weights, to be built without the files."""
    if config is None:
        return None
    return {**config, "model": {**config["model"], "encoder": rebuilt(config["model"]["encoder"], encoder, _settled)}}


def _settled(said: dict[str, Any], module: Any) -> dict[str, Any]:
    return {**said, "init_args": {**said["init_args"], **getattr(module, "settled", {})}}


def rebuilt(said: Any, module: Any, change: Callable[[dict[str, Any], Any], Any]) -> Any:
    """A part of a configuration with a change of every module in it, those within others first.

    Args:
        said: The part.
        module: What was built from it.
        change: Is given what is said of a module, and the module; returns what is said of it from then on.
    """
    if isinstance(said, list) and isinstance(module, nn.ModuleList):
        return [rebuilt(one, part, change) for one, part in zip(said, module, strict=True)]
    if not isinstance(said, dict) or "class_path" not in said:
        return said
    arguments = said.get("init_args") or {}
    arguments = {key: rebuilt(value, getattr(module, key, None), change) for key, value in arguments.items()}
    return change({**said, "init_args": arguments}, module)


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
