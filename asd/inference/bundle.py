"""What lies in a bundle beside its graph: a manifest, a page that tells how it is used, and `edge.py`."""

from __future__ import annotations

import copy
import re
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from asd.data.audio.band import stop
from asd.errors import Notice, UserError
from asd.inference.detector import Detector
from asd.inference.monitor import Rules
from asd.inference.recalibration import USUAL_BUDGET
from asd.scoring.sections import SectionScorers

_IMPORT = re.compile(r"^from asd\.inference\.(edge_\w+) import .*\n", re.MULTILINE)
_HEAD = "from __future__ import annotations\n"


def described(detector: Detector, names: Sequence[str]) -> dict[str, Any]:
    """What a manifest says of the sections of these names: what goes in and out, and what it means."""
    cut, sections = detector.cut, detector.model.sections
    numbers = [sections.index(name) for name in names]
    inputs = [{"name": "waveform", "shape": ["batch", cut.samples], "dtype": "float32", "range": [-1, 1]}]
    if len(names) > 1:
        inputs.append({"name": "machine", "shape": ["batch"], "dtype": "int64", "range": [0, len(names) - 1]})
    usual = [detector.recordings.usual[number] for number in numbers]
    limits = _limits(sections, numbers)
    return {
        "sample_rate": cut.sample_rate,
        "seconds": cut.seconds,
        "pad": cut.pad,
        # What the graph was trained without: whoever feeds it chooses, subtracts and filters first.
        "channels": "mean" if cut.channel is None else cut.channel,
        "nothing_above_hz": None if cut.band is None else stop(cut.band),
        "resampling": "soxr, high quality",
        "machines": list(names),
        "thresholds": limits["anomalous_above"],
        "limits": {"hop": cut.hop, **limits},
        "aggregate": detector.aggregate,
        "watch": _watching(detector, numbers),
        "recorded": [None if one is None else asdict(one) for one in usual],
        "training": _training(detector, numbers),
        "inputs": inputs,
        "outputs": [
            {"name": "score", "shape": ["batch"], "dtype": "float32"},
            {"name": "anomalous", "shape": ["batch"], "dtype": "bool"},
        ],
    }


def _limits(sections: SectionScorers, numbers: Sequence[int]) -> dict[str, list[float]]:
    limits = [sections.limits(number) for number in numbers]
    return {"anomalous_above": [one.alarm for one in limits], "normal_up_to": [one.abstain for one in limits]}


def _watching(detector: Detector, numbers: Sequence[int]) -> dict[str, Any] | None:
    """Hop, limits and rules of `asd watch` where nothing is asked for; ``None``: no limits follow."""
    model, judging, hop = detector.model, copy.copy(detector.judging), detector.cut.seconds / 2
    before, judging.plain = model.sections, copy.deepcopy(judging.plain)
    budget, rules = before.threshold.false_alarms or USUAL_BUDGET, Rules()
    try:
        with warnings.catch_warnings():  # they were told when the detector was loaded
            warnings.simplefilter("ignore", Notice)
            judging.allow(budget, hop)
        limits = _limits(model.sections, numbers)
    except UserError:
        return None
    finally:
        model.sections = before
    known = {"smooth": rules.smooth, "needed": rules.needed, "among": rules.among}
    return {"hop": hop, "false_alarms": str(budget), **limits, **known}


def _training(detector: Detector, numbers: Sequence[int]) -> dict[str, Any]:
    """What the detector is made of, and how it was trained as far as its configuration tells."""
    model, config = detector.model, detector.model.config or {}
    sections = model.sections
    return {
        "encoder": type(model.encoder).__name__,
        "scorer": type(sections.scorers[numbers[0]]).__name__,
        "threshold": type(sections.threshold).__name__,
        "classes": len(model.classes),
        "epochs": config.get("trainer", {}).get("max_epochs"),
        "precision": detector.precision,
        "seed": config.get("seed_everything"),
        "normal_clips": [len(sections.training_scores(number)[0]) for number in numbers],
    }


def edge() -> str:
    """`edge.py` as one file: where it imports another module of its own, the text of that stands."""

    def text(name: str) -> str:
        return files("asd.inference").joinpath(f"{name}.py").read_text(encoding="utf-8")

    return _IMPORT.sub(lambda found: text(found[1]).partition(_HEAD)[2], text("edge"))


def readme(manifest: dict[str, Any]) -> str:
    """A page that tells how a bundle of this manifest is used."""
    machines = ", ".join(manifest["machines"])
    named = "" if len(manifest["machines"]) == 1 else f" --machine {shlex.quote(manifest['machines'][0])}"
    seconds, rate, stop_hz = manifest["seconds"], manifest["sample_rate"], manifest["nothing_above_hz"]
    band = "" if stop_hz is None else f"\n- nothing from {stop_hz:g} Hz on, where a faint hiss stands in training"
    by_hand = f"""# A detector of machine sound: {machines}

Exported by asd {manifest["version"]}. `{manifest["file"]}` takes windows and gives scores, higher is more anomalous;
`manifest.json` says all that is needed to feed it and to read what it says.

## What goes in

- {seconds:g} s at {rate} Hz, {round(seconds * rate)} samples in [-1, 1] as float32; what is shorter is filled up
  (`pad`: {manifest["pad"]})
- channels: {manifest["channels"]} (`mean` of all, a number from 0, or `near_minus_far`, subtracted before){band}
- resampled as soxr does at high quality, and rounded to 16 bits of its peak

## What comes out

A recording is cut into windows every `limits.hop` seconds; a last one ends with it where half a window or more is
left. Its score is the `aggregate` of theirs. Above `limits.anomalous_above` it is anomalous, up to
`limits.normal_up_to` normal, and between them nothing is decided (`uncertain`). These lists, `recorded` (how the normal
sound was recorded, levels in dB relative to full scale) and `training.normal_clips` have a value for each of
`machines`. `watch` has hop, limits and rule of an event for listening on and on, set for `false_alarms`.
"""
    if manifest["file"] != "model.onnx":
        return by_hand
    return f"""{by_hand}
## edge.py

One file that does all of this, without asd and torch, in Python 3.10 or later:

    pip install onnxruntime numpy soundfile
    python edge.py recording.wav{named}
    python edge.py --watch FOLDER --once{named}

The first prints a line of JSON for each recording, or each one in a folder: `score`, `decision`, `threshold`, the
scores of its `windows`, and `remarks`. The exit code is 1 where one is anomalous, 2 where one cannot be judged, else 0.
The second judges the files of a folder, without `--once` on and on as a recorder writes them, and prints events as `asd
watch` does; the exit code is 1 where there was one. Scores are those of `asd score` in float32.

It resamples by soxr where that is installed (`pip install soxr`), else by a filter of its own. It knows neither drift
nor p-values, of how a recording was made only rate, channels and level, no format that needs ffmpeg, and no
`near_minus_far`; a WAV file that was cut short is judged by what is there.
"""
