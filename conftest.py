"""For all tests: property tests give the same result each time, however busy the machine is.

HYPOTHESIS_PROFILE=explore looks further, and elsewhere each time.
"""

import os

from hypothesis import settings

settings.register_profile("gate", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
