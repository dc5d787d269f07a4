"""For all tests: property tests give the same result each time, however busy the machine is."""

from hypothesis import settings

settings.register_profile("gate", deadline=None, derandomize=True)
settings.load_profile("gate")
