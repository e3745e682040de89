"""Maps of embeddings: every machine and every kind of clip is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from asd import plots
from asd.errors import UserError
from asd.evaluation.embedding_store import Store, Stored, StoredClip


def make(width: int = 8, attributes: int = 3, labels: bool = True) -> Store:
    generator = torch.Generator().manual_seed(0)
    reference, query = [], []
    for machine in ("fan", "valve"):
        for number in range(40):
            domain = "target" if number >= 36 else "source"
            reference.append(
                StoredClip(f"t{number}", machine, "00", domain, "normal", f"spd_{number % attributes}", "")
            )
        for number in range(16):
            known = (("source", "target")[number % 2], ("normal", "anomaly")[number // 8]) if labels else (None, None)
            query.append(StoredClip(f"q{number}", machine, "00", *known, "", ""))
    rows = [torch.randn(len(clips), width, generator=generator) for clips in (reference, query)]
    return Store(*(Stored(one, tuple(clips), "a", 1.0) for one, clips in zip(rows, (reference, query), strict=True)))


def test_conditions_and_domains_are_told_apart(drawn: list[Figure], tmp_path: Path) -> None:
    plots.embedding_map(make(), tmp_path / "map.png")
    (figure,) = drawn
    assert [axes.get_title() for axes in figure.axes] == ["fan", "valve"]
    for axes in figure.axes:
        counts = {c.get_label(): len(c.get_offsets()) for c in axes.collections}
        assert counts == {
            "training, source": 36, "training, target": 4, "test, source, normal": 4, "test, source, anomaly": 4,
            "test, target, normal": 4, "test, target, anomaly": 4,
        }  # fmt: skip
    plots.embedding_map(make(labels=False), tmp_path / "map.png")
    assert "test, label unknown" in {c.get_label() for c in drawn[-1].axes[0].collections}


def test_of_very_many_clips_some_are_drawn(
    drawn: list[Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asd.plots.embeddings._MOST_CLIPS", 20)
    plots.embedding_map(make(), tmp_path / "map.png")
    for axes in drawn[0].axes:
        assert sum(len(c.get_offsets()) for c in axes.collections) == 20 + 16
    plots.centre_attention(make(), tmp_path / "centres.png", k=2)
    assert (tmp_path / "centres.png").is_file()


@pytest.mark.parametrize(("attributes", "names"), [(3, {"spd_0", "spd_1", "spd_2"}), (20, {"8 more"})])
def test_attributes_are_named_in_the_panel(
    drawn: list[Figure], tmp_path: Path, attributes: int, names: set[str]
) -> None:
    plots.embedding_map(make(attributes=attributes), tmp_path / "map.png", by="attributes")
    shown = [text.get_text() for text in drawn[0].axes[0].texts]
    assert names <= set(shown)
    assert sum(len(c.get_offsets()) for c in drawn[0].axes[0].collections) == 40, "the training clips"


def test_rows_of_the_centres_are_parts_of_the_clips(drawn: list[Figure], tmp_path: Path) -> None:
    plots.centre_attention(make(), tmp_path / "centres.png", k=5)
    table = drawn[0].axes[0].images[0].get_array()
    assert table.shape == (6, 5)
    torch.testing.assert_close(torch.as_tensor(table.sum(1).data).float(), torch.ones(6))


def test_two_columns_and_unknown_colours(tmp_path: Path) -> None:
    assert plots.embedding_map(make(width=1), tmp_path / "map.png").is_file()
    with pytest.raises(UserError, match="by is 'machine'"):
        plots.embedding_map(make(), tmp_path / "map.png", by="machine")
    assert plots.draw_embeddings(make(width=20_000), tmp_path) == []


def test_the_chart_of_back_ends_keeps_the_order(drawn: list[Figure], tmp_path: Path) -> None:
    rows = [(f"scorer {n}", [60.0 - n, 70.0, 50.0, 55.0]) for n in range(70)]
    plots.back_end_chart(rows, tmp_path / "chart.png")
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][:3] == ["scorer 0", "scorer 1", "scorer 2"]
    assert len(axes.get_yticklabels()) == 60
    assert axes.yaxis_inverted()
