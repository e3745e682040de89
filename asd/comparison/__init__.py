"""Frozen encoders beside one another: embedded, scored and ranked, with what each costs."""

import lazy_loader

# What is public is listed in the stub beside this file, and imported when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
