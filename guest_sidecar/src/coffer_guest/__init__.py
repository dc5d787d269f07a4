"""The guest agent and the launcher that run beside and around a database engine.

Their processes are many and short, and most of their time is imports: what those make lives until
the end. To look through it for garbage as often as Python does unasked is a tenth of it.
"""

import gc
from typing import Final

USUAL_THRESHOLD: Final = gc.get_threshold()[0]

gc.set_threshold(20_000)
