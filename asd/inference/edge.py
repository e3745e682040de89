"""Judges recordings by the bundle of `asd export` that this file lies in, without asd and without torch.

It needs Python 3.10, onnxruntime, numpy and soundfile, and takes soxr where that is installed. Of a recording it says
what `asd score` says, of a folder what `asd watch` does; README.md beside it tells how.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import onnxruntime
    import soundfile  # noqa: F401 - all that is missing is told at once
except (ImportError, OSError) as missing:
    print(f"edge.py: error: {missing}; pip install onnxruntime numpy soundfile", file=sys.stderr)
    sys.exit(2)
from asd.inference.edge_events import Events, Message, Monitor
from asd.inference.edge_sound import Array, Cut, Recording, Unusable

SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc",
    ".caf", ".au", ".snd",
)  # fmt: skip
"""What soundfile reads, and so what is a recording in a folder."""

MOMENTS = {"event_start": "start", "event_end": "end", "summary": "end"}
"""Where a message says when it was; the others have ``time``."""


class Bundle:
    """The model of a folder and what its manifest says, for one of its machines.

    Args:
        folder: What `asd export` wrote.
        machine: Its name; ``None``: the only one.
        watch: Take hop and limits of `asd watch`, else those of `asd score`.
    """

    def __init__(self, folder: Path, machine: str | None, watch: bool = False) -> None:
        try:
            manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            model = folder / Path(manifest["file"]).name
            if _sha256(model) != manifest["sha256"]:
                raise Unusable(f"{model} is not the file that was exported: its checksum differs; export it again")
            self.number = _number(manifest["machines"], machine)
            self.machine = manifest["machines"][self.number]
            self.rules = manifest["watch"]
            if watch and self.rules is None:
                raise Unusable("the bundle has no limits for watching: no scores of normal clips were kept for them")
            said = self.rules if watch else manifest["limits"]
            self.alarm, self.normal = (float(said[key][self.number]) for key in ("anomalous_above", "normal_up_to"))
            self.aggregate, self.usual = manifest["aggregate"], manifest["recorded"][self.number]
            channel = manifest["channels"]
            if channel != "mean" and type(channel) is not int:
                raise Unusable(f"edge.py knows no channels {channel!r}; use `asd score` and `asd watch`")
            self.cut = Cut(
                manifest["sample_rate"], manifest["seconds"], said["hop"], manifest["pad"],
                None if channel == "mean" else channel, manifest["nothing_above_hz"],
            )  # fmt: skip
            if not (math.isfinite(self.alarm) and math.isfinite(self.normal)):
                raise ValueError("a limit is not finite")
            options = onnxruntime.SessionOptions()
            # Threads that wait take half the time away from those that work where cores are few.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Unusable:
            raise
        except Exception as error:  # also of onnxruntime, whose kinds are not public
            what = f"{type(error).__name__}: {error}"
            raise Unusable(f"{folder} is no bundle, or one of another asd; export it again ({what})") from error

    def score(self, window: Array) -> float:
        """The score of a window ``(T,)``; higher is more anomalous."""
        given = (window[None], np.array([self.number]))
        inputs = {one.name: value for one, value in zip(self.session.get_inputs(), given, strict=False)}
        return float(self.session.run(None, inputs)[0][0])

    def judged(self, scores: list[float]) -> Message:
        """What the scores of a recording's windows say of it."""
        score = max(scores) if self.aggregate == "max" else sum(scores) / len(scores)
        if not math.isfinite(score):
            raise Unusable("its score is not finite (NaN or infinity)")
        decision = "anomalous" if score > self.alarm else "uncertain" if score > self.normal else "normal"
        return {"score": score, "threshold": self.alarm, "decision": decision}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _number(machines: list[str], asked: str | None) -> int:
    named = [at for at, name in enumerate(machines) if asked in (None, name, name.rpartition("_section_")[0])]
    if len(named) != 1:
        raise Unusable(f"name one machine (--machine) of {', '.join(machines)}")
    return named[0]


def score(path: Path, bundle: Bundle) -> Message:
    """What is said of a recording."""
    left_out: list[tuple[float, str]] = []
    recording = Recording(path, bundle.cut, lambda *one: left_out.append(one))
    windows = [{"start": start, "score": bundle.score(window)} for start, window in recording.windows()]
    judged = bundle.judged([one["score"] for one in windows])
    remarks = [recording.recorded_otherwise(bundle.usual)] if bundle.usual else []
    if left_out:
        start, why = left_out[0]
        count = len(left_out) + len(windows)
        remarks.append(f"{len(left_out)} of {count} windows are unusable and left out, the first at {start:g} s: {why}")
    windows = [{**one, "anomalous": one["score"] > bundle.alarm} for one in windows]
    told = {"windows": windows, "remarks": [one for one in remarks if one]}
    return {"name": str(path), "machine": bundle.machine, **judged, **told}


class Watcher:
    """Tells what happens in a folder that a recorder writes into, as messages."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle, self.folder, self.name = bundle, folder, ""
        self.events = Events(bundle.machine, folder, (bundle.alarm, bundle.normal))
        self.monitor = Monitor(bundle.alarm, bundle.rules, self.tell)

    def tell(self, message: Message) -> None:
        """Print a message, with the time at which it was and the file."""
        moment = message.get(MOMENTS.get(message["type"], "time"))
        if moment is not None:
            message["at"] = datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")
        complete = self.events.complete({**message, "file": self.name} if self.name else message)
        print(json.dumps(complete), flush=True)

    def run(self, follow: bool) -> int:
        """Judge file after file; returns the exit code: 1 where there was an event."""
        failed = 0
        try:
            for path in new_files(self.folder, follow):
                self.name = path.relative_to(self.folder).as_posix()
                try:
                    self._judge(path)
                except (Unusable, OSError) as error:
                    failed += 1
                    self.tell({"type": "unusable", "reason": str(error)})
        finally:
            self.monitor.end(time.time())  # of a file that broke off
            self.name, counts = "", {"windows": self.monitor.windows, "events": self.monitor.events}
            self.tell({"type": "summary", "end": time.time(), **counts, "unusable_files": failed})
        if failed and not self.monitor.windows:
            raise Unusable(f"{self.folder}: none of {failed} files could be judged; see what was unusable")
        return 1 if self.monitor.events else 0

    def _judge(self, path: Path) -> None:
        recording = Recording(path, self.bundle.cut, lambda start, why: self._unusable(begin + start, why))
        end = path.stat().st_mtime  # when its recorder wrote the last of it
        begin, before = end - recording.seconds, self.monitor.events
        scores: list[float] = []
        for start, window in recording.windows():
            if not scores and self.bundle.usual and (remark := recording.recorded_otherwise(self.bundle.usual)):
                self.tell({"type": "remark", "time": begin, "remark": remark})
            score = self.bundle.score(window)
            if math.isfinite(score):
                self.monitor.push(begin + start, score)
                scores.append(score)
            else:
                self._unusable(begin + start, "its score is not finite (NaN or infinity)")
        self.monitor.gap(end)
        if not scores:
            raise Unusable("no window could be judged")
        judged = self.bundle.judged(scores)
        if judged["decision"] == "anomalous" and self.monitor.events == before:
            whole = {"start": begin, "peak": judged["score"], "peak_time": begin, "windows": 1}
            self.monitor.begin(judged["score"], whole)
            self.monitor.end(end)
        if self.monitor.events > before:
            judged["decision"] = "anomalous"
        self.tell({"type": "file", "time": begin, "seconds": recording.seconds, **judged})

    def _unusable(self, at: float, why: str) -> None:
        self.tell({"type": "unusable", "time": at, "reason": why})


def recordings(folder: Path) -> list[Path]:
    """The recordings in a folder and the folders in it, sorted; hidden ones are left alone."""
    if not folder.is_dir():
        raise Unusable(f"no folder {folder}")
    found = (path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES) and path.is_file())
    return sorted(path for path in found if not any(one.startswith(".") for one in path.relative_to(folder).parts))


def new_files(folder: Path, follow: bool) -> Iterator[Path]:
    """Recordings in order of time, each once it has stopped growing; on and on, or those that are there."""
    newest, given, sizes = -1, set[Path](), dict[Path, int]()
    while True:
        try:
            facts = sorted((path.stat().st_mtime_ns, path, path.stat().st_size) for path in recordings(folder))
        except FileNotFoundError:  # gone since it was listed
            continue
        found = [one for one in facts if one[0] > newest or (one[0] == newest and one[1] not in given)]
        for at, path, size in found:
            if not follow or (size and sizes.get(path) == size):
                yield path
                newest, given = at, {path, *given} if at == newest else {path}
        if not follow:
            return
        sizes = {path: size for _, path, size in found}
        time.sleep(1)


def main() -> int:
    """Judge what is named; returns 1 where something is anomalous, 2 where something cannot be judged, else 0."""
    parser = argparse.ArgumentParser(prog="edge.py", description="Judge machine sound.", allow_abbrev=False)
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help="recordings, or folders of recordings")
    parser.add_argument("--watch", metavar="FOLDER", type=Path, help="tell what happens in it instead, on and on")
    parser.add_argument("--once", action="store_true", help="of --watch: end when every file is judged")
    parser.add_argument("--machine", metavar="NAME", help="needed where the bundle has several")
    args = parser.parse_args()
    worst = 0
    try:
        if bool(args.files) == (args.watch is not None):
            raise Unusable("give recordings, or --watch and a folder")
        bundle = Bundle(Path(__file__).parent, args.machine, args.watch is not None)
        if args.watch is not None:
            return Watcher(bundle, args.watch).run(not args.once)
        for path in (one for given in args.files for one in (recordings(given) if given.is_dir() else [given])):
            try:
                result = score(path, bundle)
                print(json.dumps(result), flush=True)
                worst = max(worst, int(result["decision"] == "anomalous"))
            except Unusable as error:  # the others are judged all the same
                worst = _refused(f"{path}: {error}")
    except (Unusable, OSError) as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        return 130
    return worst


def _refused(why: str) -> int:
    line = " ".join(f"edge.py: error: {why}".split())
    print("".join(one if one.isprintable() else ascii(one)[1:-1] for one in line), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
