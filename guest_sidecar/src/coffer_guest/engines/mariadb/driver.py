"""The driver, pymysql, without what a unix socket does not need.

pymysql imports cryptography where it finds it, for password exchanges over TCP; that is 6 MiB in
an agent that idles, and never used: the agent's account has no password.
"""

import sys

_CRYPTOGRAPHY = "cryptography"
_hidden = _CRYPTOGRAPHY not in sys.modules
if _hidden:
    sys.modules[_CRYPTOGRAPHY] = None  # type: ignore[assignment] # how import spells "not here"
try:
    import pymysql
    from pymysql.connections import Connection
finally:
    if _hidden:
        del sys.modules[_CRYPTOGRAPHY]

__all__ = ["Connection", "pymysql"]
