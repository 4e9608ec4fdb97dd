"""On whose behalf something is done: the key, else the address, of the request that this task answers.

A context variable and no argument, because everything between the door and the queue of rows would only hand it on.
"""

from contextvars import ContextVar

NOBODY = ""
CALLER: ContextVar[str] = ContextVar("adavae_caller", default=NOBODY)
