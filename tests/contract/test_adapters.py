"""Every adapter around every transformer: its own parameters train, and nothing else of the encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from asd_plugins.bitfit import BitFit
from asd_plugins.bottleneck import Bottleneck
from asd_plugins.lora import LoRA
from torch import Tensor

from asd import plugins
from asd.encoders import AdaptedEncoder, Encoder
from asd.testing.contract import reparsed
from asd.testing.encoder import waveforms
from asd.training.warmup import WarmUp

plugins.load_all()
CLASSES = {
    name: cls for name, cls in plugins.known(Encoder).items()
    if cls.__module__.startswith("asd_plugins") and not issubclass(cls, AdaptedEncoder)
}  # fmt: skip
TRANSFORMERS = [name for name, cls in CLASSES.items() if cls.tiny().projections is not None]
KINDS: dict[str, Callable[[Encoder], AdaptedEncoder]] = {
    "LoRA": lambda encoder: LoRA(encoder, rank=2, targets="attention"),
    "DoRA": lambda encoder: LoRA(encoder, rank=2, targets="attention", dora=True),
    "BitFit": BitFit,
    "Bottleneck": lambda encoder: Bottleneck(encoder, width=4),
}
EVERY = pytest.mark.parametrize("kind", KINDS)
EACH = pytest.mark.parametrize("name", TRANSFORMERS)


def made(kind: str, name: str) -> AdaptedEncoder:
    torch.manual_seed(0)
    return KINDS[kind](CLASSES[name].tiny())


def moved(encoder: AdaptedEncoder) -> AdaptedEncoder:
    """With parameters of the adapter as if they had been trained."""
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if encoder.trains(name):
                parameter.add_(0.05 * torch.randn_like(parameter))
    return encoder


def own(encoder: AdaptedEncoder) -> set[str]:
    return {name for name, _ in encoder.named_parameters() if encoder.trains(name)}


def trained(encoder: Encoder) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


@pytest.fixture
def attends(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    calls: list[bool] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def counted(*args: Tensor, **kwargs: Tensor) -> Tensor:
        calls.append(True)
        return attention(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    return calls


@pytest.mark.parametrize("name", CLASSES)
def test_every_encoder_with_attention_says_which_layers_are_its(name: str, attends: list[bool]) -> None:
    encoder = CLASSES[name].tiny().eval()
    with torch.no_grad():
        encoder(waveforms(encoder, 1))
    assert bool(attends) == (name in TRANSFORMERS)


@EVERY
@EACH
def test_before_training_it_is_the_encoder(kind: str, name: str) -> None:
    torch.manual_seed(0)
    plain = CLASSES[name].tiny().eval()
    waveform = waveforms(plain, 2)
    with torch.no_grad():
        torch.testing.assert_close(made(kind, name).eval()(waveform), plain(waveform))


@EVERY
@EACH
def test_what_is_its_own_alone_trains_and_gradients_reach_all_of_it(kind: str, name: str) -> None:
    encoder = moved(made(kind, name)).train()
    assert trained(encoder) == own(encoder) != set()
    features = encoder(waveforms(encoder, 2))
    (features * torch.randn(features.shape)).sum().backward()
    got = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert got == own(encoder)
    # The bias of keys moves all logits of a query alike, which changes no attention.
    still = {name for name, parameter in encoder.named_parameters() if name in got and not parameter.grad.any()}
    assert kind == "BitFit" or not still
    assert not {name for name in still if not name.endswith(("k_proj.bias", "key.bias", "linear_k.bias"))}


@EVERY
@EACH
def test_a_warm_up_freezes_and_thaws_it_alone_stage_by_stage(kind: str, name: str) -> None:
    encoder = made(kind, name)
    warmup = WarmUp(epochs=1, stage_epochs=1)
    warmup.apply(encoder, 0)
    assert not trained(encoder)
    warmup.apply(encoder, 1)
    deepest = {id(parameter) for parameter in encoder.stages()[-1].parameters()}
    assert trained(encoder) == {n for n, p in encoder.named_parameters() if id(p) in deepest and encoder.trains(n)}
    assert trained(encoder)
    warmup.apply(encoder, 1 + len(encoder.stages()))
    assert trained(encoder) == own(encoder)


@EVERY
@EACH
def test_what_a_checkpoint_keeps_makes_it_again(kind: str, name: str, tmp_path: Path) -> None:
    encoder = moved(made(kind, name)).eval()
    torch.save(encoder.state_dict(), tmp_path / "weights")
    again = (reparsed(encoder, Encoder) if name == "BEATs" else made(kind, name)).eval()
    again.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    waveform = waveforms(encoder, 2)
    with torch.no_grad():
        assert torch.equal(again(waveform), encoder(waveform))


@EVERY
@EACH
def test_merged_it_is_a_plain_encoder_of_the_same_features(kind: str, name: str) -> None:
    encoder = moved(made(kind, name)).eval()
    merged = encoder.merged().eval()
    if kind == "Bottleneck":
        assert merged is encoder, "it has nothing to merge"
        return
    assert merged.state_dict().keys() == CLASSES[name].tiny().state_dict().keys()
    waveform = waveforms(encoder, 2)
    with torch.no_grad():
        torch.testing.assert_close(merged(waveform), encoder(waveform), rtol=1e-3, atol=1e-4)


def test_dora_is_the_same_in_onnxruntime(tmp_path: Path) -> None:
    import onnxruntime

    encoder = moved(made("DoRA", "CED")).eval()
    waveform = waveforms(encoder, 2)
    with torch.no_grad():
        torch.onnx.export(encoder, (waveform,), tmp_path / "encoder.onnx", dynamo=True, verbose=False)
        expected = encoder(waveform)
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: waveform.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-4)
