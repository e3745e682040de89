"""Whether clips are as long as the encoder is built for."""

from __future__ import annotations

from asd.data.datamodule import ClipDataModule
from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.utils.log import notice


def check_length(encoder: Encoder, data: ClipDataModule, training: bool) -> None:
    """Tell where clips are trimmed or padded.

    Raises:
        UserError: They are cropped in `training` to less than what the encoder is built for.
    """
    length, name = encoder.seconds, type(encoder).__name__
    if length is None:
        return
    if length != data.seconds:
        notice(
            f"clips of {data.seconds:g} s (data.seconds) are trimmed or padded to the {length:g} s that "
            f"{name} is built for"
        )
    if training and (data.crop_seconds or length) < length:
        raise UserError(
            f"data.crop_seconds is {data.crop_seconds:g} but {name} is built for {length:g} s; set data.crop_seconds "
            "to null"
        )
