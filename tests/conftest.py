"""The Hypothesis profile, and nothing else."""

import os

from hypothesis import settings

# A deadline would make a busy machine look like a bug. CI draws the same cases every time, so that what it says about a
# change is due to the change; elsewhere each run looks at new ones.
settings.register_profile("postroom", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("postroom")
