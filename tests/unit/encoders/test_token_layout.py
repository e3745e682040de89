"""How tokens lie in time and frequency, told apart by what each of them holds."""

from __future__ import annotations

import pytest
import torch
from asd_plugins.ast import AST
from asd_plugins.beats import BEATs
from asd_plugins.dasheng import CED, Dasheng
from asd_plugins.lora import LoRA
from asd_plugins.mobilenet import MobileNet

from asd.encoders import Encoder, TokenLayout

FRAMES, ROWS = 7, 3
# What a token of each frame and row holds.
GRID = torch.stack(torch.meshgrid(torch.arange(FRAMES), torch.arange(ROWS), indexing="ij"), dim=-1)[None, None].float()


def test_frame_after_frame() -> None:
    tokens = torch.cat([torch.full((1, 1, 1, 2), -1.0), GRID.flatten(2, 3)], dim=2)
    layout = TokenLayout(ROWS, special_tokens=1)
    assert torch.equal(layout.grid(tokens), GRID)
    assert torch.equal(layout.frames(tokens), GRID.mean(3))


@pytest.mark.parametrize("chunk", [None, 2, 3, 7, 9])
def test_row_after_row_and_chunk_after_chunk(chunk: int | None) -> None:
    parts = GRID.split(chunk or FRAMES, dim=2)
    tokens = torch.cat([torch.full((1, 1, 2, 2), -1.0), *(part.transpose(2, 3).flatten(2, 3) for part in parts)], dim=2)
    layout = TokenLayout(ROWS, "frequency", special_tokens=2, chunk_frames=chunk)
    assert torch.equal(layout.grid(tokens), GRID)
    assert torch.equal(layout.frames(tokens), GRID.mean(3))


def test_rows_within_the_width_stay_there() -> None:
    features = GRID.mT.flatten(3)
    layout = TokenLayout(ROWS, "width")
    assert torch.equal(layout.grid(features), GRID)
    assert torch.equal(layout.frames(features), features)


def test_frames_begin_and_end() -> None:
    assert TokenLayout().edges(4, 10.0).tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    assert TokenLayout(hop_seconds=0.5, start_seconds=-0.25).edges(2, 10.0).tolist() == [-0.25, 0.25, 0.75]


@pytest.mark.parametrize(
    ("encoder", "rows", "hop"),
    [
        (lambda: AST(config={"hidden_size": 12, "num_hidden_layers": 1, "intermediate_size": 12}), 12, 0.1),
        (BEATs.tiny, 8, 0.16),
        (CED.tiny, 4, 0.16),
        (Dasheng.tiny, 1, 0.04),
        (lambda: MobileNet(width=0.1), 1, 0.32),
        (lambda: MobileNet(width=0.1, rows="kept"), 4, 0.32),
        (lambda: MobileNet(width=0.1, rows="kept", blocks=11), 8, 0.16),
        (lambda: LoRA(CED.tiny()), 4, 0.16),
    ],
)
def test_rows_and_frames_of_the_published_networks(encoder: object, rows: int, hop: float) -> None:
    assert callable(encoder)
    made: Encoder = encoder()
    with torch.no_grad():
        grid = made.layout.grid(made.eval()(torch.zeros(1, 3 * made.sample_rate)))
    assert grid.shape[3] == rows
    assert made.layout.hop_seconds == pytest.approx(hop)


def test_class_tokens_are_one_frame_of_the_whole_clip() -> None:
    encoder = AST(frames=64, tokens="class", config={"hidden_size": 12, "num_hidden_layers": 1}).eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, 16000))
    assert encoder.layout.frames(features).shape == (1, 1, 1, 12)
