"""Choice without labels, on embeddings of which it is known what they tell."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from asd.cli import choice
from asd.errors import Notice, UserError
from asd.evaluation import embedding_store, pseudo_anomalies
from asd.evaluation.embedding_store import Stored, StoredClip
from asd.machine import MachineSection
from asd.scoring import BEAMScorer, KMeansScorer, NeighboursScorer, Scorer

MACHINES = ("fan", "valve", "pump")
WIDTH = 16
Facts = tuple[str, str, str]


def clips(calibration: bool = False) -> list[tuple[StoredClip, Facts]]:
    """Twenty normal clips of three attributes in the source domain and six of two in the target domain, a machine."""
    found = []
    for machine in MACHINES:
        for number in range(78):
            target = number >= 60
            attributes = f"spd_{number % 3}" if not target else f"spd_{3 + number % 2}"
            facts = (machine, "target" if target else "source", attributes)
            kept = calibration and number % 5 == 0
            clip = StoredClip(f"t{number}.wav", machine, "00", facts[1], "normal", attributes, "", kept)
            found.append((clip, facts))
    return found


def told(part: Callable[[Facts], object], noise: float = 0.3, calibration: bool = False) -> Stored:
    """Embeddings that tell apart what `part` says of a clip, as points drawn at random, and nothing else."""
    generator = torch.Generator().manual_seed(5)
    places: dict[object, Tensor] = {}
    rows = []
    for _, facts in clips(calibration):
        key = part(facts)
        if key not in places:
            places[key] = torch.randn(WIDTH, generator=generator)
        rows.append(places[key] + noise * torch.randn(WIDTH, generator=generator))
    return Stored(torch.stack(rows), tuple(clip for clip, _ in clips(calibration)), "a", 10.0)


def all_of_it(facts: Facts) -> object:
    return facts


def nothing(facts: Facts) -> object:
    return None


def areas(stored: Stored, scorer: Scorer | None = None) -> dict[str, float]:
    return pseudo_anomalies.pseudo_auc(pseudo_anomalies.trial([stored]), stored, scorer or NeighboursScorer())


@pytest.mark.parametrize("scorer", [NeighboursScorer(), KMeansScorer(8)], ids=["neighbours", "k-means"])
def test_an_embedding_that_tells_all_is_good_and_one_that_tells_nothing_is_chance(scorer: Scorer) -> None:
    good, bad = areas(told(all_of_it), scorer), areas(told(nothing, noise=1.0), scorer)
    assert set(good) == set(bad) == {"shuffled", "attribute", "domain", "machine"}
    # Halves of clips of one attribute make another clip of it: a third of those of the source domain.
    assert 0.75 < good.pop("shuffled") < 0.95
    assert min(good.values()) > 0.99
    # Below it, because what is held out is a part of the cloud, and what it is compared with is all of it.
    assert max(bad.values()) < 0.55


@pytest.mark.parametrize(
    ("part", "heard"),
    [
        (lambda facts: facts[0], {"machine"}),
        (lambda facts: facts[1], {"domain", "shuffled"}),
        (lambda facts: facts[2], {"attribute", "domain", "shuffled"}),
    ],
    ids=["machine", "domain", "attribute"],
)
def test_each_kind_says_what_an_embedding_tells(part: Callable[[Facts], object], heard: set[str]) -> None:
    found = areas(told(part))
    assert {kind for kind, value in found.items() if value > 0.62} == heard, found


def test_nothing_that_is_judged_was_fitted_on() -> None:
    stored = told(all_of_it)
    sure = pseudo_anomalies.trial([stored])
    assert len(sure.splits) == len(MACHINES)
    judged: list[int] = []
    for section, own in sure.splits.items():
        for split in own:
            fitted, normal = ([stored.clips[row] for row in rows.tolist()] for rows in (split.fitted, split.normal))
            assert {clip.machine_section for clip in fitted + normal} == {section}
            assert not {clip.name for clip in fitted} & {clip.name for clip in normal}
            strange = {kind: [stored.clips[row] for row in rows.tolist()] for kind, rows in split.anomalies.items()}
            values = {clip.attributes for clip in fitted + normal}
            assert not values & {clip.attributes for clip in strange.get("attribute", [])}
            assert section not in {clip.machine_section for clip in strange.get("machine", [])}
            if "domain" in strange:
                assert {clip.domain for clip in fitted + normal} == {"source"}
                assert {clip.domain for clip in strange["domain"]} == {"target"}
            else:
                judged += split.normal.tolist()
    assert len(judged) == len(set(judged)), "held out once"
    assert len(judged) > 0.5 * len(stored.clips)


def test_near_copies_are_held_out_together() -> None:
    stored = told(nothing, noise=1.0)
    first = [row - row % 78 + (row % 78 - 6 if row % 78 % 12 >= 6 else row % 78) for row in range(len(stored.clips))]
    shaken = 0.001 * torch.randn(stored.embeddings.shape, generator=torch.Generator().manual_seed(1))
    copies = dataclasses.replace(stored, embeddings=stored.embeddings[first] + shaken)
    for own in pseudo_anomalies.trial([copies]).splits.values():
        for split in own:
            assert not {first[row] for row in split.fitted.tolist()} & {first[row] for row in split.normal.tolist()}
    # Held out one by one, each would be known by its copy.
    assert areas(copies)["machine"] < 0.55


def test_clips_kept_for_calibration_are_judged_by_alone() -> None:
    stored = told(all_of_it, calibration=True)
    found = pseudo_anomalies.trial([stored])
    assert found.kinds == pseudo_anomalies.KINDS
    asked = {
        row for own in found.splits.values() for split in own for rows in (split.normal, *split.anomalies.values())
        for row in rows.tolist()
    }  # fmt: skip
    assert all(stored.clips[row].calibration for row in asked)


def test_an_encoder_that_has_put_its_training_clips_closer_gains_nothing_by_it() -> None:
    stored = told(nothing, noise=1.0, calibration=True)
    trained = torch.tensor([not clip.calibration for clip in stored.clips])
    own = torch.tensor([hash(MACHINES.index(clip.machine)) for clip in stored.clips])
    rows = stored.embeddings.clone()
    rows[trained] = 0.01 * rows[trained] + 5 * torch.eye(WIDTH)[own[trained]]
    assert abs(areas(dataclasses.replace(stored, embeddings=rows))["machine"] - 0.5) < 0.15


def test_a_store_gives_the_kinds_that_it_can() -> None:
    whole = told(all_of_it)
    rows = [row for row, clip in enumerate(whole.clips) if clip.machine == "fan" and clip.attributes == "spd_1"]
    one = dataclasses.replace(whole, embeddings=whole.embeddings[rows], clips=tuple(whole.clips[row] for row in rows))
    found = pseudo_anomalies.trial([one])
    assert found.kinds == ("shuffled",)
    with pytest.raises(UserError, match=r"no pseudo-anomalies of domain, machine.* choose by shuffled"):
        found.only(["domain", "shuffled", "machine"])
    chosen = pseudo_anomalies.trial([whole]).only(["machine"])
    assert set(pseudo_anomalies.pseudo_auc(chosen, whole, NeighboursScorer())) == {"machine"}


def test_where_nothing_can_be_held_out_it_is_said() -> None:
    stored = told(all_of_it)
    one = [dataclasses.replace(clip, group="day" if clip.machine == "fan" else "") for clip in stored.clips]
    with pytest.warns(Notice, match="fan_section_00: too few recordings to hold any out"):
        found = pseudo_anomalies.trial([dataclasses.replace(stored, clips=tuple(one))])
    assert MachineSection("fan", "00") not in found.splits
    whole = tuple(dataclasses.replace(clip, group=clip.machine) for clip in stored.clips)
    alone = dataclasses.replace(stored, clips=whole)
    with pytest.warns(Notice), pytest.raises(UserError, match="no machine has recordings that can be held out"):
        pseudo_anomalies.trial([alone])


def test_a_scorer_is_told_of_the_bands_and_stays_as_it_was() -> None:
    stored = dataclasses.replace(told(all_of_it), bands=4)
    told_so, given = BEAMScorer(), BEAMScorer(bands=4)
    assert areas(stored, told_so) == areas(stored, given)
    assert not bool(told_so.fitted)


def test_scores_that_are_not_finite_are_named() -> None:
    class Broken(NeighboursScorer):
        def forward(self, embeddings: Tensor) -> Tensor:
            return torch.full((len(embeddings),), torch.nan)

    with pytest.raises(UserError, match="fan_section_00: Broken gave scores that are not finite"):
        areas(told(all_of_it), Broken())


# -- from the command line


def written(folder: Path, **vectors: Stored) -> Path:
    """A run with these vectors of each clip; by the labels of its test clips only one that is called noise is right."""
    asked = [
        StoredClip(f"q{number}.wav", machine, "00", domain, condition, "", "")
        for machine in MACHINES
        for number, (domain, condition) in enumerate(itertools.product(("source", "target"), ("normal", "anomaly")))
    ]
    query = {}
    for name, stored in vectors.items():
        rows = []
        for clip in asked:
            own = [row for row, one in enumerate(stored.clips) if one.machine == clip.machine]
            like_normal = (clip.condition == "normal") == (name == "noise")
            rows.append(stored.embeddings[own].mean(0) * (1 if like_normal else -1))
        query[name] = dataclasses.replace(stored, embeddings=torch.stack(rows), clips=tuple(asked))
    for place, parts in (("reference", vectors), ("query", query)):
        (usual, first), *others = parts.items()
        whole = dataclasses.replace(first, what=usual, others={name: (one.embeddings, 1) for name, one in others})
        embedding_store.write(folder / "embeddings" / f"{place}.safetensors", whole)
    return folder


def test_the_option_names_the_kinds_that_there_are() -> None:
    assert choice.KINDS == pseudo_anomalies.KINDS


def test_the_layer_that_tells_something_is_chosen_and_the_labels_are_not_asked(here, tmp_path: Path) -> None:
    folder = written(tmp_path, noise=told(nothing, noise=1.0), layer=told(all_of_it))
    done = here("rescore", folder, "--scorer", "NeighboursScorer", "--what", "all", "--choose", "pseudo")
    first = next(line for line in done.stdout.splitlines() if line.startswith("*"))
    assert first.startswith("* layer: NeighboursScorer")
    kinds = "shuffled, attribute, domain, machine"
    assert f"is chosen by pseudo-AUC ({kinds}), without any test clip: layer: " in done.stdout
    best = yaml.safe_load((tmp_path / "rescored/best.yaml").read_text())
    assert best["model"]["adapter"]["init_args"]["embedding"] == "layer"
    table = (tmp_path / "rescored/rescored.csv").read_text().splitlines()
    assert table[0].startswith("back end,pseudo-AUC,shuffled,attribute,domain,machine,official score,")
    official = {line.split(":")[0]: float(line.split(",")[6]) for line in table[1:]}
    assert official["noise"] > official["layer"]
    regret = official["noise"] - official["layer"]
    assert f"Regret: {regret:.2f} points below the best by the labels of the test clips, noise: Neigh" in done.stdout
    assert f"a row drawn at random has {regret / 2:.2f} on average" in done.stdout
    done = here("rescore", folder, "--scorer", "NeighboursScorer", "--what", "all")
    assert "*" not in done.stdout
    assert "The order follows the labels" in done.stdout
    assert (tmp_path / "rescored/rescored.csv").read_text().splitlines()[1].startswith("noise: ")


def test_runs_are_ranked_like_layers(here, tmp_path: Path) -> None:
    epochs = [told(nothing, 1.0), told(all_of_it, 0.3), told(all_of_it, 0.9)]
    runs = [written(tmp_path / f"epoch=00{number}", projected=one) for number, one in enumerate(epochs, 1)]
    grid = tmp_path / "grid.yaml"
    grid.write_text("[NeighboursScorer, {class_path: KMeansScorer, init_args: {k: 8}}]")
    options = ("--grid", grid, "--choose", "shuffled", "attribute", "--out", "chosen")
    done = here("rescore", *runs, *options)
    lines = [line for line in done.stdout.splitlines() if "epoch=" in line and "Scorer" in line]
    assert [line.split("epoch=00")[1][0] for line in lines[:6]] == list("223311")
    assert "(shuffled, attribute)" in done.stdout
    assert (tmp_path / "chosen/best.yaml").is_file()
    assert "add --out DIR" in here("rescore", *runs, *options[:-2], expect=2).stderr
    other = written(tmp_path / "other", projected=told(all_of_it, calibration=True))
    done = here("rescore", runs[0], other, *options, expect=2)
    assert "other, reference clips: " in done.stderr
    assert "only runs on the same clips, with the same kept for calibration, can be ranked" in done.stderr


def test_without_labels_the_choice_is_the_same_and_has_no_regret(here, tmp_path: Path) -> None:
    vectors = {"noise": told(nothing, noise=1.0), "layer": told(all_of_it)}
    folder = written(tmp_path, **vectors)
    path = folder / "embeddings/query.safetensors"
    query = embedding_store.read_file(path)
    hidden = tuple(dataclasses.replace(clip, domain=None, condition=None) for clip in query.clips)
    embedding_store.write(path, dataclasses.replace(query, clips=hidden))
    done = here("rescore", folder, "--scorer", "NeighboursScorer", "--what", "all", "--choose", "pseudo")
    assert "* layer: NeighboursScorer" in done.stdout
    assert "Regret" not in done.stdout


def test_two_ways_to_choose_are_refused(here, tmp_path: Path) -> None:
    folder = written(tmp_path, projected=told(all_of_it))
    done = here("rescore", folder, "--scorer", "KMeansScorer", "--choose", "labels", "machine", expect=2)
    assert "--choose labels machine: give labels, pseudo, or kinds of pseudo-anomalies" in done.stderr
