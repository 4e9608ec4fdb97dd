"""From settings to a loaded model: the one place where commands open weights."""

import os
from functools import cache, partial
from typing import TYPE_CHECKING, Literal

from adavae.model.errors import AdaVAEError, ConfigError
from adavae.service.settings import Settings

if TYPE_CHECKING:
    import torch

    from adavae.model.storage.adapter_store import AdapterStore
    from adavae.model.storage.pretrained import PretrainedBackbone
    from adavae.model.text_model import TextModel
    from adavae.model.trial import SetTrial


def open_store(settings: Settings) -> "AdapterStore":
    """The installed adapter sets: the user's and the bundled ones.

    Raises:
        StoreUnusable: ``ADAVAE_DATA`` is an object store for which there is no library.
    """
    from adavae.model.storage.adapter_store import AdapterStore
    from adavae.service.objects.open_objects import open_objects

    bundled = (settings.bundled_adapters,)
    objects = open_objects(settings)
    if objects is None:
        return AdapterStore(settings.own_adapters, bundled=bundled)
    from adavae.service.objects.shared_sets import SharedSets

    return SharedSets(objects, settings.own_adapters, bundled, settings.store_cache_bytes)


def load_pretrained(
    settings: Settings, device: str | None, *, weight_format: str | None = None
) -> "PretrainedBackbone":
    """The configured backbone, on its device.

    Args:
        settings: Say where it is, its dtype, what the compiled code keeps its weights as, and the number of threads.
        device: ``auto``, ``cpu`` or ``cuda``, instead of the setting.
        weight_format: ``float16`` or ``int8``, instead of the setting: sets are trained and measured with float16.

    Raises:
        BackboneNotFound: There is no checkpoint.
        ConfigError: A GPU is requested, but there is none.
    """
    import torch

    from adavae.model.config import WeightFormat
    from adavae.model.storage.pretrained import load_backbone

    return load_backbone(
        settings.backbone_source,
        getattr(torch, settings.dtype),
        device=prepare_device(settings, device),
        weight_format=WeightFormat(weight_format or settings.weight_format),
    )


def open_trial(settings: Settings) -> "SetTrial":
    """What tries adapter sets over the configured backbone; if that cannot be loaded, only their size is checked."""
    from adavae.model.trial import SetTrial

    try:
        pretrained = load_pretrained(settings, None)
    except (AdaVAEError, OSError) as exc:
        return SetTrial(None, settings.bank_bytes, f"there is no backbone to try it with ({exc})")
    return SetTrial(pretrained, settings.bank_bytes, f"it is for another backbone than {settings.backbone}")


def load_text_model(settings: Settings, references: list[str], device: str | None = None) -> "TextModel":
    """The model over the configured backbone with these adapter sets; raises as ``TextModel.load`` does."""
    from adavae.model.text_model import TextModel

    return TextModel.load(load_pretrained(settings, device), open_store(settings), references)


def prepare_device(settings: Settings, device: str | None = None) -> "torch.device":
    """The device to compute on, after setting the number of threads; raises as ``choose_device`` does."""
    import torch

    if settings.threads:
        torch.set_num_threads(settings.threads)
    _compute_alone_after_a_fork()
    return choose_device(device or settings.device)


@cache
def _compute_alone_after_a_fork() -> None:
    """A forked process has none of the threads that torch's OpenMP counts on, and would wait for them for ever.

    The compiled code needs no such care: whoever calls it takes what no helper takes.
    """
    import torch

    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def choose_device(name: str) -> "torch.device":
    """``auto`` is the GPU if there is one, otherwise the CPU.

    Raises:
        ConfigError: No such device, or ``cuda`` without a GPU.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError("device", name, "must be auto, cpu or cuda")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ConfigError("device", name, "this machine has no GPU that torch can use: take cpu or auto")
    kind: Literal["cuda", "cpu"] = "cuda" if has_gpu and name != "cpu" else "cpu"
    return torch.device(kind)
