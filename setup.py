"""The package list; everything else about the distribution is in pyproject.toml.

The folders lie at the top level and are imported below `postroom`. setuptools cannot discover packages through such a
mapping, and a list written by hand would forget the next folder, so it is worked out here.
"""

from setuptools import find_packages, setup

ROOTS = ("core", "storage", "transports", "bench")

packages = [f"postroom.{root}" for root in ROOTS]
packages += [f"postroom.{root}.{inner}" for root in ROOTS for inner in find_packages(root)]

setup(packages=packages)
