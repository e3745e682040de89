"""The packages, which pyproject.toml can either find or rename, not both."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["asd", "asd.*"]), "asd_plugins", "asd_configs"])
