"""Modules that have no memory for their weights yet: to be filled from a file, or only asked for their shapes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode


class _Uninitialised(TorchFunctionMode):
    """Leaves out ``torch.nn.init``. There is nothing to write to, and on the meta device a normal distribution would
    import torch's compiler, which takes a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        if getattr(func, "__module__", None) == init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_memory() -> Iterator[None]:
    """Modules made within have tensors on the meta device."""
    with torch.device("meta"), _Uninitialised():
        yield
