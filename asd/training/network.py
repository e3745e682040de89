"""What a checkpoint holds and a detector needs: encoder, adapter, head and scorers, without trainer or data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from asd.encoders.adapter import Adapter
from asd.encoders.base import Encoder
from asd.heads import AdaCos, EnsembleHead, FeatureExchange, Head
from asd.machine import MachineSection
from asd.scoring.base import Scorer
from asd.scoring.kmeans import KMeansScorer
from asd.scoring.sections import SectionScorers
from asd.scoring.threshold import GammaThreshold, Threshold
from asd.training import checkpoints

USUAL: dict[str, type[Any]] = {"head": AdaCos, "scorer": KMeansScorer, "threshold": GammaThreshold}
"""What a detector has where nothing is said of these parts, by the name of the argument."""


class Network(nn.Module):
    """Embeds waveforms and scores the embeddings; knows nothing of Lightning.

    Args:
        encoder: Turns waveforms into features.
        adapter: Turns features into embeddings; ``None``: mean pooling alone.
        head: Classification loss; ``None``: AdaCos.
        scorer: Prototype of the scorer of each machine and section; ``None``: K-means.
        threshold: How a machine's decision threshold follows from its training scores; ``None``: 0.9 quantile of a
            gamma distribution fitted to them.

    Attributes:
        classes: Names of the auxiliary classes, after `build`.
        sections: A scorer for each machine and section, after `build`.
        config: The configuration that it was made from, for the checkpoint; ``None``: not known.
        exchange: Of the encoder's branches between training clips, which only training has.
    """

    def __init__(
        self,
        encoder: Encoder,
        adapter: Adapter | None = None,
        head: Head | None = None,
        scorer: Scorer | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.adapter = (Adapter() if adapter is None else adapter).build(
            encoder.layers, encoder.feature_dim, encoder.layout, encoder.members
        )
        self.head: Head = EnsembleHead.around(USUAL["head"]() if head is None else head, encoder.members)
        self.scorer: Scorer = USUAL["scorer"]() if scorer is None else scorer
        self.scorer.take_bands(self.adapter.scored_bands)
        self.threshold: Threshold = USUAL["threshold"]() if threshold is None else threshold
        self.exchange: FeatureExchange | None = None
        self.classes: tuple[str, ...] = ()
        self.sections = SectionScorers(self.scorer, self.threshold, ())
        self.config: dict[str, Any] | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def fitted(self) -> bool:
        """Whether the scorers are fitted, so that clips can be scored without reference clips."""
        return self.sections.fitted

    def build(self, classes: Sequence[str], sections: Sequence[MachineSection | str]) -> None:
        """Create the head for the auxiliary `classes` and an unfitted scorer for each of the machines' `sections`."""
        if self.classes != tuple(classes):
            self.classes = tuple(classes)
            self.head.build(self.adapter.head_dim, max(1, len(classes)))
            self.head.to(self.device)
            if self.exchange is not None:
                self.exchange.build(self.adapter.head_dim, max(1, len(classes)))
                self.exchange.to(self.device)
        if list(self.sections.names) != sorted(map(str, sections)):
            self.sections = SectionScorers(self.scorer, self.threshold, sections).to(self.device)

    def build_as_in(self, checkpoint: dict[str, Any]) -> None:
        """Build head and scorers as they are in a checkpoint; leave out scorers that were configured differently.

        Raises:
            UserError: A file of another program.
        """
        described = checkpoints.read_description(checkpoint)
        checkpoint["state_dict"] = checkpoints.current_state(checkpoint["state_dict"])
        self.build(described["classes"], described["sections"])
        # The prototype, which is never fitted, is made of other parts where it is configured otherwise.
        own: dict[str, nn.Module] = {"scorer.": self.scorer}
        if checkpoints.scoring_differs(described["config"], self.config):
            own["sections."] = self.sections
        # Of training alone: left out of what only scores, and begun where the run had none.
        if self.exchange is None or not any(key.startswith("exchange.") for key in checkpoint["state_dict"]):
            own["exchange."] = nn.Module() if self.exchange is None else self.exchange
        for prefix, module in own.items():
            for key in [key for key in checkpoint["state_dict"] if key.startswith(prefix)]:
                del checkpoint["state_dict"][key]
            checkpoint["state_dict"].update({prefix + key: value for key, value in module.state_dict().items()})

    def embed(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to the embeddings ``(B, E)`` that are scored, float32."""
        embeddings: Tensor = self.adapter.embed(self.encoder(waveform))
        return embeddings.float()

    def forward(self, waveform: Tensor, section: Tensor) -> Tensor:
        """``(B, T)`` and the numbers of sections ``(B,)`` to anomaly scores ``(B,)``; higher is more anomalous."""
        scores: Tensor = self.sections(self.embed(waveform), section)
        return scores
