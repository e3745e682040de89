"""Public contract checks: run them on your own plug-ins, in your own tests.

Each raises `AssertionError` with what is broken. ``check_encoder(MyEncoder())``, ``check_head(MyHead())``,
``check_scorer(MyScorer())``, ``check_threshold(MyThreshold())``, ``check_augmentation(MyAugmentation())``,
``check_datamodule(MyData(...))``; ``write_dataset`` writes a few short clips to check on.
"""

import lazy_loader

# What is public is listed in the stub beside this file, and imported when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
