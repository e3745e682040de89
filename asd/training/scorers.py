"""The scorers of a detector, fitted once for all processes."""

from __future__ import annotations

from asd.data.datamodule import ClipDataModule
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.training import distributed
from asd.training.network import Network


def fitted_scorers(network: Network, bank: Bank, data: ClipDataModule) -> SectionScorers:
    """Scorers of the network's kind and sections on the reference clips in `bank`; every process has to ask.

    Every process holds the same rows and so makes the same checks; the first alone fits, and all take its state.

    Raises:
        UserError: A section has no clip, or an embedding is not finite.
    """
    known = network.sections
    bank.check(known.names)
    scorers = SectionScorers(network.scorer, network.threshold, known.names)
    if distributed.rank() == 0:
        scorers.fit(bank, data.seconds)
        if known.knows_spectra:
            scorers.take_spectra(known)
        for section, usual in data.recorded().items():
            scorers.normal_clips(scorers.index(section)).keep_recorded(usual.to_json())
    state = distributed.shared_state(scorers.state_dict())
    if distributed.rank() > 0:
        scorers.load_state_dict(state, assign=True)  # or what may be most of the memory would be there twice
    return scorers
