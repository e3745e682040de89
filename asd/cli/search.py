"""`asd fit --search`: trains with one draw of options after the other, and chooses without any label.

Each trial is an `asd fit` in a process of its own, whose scorer is judged by pseudo-anomalies made of normal clips, as
by `asd rescore --choose pseudo`. What is known lies in a journal, which further processes and later calls go on with.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from asd.cli.arguments import options
from asd.cli.search_space import Space, as_options, extremes, read_space
from asd.errors import UserError

if TYPE_CHECKING:
    from filelock import FileLock
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

_FLAGS = ("--search", "--search.trials", "--search.folder")
_INTERRUPTED = "interrupted"
_KINDS = "pseudo"


@dataclass(frozen=True)
class Asked:
    """What is searched, and where.

    Attributes:
        space: File of what may be drawn.
        trials: How many there shall be in all, those of other processes and earlier calls included.
        folder: Of the journal and the runs.
        fit: The arguments of `asd fit`, without those of the search.
    """

    space: str
    trials: int
    folder: Path
    fit: list[str]


def asks_for_search(arguments: Sequence[str]) -> bool:
    """Whether the arguments of `asd fit` say anything of a search."""
    return any(one.partition("=")[0] in _FLAGS for one in arguments)


def parse(arguments: list[str]) -> Asked:
    """The arguments of the search apart from those of `asd fit`.

    Raises:
        UserError: No file to search by, or no trials.
    """
    found = list(options(arguments, _FLAGS))
    given = {arguments[at].partition("=")[0]: value for at, _, value in found}
    taken = {place for at, length, _ in found for place in range(at, at + length)}
    if "--search" not in given:
        raise UserError(f"{', '.join(given) or 'a search'} needs --search FILE, such as --search search/training")
    space, trials = given["--search"], given.get("--search.trials", "20")
    if not trials.isascii() or not trials.isdigit() or int(trials) < 1:
        raise UserError(f"--search.trials {trials}: give how many, 1 or more")
    folder = Path(given.get("--search.folder") or f"runs/search/{Path(space).stem}")
    fit = [one for place, one in enumerate(arguments) if place not in taken]
    return Asked(space, int(trials), folder, fit)


def run(given: list[str], without_plugins: list[str]) -> int:
    """Search, print what was best and the command that comes next; returns the exit code.

    Args:
        given: After ``fit``.
        without_plugins: The same without ``--plugin``, whose modules are loaded.
    """
    asked = parse(given)
    space = _space(asked, parse(without_plugins).fit)
    study = _study(asked)
    while begun := _draw(study, asked, space):
        with begun.lock:
            _try(study, asked, begun.trial)
    _write_table(study, asked.folder / "trials.csv")
    done = [one for one in study.get_trials(deepcopy=False) if one.value is not None]
    if not done:
        raise UserError(f"no trial ended; the last lines of {asked.folder}/trial_*.log say why")
    best, kept = study.best_trial, as_options(study.best_trial.params)
    failed = _begun(study) - len(done)
    print(f"best of {len(done)} trials{f', {failed} failed' if failed else ''}: pseudo-AUC {100 * best.value:.2f}")  # type: ignore[operator]
    print(" ".join(kept))
    print(f"next: asd fit {shlex.join([*asked.fit, *kept])}")
    print(_place(asked, best.number))
    return 0


def _space(asked: Asked, fit: list[str]) -> Space:
    """What may be drawn, each option of which `asd fit` understands."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"{error}; --search needs one more package: pip install 'asd-zoo[search]'") from error
    from asd.cli.training import run_trainer

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = read_space(asked.space)
    for drawn in extremes(space):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            run_trainer(["fit", *fit, *as_options(drawn), "--print_config"])
    return space


def _study(asked: Asked) -> Study:
    """The study in the folder, which is of the same arguments."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = asked.folder / "journal.log"
    try:
        asked.folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size:
            with path.open(encoding="utf-8") as file:
                json.loads(file.readline())["op_code"]  # or else it would be written to
        # Links, its other way to lock, are not to be had on every system.
        backend = JournalFileBackend(str(path), JournalFileOpenLock(str(path)))
        study = optuna.create_study(
            storage=JournalStorage(backend), study_name="search", direction="maximize", load_if_exists=True
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no journal of a search; name another --search.folder") from error
    except OSError as error:
        raise UserError(f"cannot write to {asked.folder}: {error.strerror}; name another --search.folder") from error
    of = study.user_attrs.setdefault("fit", asked.fit)
    if of != asked.fit:
        raise UserError(
            f"{asked.folder} holds a search of `asd fit {shlex.join(of)}`; give the same arguments, or another "
            "--search.folder"
        )
    study.set_user_attr("fit", asked.fit)
    return study


def _begun(study: Study) -> int:
    """Trials that are done, failed, or at work somewhere."""
    from optuna.trial import TrialState

    there = study.get_trials(deepcopy=False)
    return sum(not _was_interrupted(study, one) and one.state != TrialState.WAITING for one in there)


def _was_interrupted(study: Study, trial: FrozenTrial) -> bool:
    return f"{_INTERRUPTED} {trial.number}" in study.user_attrs


class _Begun(NamedTuple):
    trial: Trial
    lock: FileLock


def _draw(study: Study, asked: Asked, space: Space) -> _Begun | None:
    """A trial that this process has locked; ``None``: there are as many as were asked for.

    Trials of processes that are gone are not waited for: what they drew is tried again.
    """
    from filelock import FileLock, Timeout
    from optuna.trial import TrialState

    with FileLock(asked.folder / "drawing.lock"):  # one process at a time, or there would be too many
        for one in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            with contextlib.suppress(Timeout), FileLock(_place(asked, one.number, ".lock"), timeout=0):
                _withdraw(study, one)
        if _begun(study) >= asked.trials:
            return None
        try:
            trial = study.ask(space)
        except ValueError as error:
            raise UserError(f"{asked.folder} holds a search of other values; name another --search.folder") from error
        lock = FileLock(_place(asked, trial.number, ".lock"))
        lock.acquire()
        return _Begun(trial, lock)


def _withdraw(study: Study, trial: FrozenTrial | Trial) -> None:
    from optuna.trial import TrialState

    study.set_user_attr(f"{_INTERRUPTED} {trial.number}", True)
    study.tell(trial.number, state=TrialState.FAIL)
    study.enqueue_trial(trial.params)


def _place(asked: Asked, number: int, ending: str = "") -> Path:
    return asked.folder / f"trial_{number:03d}{ending}"


def _try(study: Study, asked: Asked, trial: Trial) -> None:
    """Train as was drawn, and judge."""
    from optuna.trial import TrialState

    start, drawn = time.monotonic(), as_options(trial.params)
    print(f"trial {trial.number}: {' '.join(drawn)}", flush=True)
    try:
        _fit(asked, drawn, trial.number)
        kinds = _judge(_place(asked, trial.number))
    except UserError as error:
        study.tell(trial, state=TrialState.FAIL)
        print(f"trial {trial.number} failed: {error}", file=sys.stderr, flush=True)
        return
    except BaseException:
        _withdraw(study, trial)
        print(f"what is done is kept in {asked.folder}; the same command goes on", file=sys.stderr, flush=True)
        raise
    value = sum(kinds.values()) / len(kinds)
    trial.set_user_attr(_KINDS, kinds)
    study.tell(trial, value)
    told = ", ".join(f"{kind} {100 * area:.1f}" for kind, area in kinds.items())
    spent = time.monotonic() - start
    print(f"trial {trial.number}: pseudo-AUC {100 * value:.2f} ({told}), {spent:.0f} s", flush=True)


def _fit(asked: Asked, drawn: list[str], number: int) -> None:
    """Train, test, and store the embeddings; what is said goes to a file."""
    own = _place(asked, number)
    place = [f"--trainer.logger.save_dir={own.parent.parent}", f"--trainer.logger.name={own.parent.name}",
             f"--trainer.logger.version={own.name}", "--outputs.embeddings=true"]  # fmt: skip
    log = _place(asked, number, ".log")
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "asd", "fit", *asked.fit, *drawn, *place], stdout=said, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait()
        finally:
            process.kill()
            process.wait()
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        told = lines[-1].removeprefix("asd: error: ") if lines else f"exit code {code}"
        raise UserError(f"{told} ({log})")


def _judge(run: Path) -> dict[str, float]:
    """The AUC of the run's scorer against pseudo-anomalies of each kind, as fractions."""
    from asd.configured import configured
    from asd.evaluation import embedding_store, pseudo_anomalies
    from asd.run_folder import RunFolder
    from asd.scoring import Scorer
    from asd.training.network import USUAL
    from asd.utils.yaml_file import read_yaml

    reference = embedding_store.read(run).reference
    spec = read_yaml(RunFolder(run).config)["model"]["scorer"]
    scorer = USUAL["scorer"]() if spec is None else configured(spec, Scorer, importing=True)  # type: ignore[type-abstract]
    return pseudo_anomalies.pseudo_auc(pseudo_anomalies.trial([reference]), reference, scorer)


def _rows(study: Study) -> Iterator[list[Any]]:
    trials = study.get_trials(deepcopy=False)
    names = sorted({name for one in trials for name in one.params})
    kinds = list(dict.fromkeys(kind for one in trials for kind in one.user_attrs.get(_KINDS, ())))
    yield ["trial", "state", "pseudo-AUC", *kinds, *names]
    for one in trials:
        areas = one.user_attrs.get(_KINDS, {})
        state = _INTERRUPTED if _was_interrupted(study, one) else one.state.name.lower()
        yield [one.number, state, one.value, *(areas.get(kind) for kind in kinds), *map(one.params.get, names)]


def _write_table(study: Study, path: Path) -> None:
    from asd.utils.files import replace_text

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_rows(study))
    replace_text(path, text.getvalue())
