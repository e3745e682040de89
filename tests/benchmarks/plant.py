"""False alarms of detectors of one's own recordings: in the same conditions, on another day, and in other formats.

``python -m tests.benchmarks.plant --data OWN --out runs/plant`` trains on ``OWN/own`` and measures ``OWN/same`` and
``OWN/new`` (each ``<machine>/{normal,anomaly}``, the latter where there are faults), before and after a calibration
with ``OWN/commission``: as they are, as MP3 of 64 kb/s, and resampled to 8 kHz. ``--enroll CHECKPOINT ...`` enrolls the
machines into those instead of training; ``-- --config recipe/dual_branch --data.class_path Recordings`` trains that. A
run that is there is not made again.

Means over machines and seeds, in percent: normal clips above the threshold, in the band below it, and faults found.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import soundfile
from torch import Tensor

from asd.data.clip import Sound
from asd.inference import Detector, enroll
from asd.inference.hearing import bank_of
from asd.scoring.limits import Decision

DAYS = {"same": "same conditions", "new": "another day"}
FORMATS = ("as they are", "MP3, 64 kb/s", "8 kHz")


def in_format(path: Path, form: str) -> Sound:
    """A recording in another format, in memory."""
    if form == "as they are":
        return Sound(path)
    samples, rate = soundfile.read(path, dtype="float32")
    held = io.BytesIO()
    if form == "8 kHz":
        import torch
        from torchaudio.functional import resample

        samples = resample(torch.from_numpy(samples), rate, 8000).numpy()
        soundfile.write(held, samples, 8000, format="WAV", subtype="PCM_16")
    else:
        # libsndfile's level 0 to 1 runs from 160 to 8 kb/s at 16 kHz.
        soundfile.write(held, samples, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=0.63)
    return Sound(path, content=held.getvalue())


def trained(out: Path, data: Path, seed: int, budget: str, arguments: list[str]) -> Path:
    """The folder of a run, which is made where it is not there."""
    folder = out / f"seed_{seed}"
    done = sorted(folder.glob("version_*/results.json"))
    if not done:
        logger = ["--trainer.logger.save_dir", str(out), "--trainer.logger.name", folder.name]
        more = ["--data.root", str(data / "own"), "--data.calibration", "0.2", "--seed_everything", str(seed)]
        quiet = ["--trainer.enable_progress_bar=false", "--outputs.pictures=false", "--false-alarms", budget]
        command = [sys.executable, "-m", "asd", "fit", *(arguments or ["--config", "my_machine"]), *more, *logger]
        subprocess.run([*command, *quiet], check=True, stdout=subprocess.DEVNULL)
        done = sorted(folder.glob("version_*/results.json"))
    return done[-1].parent


def enrolled(out: Path, data: Path, number: int, budget: str, checkpoint: Path) -> Path:
    """A checkpoint with all machines enrolled, which is made where it is not there."""
    path = out / f"enrolled_{number}.ckpt"
    if not path.is_file():
        whole = checkpoint
        for folder in sorted((data / "own").iterdir()):
            whole = enroll(whole, folder.name, folder / "normal", path.with_suffix(".part"), replace=True,
                           false_alarms=budget).path  # fmt: skip
        whole.rename(path)
    return path


def share(decisions: list[Decision], one: Decision) -> float:
    """How many of the decisions are this one, in percent; nan where there are none."""
    return 100 * decisions.count(one) / len(decisions) if decisions else float("nan")


def rates(detector: Detector, budget: str, data: Path) -> Iterator[tuple[tuple[str, str, str], tuple[float, ...]]]:
    """By day, format and limits, of every machine: false alarms, normal clips in the band, faults found, in percent."""
    for machine in sorted(folder.name for folder in (data / "own").iterdir()):
        number = detector.section_index(machine)

        def heard(day: str, condition: str, form: str, machine: str = machine) -> Tensor | None:
            paths = sorted((data / day / machine / condition).glob("*.wav"))
            sounds = [in_format(path, form) for path in paths]
            return bank_of(detector.embed, detector.cut, sounds).embeddings if sounds else None

        clips = {
            (day, form): [heard(day, condition, form) for condition in ("normal", "anomaly")]
            for day in DAYS
            for form in FORMATS
        }
        for when in ("before", "after"):
            if when == "after":
                detector.calibrate([data / "commission" / machine], machine, budget)
            sections = detector.model.sections
            limits = sections.limits(number)
            for (day, form), parts in clips.items():
                normal, faulty = (
                    [] if part is None else [limits.decide(score) for score in sections(part, number).tolist()]
                    for part in parts
                )
                found = (
                    share(normal, Decision.ANOMALOUS),
                    share(normal, Decision.UNCERTAIN),
                    share(faulty, Decision.ANOMALOUS),
                )
                yield (day, form, when), found


def main() -> None:
    """Train or enroll what is missing, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="one's own recordings, and what is measured with")
    parser.add_argument("--out", type=Path, default=Path("runs/plant"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--enroll", type=Path, nargs="*", help="checkpoints, instead of training")
    parser.add_argument("--false-alarms", default="10%", help="that were asked for")
    parser.add_argument("arguments", nargs="*", help="of asd fit, after --")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    budget = given.false_alarms
    if given.enroll:
        made = [enrolled(given.out, given.data, at, budget, one) for at, one in enumerate(given.enroll, 1)]
    else:
        made = [trained(given.out, given.data, seed, budget, given.arguments) for seed in given.seeds]
    every = defaultdict(list)
    for one in made:
        for key, found in rates(Detector.load(one, recorded_otherwise="ignore"), budget, given.data):
            every[key].append(found)
    print("| clips | format | limits | false alarms | normal in the band | faults found |")
    print("|---|---|---|---:|---:|---:|")
    for (day, form, when), several in every.items():
        means = [statistics.mean(values) for values in zip(*several, strict=True)]
        print(f"| {DAYS[day]} | {form} | {when} calibrate | {' | '.join(f'{mean:.1f}' for mean in means)} |")


if __name__ == "__main__":
    main()
