"""`asd watch`: listen on and on, and tell what happens as JSON lines, with a line for people beside each."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.cli.otherwise import add_otherwise
from asd.cli.thresholds import add_false_alarms
from asd.errors import UserError
from asd.utils import strict_json

if TYPE_CHECKING:
    from asd.events.event import Event
    from asd.events.state import State
    from asd.inference import Detector
    from asd.inference.commission import Commission
    from asd.inference.recalibration import Calibrated
    from asd.plant.listener import Listener
    from asd.plant.model import OneModel
    from asd.plant.options import Options, SourceOptions
    from asd.plant.outlets import Outlets

_FORMATS = ("s16le", "s32le", "f32le")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command; those without a value leave it to `asd.plant.options`, or to --config."""
    add = parser.add_argument
    add("source", nargs="?", help="a folder that a recorder writes into, a file, - for a pipe, or microphone")
    add("--config", metavar="FILE", type=Path, help="several sources, and these options, in a YAML file")
    add("--checkpoint", metavar="FILE", type=Path, help="or a run's folder")
    add("--machine", metavar="NAME", help="needed where the detector knows several")
    add("--name", metavar="NAME", help="of the source, in events (the last part of its path)")
    add("--hop", type=float, metavar="SECONDS", help="between windows (half a window)")
    add_false_alarms(parser, "as the checkpoint was asked for, or 1/day")
    add("--commission", metavar="TIME", help="set the limits by what is heard first, such as 24h, without any event")
    add("--out", metavar="FILE", type=Path, help="of --commission: a checkpoint with these limits")
    add("--smooth", type=int, metavar="N", help="median of so many windows (3)")
    add("--event", metavar="N/OF", help="an event is so many windows of so many (3/5)")
    add("--grace", type=float, metavar="SECONDS", help="no event at the start (0)")
    add("--hold-off", type=float, metavar="SECONDS", help="least between events (0)")
    add("--re-arm", type=float, metavar="SECONDS", help="below before an event ends (0)")
    add("--speed", type=float, help="of a file: times its own; 0: as fast as can be (1)")
    add("--once", action="store_true", help="of a folder: end when every file is judged")
    add("--poll", type=float, metavar="SECONDS", help="of a folder: between looks (1)")
    add("--rate", type=int, help="of a pipe or microphone, in Hz (16000)")
    add("--channels", type=int, help="of a pipe or microphone (1)")
    add("--format", choices=_FORMATS, help="of a pipe (s16le)")
    add("--buffer", type=float, metavar="SECONDS", help="of live sound at most (60)")
    add_otherwise(parser)
    parser.set_defaults(recorded_otherwise=None)
    add("--scores", action="store_true", help="tell the score of every window, too")
    add("--quiet", action="store_true", help="no lines for people, on standard error")
    add("--explain", action="store_true", default=None, help="say of each event what makes its score")
    where = parser.add_argument_group("where events go, beside standard output")
    add = where.add_argument
    add("--webhook", metavar="URL", help="POST events there")
    add("--mqtt", metavar="URL", help="publish them, as mqtts://user@broker/plant/hall; password: ASD_MQTT_PASSWORD")
    add("--mqtt-password-file", metavar="FILE", type=Path, help="or here")
    add("--mqtt-ca", metavar="FILE", type=Path, help="certificates to trust (those of the system)")
    add("--mqtt-discovery", metavar="PREFIX", help="of Home Assistant; empty: none (homeassistant)")
    add("--metrics", metavar="HOST:PORT", help="figures for Prometheus")
    add("--state", metavar="FOLDER", type=Path, help="keep what is not delivered, and which files were judged, there")
    add("--clips", metavar="FOLDER", type=Path, help="keep the sound around events there")
    add("--clips-mb", type=float, metavar="MB", help="that it takes at most; the oldest go (500)")


def run(args: argparse.Namespace) -> int:
    """Watch until the source ends; returns the exit code: 1 where there was an event."""
    from asd.inference import Detector
    from asd.inference.recalibration import USUAL_BUDGET
    from asd.plant.model import OneModel
    from asd.plant.outlets import Outlets

    options = _options(args)
    detector = Detector.load(options.checkpoint, hop=options.hop, recorded_otherwise=options.recorded_otherwise)
    if options.hop is None:
        detector = detector.with_hop(detector.cut.seconds / 2)
    budget = options.false_alarms or detector.model.sections.threshold.false_alarms or USUAL_BUDGET
    detector.allow(budget)
    numbers = {name: detector.section_index(source.machine) for name, source in options.sources.items()}
    commission = _commission(args, detector, next(iter(numbers.values())), budget)
    titles = {name: name if args.config else detector.titles[number] for name, number in numbers.items()}
    with ExitStack() as ends:
        machines = {name: detector.machines[number] for name, number in numbers.items()}
        outlets = Outlets(options, machines, {} if commission else _alarms(detector, numbers))
        ends.callback(outlets.close)
        tell = _teller(args, titles, outlets)
        model = ends.enter_context(OneModel(detector))
        if args.config is not None:
            from asd.plant.plant import Plant

            return Plant(options, numbers, model, tell, outlets.state).run(once=args.once)
        return _alone(args, options, numbers, model, tell, outlets.state, commission)


def _alarms(detector: Detector, numbers: Mapping[str, int]) -> dict[str, float]:
    """Above which score each source is anomalous."""
    return {name: detector.judging.usual[number].limits.alarm for name, number in numbers.items()}


def _options(args: argparse.Namespace) -> Options:
    from asd.inference.edge_events import name_for
    from asd.plant import options as plant

    own = {one.name for one in fields(plant.Options)}
    given = {name: value for name, value in vars(args).items() if value is not None}
    general = {name: value for name, value in given.items() if name in own}
    alone = ("source", "machine", "name", "commission", "out", "poll", "rate", "channels", "format", "speed")
    if args.config is not None:
        if wrong := [name for name in alone if name in given]:
            raise UserError(f"--config has sources of its own; leave out {', '.join(wrong)}, or give it there")
        return plant.read(args.config, general)
    missing = [name for name in ("source", "checkpoint") if name not in given]
    if missing:
        raise UserError(f"there is no {' and no '.join(missing)}; give SOURCE and --checkpoint, or --config")
    if args.out is not None and args.commission is None:
        raise UserError("--out goes with --commission")
    kind, place = _kind(args.source)
    source = {name: value for name, value in given.items() if name in alone[5:] or name == "machine"}
    name = args.name or name_for(Path({"-": "pipe"}.get(args.source, args.source)))
    return plant.Options(**general, sources={name: plant.SourceOptions(**{kind: place}, **source)})


def _kind(source: str) -> tuple[str, Any]:
    if source == "-":
        return "pipe", Path(source)
    if source == "microphone":
        return "microphone", "default"
    return "folder" if Path(source).is_dir() else "file", Path(source)


def _commission(args: argparse.Namespace, detector: Detector, number: int, budget: str | float) -> Commission | None:
    from asd.inference.commission import Commission, seconds_of

    if args.commission is None:
        return None
    return Commission(detector, number, seconds_of(args.commission), budget)


def _teller(args: argparse.Namespace, titles: Mapping[str, str], outlets: Outlets) -> Callable[[Event], None]:
    from asd.cli.watch_lines import line

    lock = threading.Lock()

    def tell(event: Event) -> None:
        if event["type"] != "score" or args.scores:
            text = strict_json.dumps(event)
            said = "" if args.quiet else line(titles[event["source"]], event)
            with lock:
                print(text, flush=True)
                if said:
                    print(said, file=sys.stderr, flush=True)
        outlets.take(event)

    return tell


def _alone(
    args: argparse.Namespace,
    options: Options,
    numbers: Mapping[str, int],
    model: OneModel,
    tell: Callable[[Event], None],
    state: State,
    commission: Commission | None,
) -> int:
    """Listen to the one source of the command line, until it ends."""
    from asd.inference.rewriting import rewrite
    from asd.plant.clips import Clips
    from asd.plant.listener import Listener

    ((name, number),) = numbers.items()
    source = options.sources[name]

    def keep(found: Calibrated) -> None:
        if args.out is not None and commission is not None:
            rewrite(
                options.checkpoint, args.out, model.detector, found, "commission", args.source, commission.false_alarms
            )

    clips = None if options.clips is None else Clips(options.clips, options.clips_mb)
    listener = Listener(name, number, options, model, tell, state, clips, commission, keep)
    if source.folder is not None:
        listener.folder(source.folder, source.poll, follow=not args.once)
    else:
        _stream(listener, source, options.buffer)
    return 1 if listener.watcher.events else 0


def _stream(listener: Listener, source: SourceOptions, held: float) -> None:
    from asd.inference import stream

    rate, name = source.rate, str(source.file)
    if source.pipe is not None:
        if sys.stdin is None:
            raise UserError("standard input is closed; pipe raw samples into `asd watch -`")
        blocks, name = stream.from_pipe(sys.stdin.buffer, rate, source.channels, source.format), "the pipe"
    elif source.microphone is not None:
        blocks, name = stream.from_microphone(rate, source.channels), "microphone"
    else:
        path = source.file or Path()
        rate = stream.rate_of(path, listener.watcher.detector.cut.channel)
        blocks = stream.from_file(path, source.speed)
    if source.live or source.speed > 0:
        blocks = stream.buffered(blocks, held, rate)
    listener.stream(blocks, rate, name, source.live)
