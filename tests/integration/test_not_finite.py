"""No verdict is made from NaN or infinity: not by a broken checkpoint, not for a single recording, not in a file."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from asd_plugins.dual_branch import DualBranchCNN

from asd.data.audio.decoding import AudioError
from asd.encoders.adapter import Adapter
from asd.errors import UserError
from asd.evaluation import calibration
from asd.evaluation.calibration import Calibration, Calibrations
from asd.inference import Detector
from asd.inference.export import Graph, verify
from asd.inference.finite import check_stored
from asd.inference.monitor import Monitor, Rules
from asd.inference.quantise import loss_of
from asd.scoring import KMeansScorer
from asd.scoring.normal_clips import NormalClips
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.scoring.threshold import GammaThreshold, Threshold
from asd.training.module import AnomalyDetector

RATE = 16000
PLACES = {
    "encoder weight": lambda key, value: key.startswith("encoder.") and value.ndim > 1,
    "encoder buffer": lambda key, _: key.startswith("encoder.") and key.endswith("running_var"),
    "thresholds": lambda key, _: key == "sections.thresholds",
    "doubts": lambda key, _: key == "sections.abstain_above",
    "centres": lambda key, _: key.endswith("0.centres"),
    "held-out scores": lambda key, _: key.endswith("held_out.0.scores"),
}


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> list[Path]:
    return sorted((synthetic / "dev_data/raw/fan/test").glob("*.wav"))


def poke(trained: Path, out: Path, place: str, value: float) -> Path:
    """The run with one number of its checkpoint replaced."""
    shutil.copytree(trained, out, ignore=shutil.ignore_patterns("pictures", "*.ckpt"))
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    keys = [key for key, tensor in content["state_dict"].items() if PLACES[place](key, tensor)]
    assert keys, f"the checkpoint has a place for {place}"
    content["state_dict"][keys[0]].view(-1)[-1] = value
    torch.save(content, out / "checkpoints/last.ckpt")
    return out


def one_line(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("asd: ")]
    return line


@pytest.fixture
def refuses(here, clips: list[Path], tmp_path: Path, synthetic: Path) -> Callable[[str, Path], str]:
    """Run a command on a run folder; insist on exit code 2, and return its one line."""
    normal = tmp_path / "normal"
    normal.mkdir()
    shutil.copy(clips[0], normal)

    def run(command: str, broken: Path) -> str:
        checkpoint = broken / "checkpoints/last.ckpt"
        arguments: dict[str, list[Any]] = {
            "score": [clips[0], "--checkpoint", broken, "--machine", "fan"],
            "explain": [clips[0], "--checkpoint", broken, "--machine", "fan"],
            "enroll": [broken, normal, "--machine", "new"],
            "watch": [normal, "--checkpoint", broken, "--machine", "fan", "--once"],
            "export": [broken, "bundle"],
            "serve": [broken, "--port", "0"],
            "report": [broken, "--data", synthetic, "--clips", "1"],
            "test": ["--ckpt_path", checkpoint, "--data.root", synthetic, "--out", "tested"],
        }
        done = here(command, *arguments[command], expect=2)
        assert not done.stdout.strip() or command == "test", "nothing was judged"
        return one_line(done.stderr)

    return run


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", PLACES)
def test_a_checkpoint_that_is_not_finite_is_no_detector(
    place: str, value: float, trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"not finite \(NaN or infinity\), in (encoder|adapter|sections)\."):
        Detector.load(poke(trained, tmp_path / "broken", place, value))


@pytest.mark.parametrize("part", ["encoder", "adapter"])
def test_weights_are_asked_for_wherever_scores_come_from(part: str) -> None:
    model = AnomalyDetector(DualBranchCNN(seconds=1.0, width=4), Adapter(embedding_dim=4))
    check_stored(model)
    with torch.no_grad():
        next(iter(getattr(model, part).parameters())).view(-1)[0] = math.nan
    with pytest.raises(UserError, match=f"in {part}\\."):
        check_stored(model)


@pytest.mark.parametrize("command", ["score", "explain", "enroll", "watch", "export", "serve", "report"])
def test_every_command_refuses_such_a_checkpoint(command: str, trained: Path, tmp_path: Path, refuses) -> None:
    broken = poke(trained, tmp_path / "broken", "encoder weight", math.nan)
    assert "numbers that are not finite" in refuses(command, broken)
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "new.ckpt").exists()


@pytest.mark.parametrize("place", ["encoder weight", "thresholds", "doubts", "centres"])
def test_asd_test_decides_nothing_by_it(place: str, trained: Path, tmp_path: Path, refuses) -> None:
    broken = poke(trained, tmp_path / "broken", place, math.nan)
    assert "not finite" in refuses("test", broken)
    assert not list((tmp_path / "runs").rglob("*.csv"))


# -- a single recording


@pytest.fixture
def spoilt(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, int], None]:
    """Make the scores of every so many windows something else."""

    def install(value: float, every: int) -> None:
        original, count = Detector.score_windows, 0

        def score(self: Detector, windows: Any, population: Any) -> list[float]:
            nonlocal count
            scores = original(self, windows, population)
            for row in range(len(scores)):
                count += 1
                if count % every == 0:
                    scores[row] = value
            return scores

        monkeypatch.setattr(Detector, "score_windows", score)

    return install


@pytest.fixture
def day(clips: list[Path], tmp_path: Path) -> Path:
    """Five windows in one file."""
    parts = [soundfile.read(path, dtype="int16")[0][:RATE] for path in clips[:5]]
    soundfile.write(tmp_path / "day.wav", np.concatenate(parts), RATE)
    return tmp_path / "day.wav"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_one_window_without_a_score_is_no_verdict(
    value: float, aggregate: str, trained: Path, day: Path, here, spoilt
) -> None:
    spoilt(value, 3)
    detector = Detector.load(trained, aggregate=aggregate)
    with pytest.raises(AudioError, match="its score is not finite"):
        detector.score(day, machine="fan")
    with pytest.raises(AudioError, match="its score is not finite"):
        detector.explain(day, machine="fan")
    with pytest.raises(AudioError, match="its score is not finite"):
        detector.result("a", 0, [(0.0, 0.1), (1.0, value)])


def test_the_other_recordings_are_scored_and_the_code_is_2(trained: Path, clips: list[Path], here, spoilt) -> None:
    options = ["--checkpoint", trained, "--machine", "fan"]
    spoilt(math.nan, 2)
    done = here("score", *clips[:4], *options, "--json", expect=2)
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == [str(clips[0]), str(clips[2])]
    assert done.stderr.count("its score is not finite") == 2


def test_the_other_recordings_are_explained_and_the_code_is_2(trained: Path, clips: list[Path], here, tmp_path) -> None:
    (tmp_path / "broken.wav").write_text("no sound\n")
    done = here("explain", "broken.wav", clips[0], "--checkpoint", trained, "--machine", "fan", expect=2)
    assert done.stdout.startswith(f"{clips[0]}: score")
    assert "broken.wav" in one_line(done.stderr)


@pytest.mark.parametrize("source", ["folder", "file"])
def test_watch_tells_what_is_unusable_and_goes_on(source: str, trained: Path, day: Path, here, spoilt) -> None:
    spoilt(math.nan, 3)
    place = [day.parent, "--once"] if source == "folder" else [day, "--speed", "0"]
    options = ["--checkpoint", trained, "--machine", "fan", "--hop", "1", "--scores", "--event", "4/5"]
    told = [
        json.loads(line, parse_constant=pytest.fail) for line in here("watch", *place, *options).stdout.splitlines()
    ]
    verdict = ["file"] if source == "folder" else []
    assert [m["type"] for m in told] == ["score", "score", "unusable", "score", "score", *verdict, "summary"]
    assert "not finite" in told[2]["reason"]
    assert told[2].get("file") == ("day.wav" if source == "folder" else None)
    assert told[-1]["windows"] == 4
    assert told[-1]["unusable_files" if source == "folder" else "unusable_windows"] == 1


@pytest.mark.parametrize("source", ["folder", "file"])
def test_a_watch_in_which_all_was_unusable_is_not_fine(source: str, trained: Path, day: Path, here, spoilt) -> None:
    spoilt(math.nan, 1)
    place = [day.parent, "--once"] if source == "folder" else [day, "--speed", "0"]
    done = here("watch", *place, "--checkpoint", trained, "--machine", "fan", expect=2)
    assert json.loads(done.stdout.splitlines()[-1])["windows"] == 0


def test_a_window_that_cannot_be_explained_is_said(trained: Path, clips: list[Path], here, spoilt) -> None:
    spoilt(math.nan, 4)  # the score is finite, one of a window with a part changed is not
    done = here("explain", clips[0], "--checkpoint", trained, "--machine", "fan", expect=2)
    assert "its score is not finite" in one_line(done.stderr)


def test_a_monitor_counts_nothing_that_is_not_finite() -> None:
    normal = torch.linspace(0, 1, 50)
    one = Monitor(1.0, normal, 1.0, Rules(1, 1, 1))
    told = [message for at, score in enumerate([0.5, math.nan, -math.inf, math.inf]) for message in one.push(at, score)]
    assert [message["type"] for message in told] == ["unusable"] * 3
    assert (one.windows, one.above, one.events, one.unusable) == (1, 0, 0, 3)
    for threshold, scores in ((math.nan, normal), (math.inf, normal), (1.0, torch.tensor([0.1, math.nan]))):
        with pytest.raises(UserError, match="not finite"):
            Monitor(threshold, scores, 1.0, Rules())


@pytest.mark.parametrize(
    "options", [["--hop", "nan"], ["--hop", "inf"], ["--poll", "nan"], ["--speed", "nan"], ["--buffer", "nan"]]
)
def test_an_option_that_is_no_number_is_refused(options: list[str], trained: Path, day: Path, here) -> None:
    assert one_line(here("watch", day, "--checkpoint", trained, "--machine", "fan", *options, expect=2).stderr)


# -- the rules where limits and decisions are made


def fitted(scores: Threshold | None = None) -> SectionScorers:
    rows = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros(20, dtype=torch.int64)
    bank = Bank(rows, zeros, zeros.bool(), torch.arange(20), torch.arange(20))
    return SectionScorers(KMeansScorer(k=2), scores or GammaThreshold(), ["fan_section_00"]).fit(bank)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_section_decides_by_numbers_alone(value: float) -> None:
    of = torch.zeros(2, dtype=torch.int64)
    one = fitted()
    assert len(one.decide(torch.tensor([0.1, 0.2]), of)) == 2
    with pytest.raises(UserError, match="fan_section_00: 1 of 2 clips"):
        one.decide(torch.tensor([0.1, value]), of)
    with pytest.raises(UserError, match="nothing can be decided"):
        one.limits(0).decide(value)
    for limits in (one.thresholds, one.abstain_above):
        before = float(limits[0])
        limits[0] = value
        with pytest.raises(UserError, match="nothing can be decided"):
            one.decide(torch.tensor([0.1, 0.2]), of)
        with pytest.raises(UserError, match="nothing can be decided"):
            one.limits(0).decide(0.1)
        limits[0] = before
    unfitted = SectionScorers(KMeansScorer(), GammaThreshold(), ["fan_section_00"])
    with pytest.raises(UserError, match="nothing can be decided"):
        unfitted.decide(torch.tensor([0.1]), of[:1])


class Unlimited(Threshold):
    def at(self, scores: torch.Tensor, quantile: float) -> float:
        return math.inf


@pytest.mark.parametrize("scores", [[], [0.1, math.nan], [0.1, math.inf]])
def test_no_threshold_follows_from_such_scores(scores: list[float]) -> None:
    with pytest.raises(UserError, match="no threshold follows"):
        GammaThreshold().fit(torch.tensor(scores))


def test_a_threshold_that_is_none_is_refused_with_the_machine() -> None:
    with pytest.raises(UserError, match="fan_section_00: Unlimited gave a threshold of inf"):
        fitted(Unlimited())


def test_embeddings_beyond_float16_are_kept_finite() -> None:
    rows = torch.tensor([[1e6, 2e6], [1.0, 2.0]])
    zeros = torch.zeros(2, dtype=torch.int64)
    kept = NormalClips()
    kept.remember(
        torch.zeros(2), torch.zeros(2), zeros, Bank(rows, zeros, zeros.bool(), zeros, zeros, (("a", ""), ("b", "")))
    )
    assert bool(kept.embeddings.isfinite().all())
    assert torch.allclose(
        torch.nn.functional.normalize(kept.embeddings.float())[0], rows[1] / rows[1].norm(), atol=1e-3
    )
    assert kept.embeddings[1].tolist() == [1.0, 2.0]


# -- files


def test_a_calibration_that_is_not_finite_is_not_read(tmp_path: Path) -> None:
    good = Calibrations({"fan_section_00": Calibration(1.0, 0.5, (0.1,), ())}, 10.0)
    (tmp_path / "calibration.json").write_text(calibration.to_text(good))
    assert calibration.read(tmp_path) == good
    for number in ("NaN", "Infinity", "1e999", "null", '"nan"', "[]"):
        for key in ("1.0", "0.5", "0.1"):
            (tmp_path / "calibration.json").write_text(calibration.to_text(good).replace(key, number))
            with pytest.raises(UserError, match="cannot be read"):
                calibration.read(tmp_path)


def test_a_length_that_is_not_known_is_null_and_read_again(tmp_path: Path) -> None:
    text = calibration.to_text(Calibrations({}, math.nan))
    assert json.loads(text, parse_constant=pytest.fail) == {"seconds": None, "machines": {}}
    (tmp_path / "calibration.json").write_text(text)
    found = calibration.read(tmp_path)
    assert found is not None and math.isnan(found.seconds)


def test_a_percentile_without_clips_is_null(trained: Path, clips: list[Path], here, tmp_path: Path) -> None:
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    for key in [key for key in content["state_dict"] if key.endswith((".scores", ".target")) and "held_out" in key]:
        content["state_dict"][key] = content["state_dict"][key][:0]
    torch.save(content, tmp_path / "bare.ckpt")
    alarm = Detector.load(tmp_path / "bare.ckpt").score(clips[0], machine="fan").anomalous
    done = here("score", clips[0], "--checkpoint", "bare.ckpt", "--machine", "fan", "--json", expect=int(alarm))
    assert json.loads(done.stdout, parse_constant=pytest.fail)["percentile"] is None


def test_an_exported_graph_calls_nothing_normal_that_has_no_score(trained: Path, tmp_path: Path) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, scores: torch.Tensor) -> torch.Tensor:
            return scores

    detector = Detector.load(trained)
    graph = Graph(detector, [0])
    graph.encoder, graph.adapter, graph.scorers = Fixed(), Fixed(), torch.nn.ModuleList([Fixed()])
    graph.adapter.embed = graph.adapter.forward  # type: ignore[assignment]
    scores = torch.tensor([math.nan, math.inf, -math.inf, -100.0, 100.0])
    assert graph(scores)[1].tolist() == [True, True, True, False, True]
    torch.onnx.export(graph.eval(), (scores,), tmp_path / "graph.onnx", dynamo=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(None, {session.get_inputs()[0].name: scores.numpy()})[1].tolist() == [
        True,
        True,
        True,
        False,
        True,
    ]


def test_a_graph_that_gives_nan_is_never_put_in_place(
    trained: Path, here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.full(5, np.nan, np.float32)
    monkeypatch.setattr("asd.inference.export.opened", lambda path: lambda inputs: (nothing[: len(inputs[0])], nothing))
    done = here("export", trained, "bundle", "--machine", "fan", "--format", "pt2", expect=2)
    assert "differ from torch's by nan" in one_line(done.stderr)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("limits", ["[NaN]", "[1e999]", "[]", "[null]", "null", '["nan"]'])
def test_a_bundle_without_a_threshold_is_not_whole(limits: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    text = f'{{"version": "0", "file": "model.pt2", "sha256": "{empty}", "machines": ["a"], "thresholds": [1.5]}}'
    (tmp_path / "manifest.json").write_text(text)
    assert verify(tmp_path)["thresholds"] == [1.5]
    (tmp_path / "manifest.json").write_text(text.replace("[1.5]", limits))
    with pytest.raises(UserError, match="is no bundle"):
        verify(tmp_path)


def test_eight_bits_that_give_nan_are_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    clip = SimpleNamespace(condition="normal", machine_section="fan_section_00")
    batch = SimpleNamespace(index=torch.tensor([0]), waveform=torch.zeros(1, 4))
    data = SimpleNamespace(predict_dataloader=lambda: [[batch]], query_clips=[clip])
    monkeypatch.setattr(
        "asd.inference.quantise._Runner", lambda path: lambda waveform, machine: torch.tensor([math.nan])
    )
    with pytest.raises(UserError, match="not finite; export without --int8"):
        loss_of(Path("x"), lambda waveform: (torch.zeros(1),), ["fan_section_00"], data)  # type: ignore[arg-type]
