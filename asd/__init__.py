"""Unsupervised anomalous sound detection: a Lightning application with a plug-in model zoo.

Nothing heavy is imported here, so that ``asd --help`` answers at once; what is named below is, when it is asked for.
"""

import lazy_loader

# What is public is listed in the stub beside this file, and imported when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
