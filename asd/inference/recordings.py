"""Whether what a detector is given was recorded as what it has learned from."""

from __future__ import annotations

from typing import Literal, get_args

from asd.data.audio import band as bands
from asd.data.audio.decoding import AudioError
from asd.data.audio.recorded import Meter
from asd.data.audio.usual_recording import UsualRecording, remark
from asd.errors import UserError
from asd.inference.windows import Cut
from asd.scoring.sections import SectionScorers

RecordedOtherwise = Literal["remark", "refuse", "ignore"]


class KnownRecordings:
    """How the normal sound of each machine was recorded, as far as the checkpoint tells.

    Args:
        sections: What is kept of the normal clips.
        cut: What the detector hears of a recording.
        otherwise: What follows where one was recorded otherwise: a remark, an error, or nothing.

    Raises:
        UserError: No such choice, or what the checkpoint says is broken.
    """

    def __init__(self, sections: SectionScorers, cut: Cut, otherwise: RecordedOtherwise = "remark") -> None:
        if otherwise not in get_args(RecordedOtherwise):
            choices = ", ".join(get_args(RecordedOtherwise))
            raise UserError(f"recorded_otherwise is {otherwise!r}; choose one of {choices}")
        self.otherwise = otherwise
        self.sample_rate = cut.sample_rate
        self.band = None if cut.band is None else bands.stop(cut.band)
        texts = [bytes(sections.normal_clips(number).recorded.tolist()) for number in range(len(sections.names))]
        self.usual = [UsualRecording.from_json(text) if text else None for text in texts]

    def remarks(self, number: int, meter: Meter | None, name: str = "") -> tuple[str, ...]:
        """What is to be said of a recording that `meter` heard, for the section of that number.

        Raises:
            AudioError: It was recorded otherwise, and such recordings are refused.
        """
        usual = self.usual[number]
        if usual is None or meter is None or self.otherwise == "ignore":
            return ()
        recorded = meter.recorded()
        if recorded is None:
            return ()
        told = remark(usual.otherwise(recorded, self.sample_rate, self.band))
        if told and self.otherwise == "refuse":
            raise AudioError(
                f"{name or 'the samples'}: {told}; record it as the normal sound was, or let it be scored with a "
                "remark (--recorded-otherwise remark)"
            )
        return (told,) if told else ()
