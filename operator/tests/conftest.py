"""What all tests of the operator share."""

import asyncio

# pytest-asyncio asks for the current loop before each test, and asyncio makes one where none was
# ever set: nobody closes that one. Setting none says that none is wanted.
asyncio.set_event_loop(None)
