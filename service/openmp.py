"""How torch's CPU threads wait for each other; set before torch is imported, which is when OpenMP reads it.

By default they spin. Where another program wants the same cores, such as a training run beside the service, every small
operation then lasts until the scheduler's next tick: a service of tiny weights was seven times slower so.
"""

import os

_POLICY = "OMP_WAIT_POLICY"


def wait_without_spinning() -> None:
    """Lets waiting threads sleep, unless the environment asks for something else."""
    os.environ.setdefault(_POLICY, "passive")
