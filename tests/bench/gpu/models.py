"""What is measured: the bundled backbone with its five sets, random backbones with as many sets as wanted, texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.backbone import Backbone
from adavae.model.config import AdapterConfig, BackboneConfig
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.pretrained import load_backbone
from adavae.model.storage.tokenizer import Tokenizer

WEIGHTS = Path(__file__).parents[3] / "weights"
SMALL = BackboneConfig(vocab_size=300, n_positions=160, n_embd=64, n_layer=3, n_head=2, n_inner=256)
PAPER = AdapterConfig()
_SUBJECTS = ("the food", "the staff", "this place", "my room", "our waiter", "the pizza", "a man", "the second film")
_VERDICTS = ("was great .", "was terrible and cold .", "is the best in town , we will be back !", "took an hour .")


@dataclass(frozen=True, slots=True)
class Bundled:
    """The weights that come with the project; random ones of their shape where they are not in the checkout.

    Attributes:
        vae: On the CPU, float32.
        rows: Token ids of sentences.
        slots: A set for each of them, all sets in turn.
    """

    vae: AdaVAE
    rows: list[list[int]]
    slots: list[int]

    @classmethod
    def read(cls, num_rows: int) -> "Bundled":
        loaded = load_backbone(WEIGHTS / "backbone")
        store = AdapterStore(WEIGHTS / "nothing", bundled=(WEIGHTS / "adapters",))
        sets = [store.read(entry.reference) for entry in store.list()]
        configs = [adapter_set.manifest.config for adapter_set in sets]
        bank = AdapterBank(loaded.backbone.config, BankShape.covering(configs)).requires_grad_(False).eval()
        for slot, adapter_set in enumerate(sets):
            bank.load(slot, adapter_set.manifest.config, adapter_set.tensors)
        loaded.backbone.kernel = None  # PyTorch is the measure here
        rows = sentences(loaded.tokenizer, num_rows)
        return cls(AdaVAE(loaded.backbone, bank), rows, [row % len(sets) for row in range(num_rows)])

    @classmethod
    def random(cls, num_rows: int, config: BackboneConfig) -> "Bundled":
        sets = [replace(PAPER, encoder_layers=min(depth, config.n_layer), adapter_size=48) for depth in (2, 4, 6, 4, 6)]
        vae = random_vae(config, sets, torch.float32, torch.device("cpu"), std=0.1)
        return cls(vae, random_rows(num_rows, config, longest=24), [row % len(sets) for row in range(num_rows)])


def sentences(tokenizer: Tokenizer, num: int) -> list[list[int]]:
    texts = [
        " and ".join(f"{_SUBJECTS[(number + part) % 8]} {_VERDICTS[(number // 8 + part) % 4]}" for part in range(parts))
        for number in range(num)
        for parts in [1 + number % 3]
    ]
    return tokenizer.encode_many(texts)


def random_rows(num: int, config: BackboneConfig, *, longest: int = 128, seed: int = 0) -> list[list[int]]:
    """Token ids with log-normal lengths of 5 to ``longest``, in order of arrival."""
    draw = np.random.default_rng(seed)
    lengths = np.clip(draw.lognormal(3.0, 0.7, num), 5, longest).astype(int)
    return [draw.integers(1, config.vocab_size, length).tolist() for length in lengths]


def random_vae(
    config: BackboneConfig,
    sets: Sequence[AdapterConfig],
    dtype: torch.dtype,
    device: torch.device,
    *,
    std: float = 0.02,
) -> AdaVAE:
    """Random weights made on the device; float16 holds every one of them."""
    with torch.device(device):
        backbone = Backbone(config).to(dtype)
    backbone = backbone.requires_grad_(False).eval()
    bank = AdapterBank.for_serving(config, BankShape.covering(sets), like=backbone.wte.weight)
    bank.latent_kernel = None
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in [*backbone.named_parameters(), *bank.named_parameters()]:
        numbers = torch.empty(parameter.shape, device=device).normal_(0.0, std, generator=generator).half()
        is_norm = "ln_" in name and name.endswith("weight")
        parameter.copy_(numbers + 1.0 if is_norm else numbers)
    bank.configs[:] = sets
    return AdaVAE(backbone, bank)


def moved(vae: AdaVAE, dtype: torch.dtype, device: torch.device) -> AdaVAE:
    """A copy; the bank's matrices lie as a serving bank's."""
    backbone = Backbone(vae.backbone.config)
    backbone.load_state_dict(vae.backbone.state_dict())
    backbone = backbone.to(device=device, dtype=dtype).requires_grad_(False).eval()
    bank = AdapterBank.for_serving(vae.backbone.config, vae.bank.shape, like=backbone.wte.weight)
    bank.latent_kernel = None
    for parameter, given in zip(bank.parameters(), vae.bank.parameters(), strict=True):
        parameter.copy_(given)
    bank.configs[:] = vae.bank.configs
    return AdaVAE(backbone, bank)


def latents(vae: AdaVAE, num: int, seed: int = 0) -> Tensor:
    """(B, Z) from N(0, I), the same on every device."""
    weight = vae.backbone.wte.weight
    drawn = torch.randn(num, vae.bank.shape.latent_size, generator=torch.Generator().manual_seed(seed))
    return drawn.to(device=weight.device, dtype=weight.dtype)


def index_of(vae: AdaVAE, slots: Sequence[int]) -> AdapterIndex:
    return AdapterIndex.of(slots, vae.backbone.wte.weight.device)
