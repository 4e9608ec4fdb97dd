"""AdapterBank: all trained parts of S adapter sets, stacked, picked per row.

Training uses a bank of one slot, serving a bank as wide as its largest set; a smaller set is padded with zeros, which
changes nothing in its results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adavae.model.config import AdapterConfig, BackboneConfig, EncoderAttention, LatentAggregation, WeightFormat
from adavae.model.empty_model import without_memory
from adavae.model.errors import AdapterSetMismatch
from adavae.model.fresh_memory import fresh_zeros
from adavae.model.kernel import choice
from adavae.model.kernel.latent_kernel import LatentKernel
from adavae.model.kernel.packing import PackedAdapterSet
from adavae.model.kv_cache import Memory
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.bottleneck import LayerAdapters, RowAdapters
from adavae.model.parts.classifier import ClassificationHead
from adavae.model.parts.latent_attention import LatentAttention, Pooled
from adavae.model.parts.posterior import Posterior, PosteriorHeads
from adavae.model.parts.prefix import PrefixMLP, PrefixMLPs, PrefixTable
from adavae.model.parts.pseudo_self_attention import LatentMemory
from adavae.model.parts.stacked import AdapterIndex

_Kernel = TypeVar("_Kernel")


class AdapterBank(nn.Module):
    """The trained parts of S adapter sets over one backbone.

    Attributes:
        configs: What is in each slot; None for an empty one.
        latent_kernel: Computes the layers around z where that can be compiled; without it PyTorch does.
        weight_format: What sets are packed in for the compiled code.
    """

    def __init__(self, backbone: BackboneConfig, shape: BankShape, *, prefix: PrefixMLPs | None = None) -> None:
        super().__init__()
        S, C = shape.num_slots, backbone.n_embd
        self.backbone_config, self.shape = backbone, shape
        self.configs: list[AdapterConfig | None] = [None] * S
        self._packed_sets: list[PackedAdapterSet | None] = [None] * S
        self.latent_kernel: LatentKernel | None = None
        self.weight_format = WeightFormat.FLOAT16
        self.encoder_adapters = nn.ModuleList(
            LayerAdapters(S, C, shape.adapter_size, shape.placements) for _ in range(shape.encoder_layers)
        )
        self.decoder_adapters = nn.ModuleList(
            LayerAdapters(S, C, shape.adapter_size, shape.placements) for _ in range(backbone.n_layer)
        )
        self.latent_attention = (
            LatentAttention(S, C, shape.latent_heads)
            if LatentAggregation.LATENT_ATTENTION in shape.aggregations
            else None
        )
        self.pooled = Pooled(S, C) if LatentAggregation.POOLED in shape.aggregations else None
        self.posterior = PosteriorHeads(S, shape.latent_heads * C, shape.latent_size)
        self.latent_memory = LatentMemory(
            S,
            latent_size=shape.latent_size,
            n_embd=C,
            n_layer=backbone.n_layer,
            positions=shape.latent_positions,
            has_psa=shape.has_psa,
            has_atm=shape.has_atm,
        )
        self.head = ClassificationHead(S, shape.latent_size, shape.num_labels) if shape.num_labels else None
        self.encoder_prefix: PrefixMLP | PrefixTable | None = None
        self.decoder_prefix: PrefixMLP | PrefixTable | None = None
        if prefix is not None:
            self.encoder_prefix, self.decoder_prefix = prefix.encoder, prefix.decoder
        elif shape.prefix_length:
            self.encoder_prefix, self.decoder_prefix = (
                PrefixTable(S, length=shape.prefix_length, n_embd=C, n_layer=backbone.n_layer) for _ in range(2)
            )

    @classmethod
    def for_serving(
        cls,
        backbone: BackboneConfig,
        shape: BankShape,
        like: Tensor,
        weight_format: WeightFormat = WeightFormat.FLOAT16,
    ) -> "AdapterBank":
        """Empty slots, in the dtype and on the device of ``like``; memory is taken as slots are loaded.

        ``weight_format`` is what sets are packed in for the compiled code.
        """
        with without_memory():
            bank = cls(backbone, replace(shape, adapter_scale=1.0)).to(like.dtype)
        bank = bank.to_empty(device=like.device).requires_grad_(False).eval()
        for parameter in bank.parameters():
            parameter.data = _untouched_zeros(parameter)
        bank.latent_kernel, bank.weight_format = LatentKernel.of(like), weight_format
        return bank

    @classmethod
    def for_training(cls, backbone: BackboneConfig, config: AdapterConfig) -> "AdapterBank":
        """One slot, freshly initialised, with the prefix in its trained form.

        Raises:
            ConfigError: The set asks for more than the backbone has.
        """
        config.check_fits(backbone)
        prefix = PrefixMLPs.for_config(backbone, config) if config.prefix_length else None
        bank = cls(backbone, BankShape.covering([config]), prefix=prefix)
        bank.configs[0] = config
        return bank

    def encoder_layer(self, layer: int, index: AdapterIndex) -> RowAdapters:
        return RowAdapters(self.encoder_adapters[layer], index, self.shape.adapter_scale)  # type: ignore[arg-type]

    def decoder_layer(self, layer: int, index: AdapterIndex) -> RowAdapters:
        return RowAdapters(self.decoder_adapters[layer], index, self.shape.adapter_scale)  # type: ignore[arg-type]

    def config_of(self, slot: int) -> AdapterConfig:
        """What is in ``slot``; asking for an empty one is a caller's fault."""
        config = self.configs[slot]
        if config is None:
            raise AdapterSetMismatch(f"slot {slot} of the adapter bank is empty; load an adapter set into it first")
        return config

    def compiled(
        self, kernel: _Kernel | None, index: AdapterIndex
    ) -> tuple[_Kernel, Sequence[PackedAdapterSet]] | None:
        """``kernel`` and the rows' sets as it reads them, or None where PyTorch computes; see ``kernel.choice``."""
        return choice.compiled(kernel, [self._packed_sets[slot] for slot in index.slots])

    def has_encoder_prefix(self, index: AdapterIndex) -> bool:
        """Whether any row's set puts a prefix in front of the encoder's text."""
        return any(self.config_of(slot).prefix_length > 0 for slot in set(index.slots))

    def has_causal_encoder(self, index: AdapterIndex) -> tuple[bool, ...]:
        """Whether the encoder's tokens see earlier ones only, for each row, (B,)."""
        return tuple(self.config_of(slot).encoder_attention is EncoderAttention.CAUSAL for slot in index.slots)

    def encoder_depths(self, index: AdapterIndex) -> tuple[int, ...]:
        """How many blocks encode each row, (B,)."""
        return tuple(self.config_of(slot).encoder_layers for slot in index.slots)

    def aggregate(self, hidden: Tensor, attention_mask: Tensor, index: AdapterIndex) -> Tensor:
        """Encoder output (B, T, C) to v_z (B, K * C), each row as its set does it."""
        if self.pooled is None:
            assert self.latent_attention is not None  # a bank has at least one of the two
            attended: Tensor = self.latent_attention(hidden, attention_mask, index)
            return attended
        pooled: Tensor = self.pooled(hidden, attention_mask, index)
        if self.latent_attention is None:
            return pooled
        # Pooled sets read the first C only.
        pooled = F.pad(pooled, (0, (self.shape.latent_heads - 1) * pooled.shape[1]))
        is_pooled = [self.config_of(slot).latent_aggregation is LatentAggregation.POOLED for slot in index.slots]
        reads_pooled = torch.tensor(is_pooled, device=hidden.device).unsqueeze(1)  # (B, 1)
        return torch.where(reads_pooled, pooled, self.latent_attention(hidden, attention_mask, index))

    def aggregate_each(self, hidden: Tensor, attention_mask: Tensor, index: AdapterIndex) -> Tensor:
        """As ``aggregate``, each text by itself: in a batch, sums are cut in another way for every width and number of
        rows, so that company would change a text's last bits.
        """
        texts = zip(hidden, attention_mask.sum(1).tolist(), index.slots, strict=True)
        return torch.stack([self._aggregate_alone(states[:T], slot) for states, T, slot in texts])

    def _aggregate_alone(self, states: Tensor, slot: int) -> Tensor:
        """Hidden states (T, C) of one text to v_z, (K * C,)."""
        if self.config_of(slot).latent_aggregation is LatentAggregation.POOLED:
            assert self.pooled is not None  # a set of the bank is pooled
            is_token = torch.ones(1, len(states), dtype=torch.bool, device=states.device)
            pooled: Tensor = self.pooled(states[None], is_token, AdapterIndex.uniform(1, slot))[0]
            return F.pad(pooled, (0, (self.shape.latent_heads - 1) * len(pooled)))
        assert self.latent_attention is not None  # one that is not
        return self.latent_attention.alone(states, slot)

    def posterior_of(self, v_z: Tensor, index: AdapterIndex) -> Posterior:
        """v_z, (B, K * C), to q(z|x) over the bank's (B, Z); a smaller set leaves its last dimensions at zero."""
        if (compiled := self.compiled(self.latent_kernel, index)) is not None:
            kernel, sets = compiled
            return Posterior.bounded(*kernel.posterior(v_z, sets, self.shape.latent_size))
        posterior: Posterior = self.posterior(v_z, index)
        return posterior

    def classify(self, mu: Tensor, index: AdapterIndex) -> Tensor:
        """Logits (B, labels) from mu (B, Z).

        Raises:
            AdapterSetMismatch: A row's adapter set has no head.
        """
        for slot in set(index.slots):
            if not self.config_of(slot).labels:
                raise AdapterSetMismatch("the adapter set has no classification head; train one from labelled texts")
        assert self.head is not None  # some slot has labels
        logits: Tensor = self.head(mu, index)
        return logits

    def encoder_memory(self, index: AdapterIndex) -> Memory | None:
        """The encoder's prefix, or None where no set of the bank has one."""
        if self.encoder_prefix is None:
            return None
        keys, values = self.encoder_prefix(index)
        return self._memory(keys, values, [self.config_of(slot).prefix_length for slot in index.slots])

    def decoder_memory(self, z: Tensor, index: AdapterIndex) -> Memory:
        """Everything in front of the decoder's first token: z's keys and values, then the prefix.

        Args:
            z: (B, Z).
            index: Slot of each row.
        """
        keys, values = self._latent_memory(z, index)  # (L, B, M, C)
        mask = self._latent_mask(index, z.device)
        latent = Memory(self._split_heads(keys), self._split_heads(values), mask)
        if self.decoder_prefix is None:
            return latent
        prefix_keys, prefix_values = self.decoder_prefix(index)
        lengths = [self.config_of(slot).prefix_length for slot in index.slots]
        prefix = self._memory(prefix_keys.to(keys.dtype), prefix_values.to(keys.dtype), lengths)
        return Memory(
            torch.cat([latent.keys, prefix.keys], 3),
            torch.cat([latent.values, prefix.values], 3),
            torch.cat([latent.mask, prefix.mask], 1),
        )

    def _latent_memory(self, z: Tensor, index: AdapterIndex) -> tuple[Tensor, Tensor]:
        compiled = self.compiled(self.latent_kernel, index)
        if compiled is None:
            keys, values = self.latent_memory(z, index)
            return keys, values
        kernel, sets = compiled
        M = self.shape.latent_positions
        return kernel.memory(
            z,
            sets,
            n_layer=self.backbone_config.n_layer,
            n_embd=self.backbone_config.n_embd,
            first_atm=M * self.shape.has_psa,
            positions=M * (self.shape.has_psa + self.shape.has_atm),
        )

    @property
    def num_memory_positions(self) -> int:
        """Positions that ``decoder_memory`` puts in front of the first token."""
        ways = int(self.shape.has_psa) + int(self.shape.has_atm)
        return ways * self.shape.latent_positions + self.shape.prefix_length

    def _latent_mask(self, index: AdapterIndex, device: torch.device) -> Tensor:
        """Which of the latent's positions each row has, (B, M), in ``LatentMemory``'s order."""
        columns: list[list[bool]] = []
        for slot in index.slots:
            config = self.config_of(slot)
            is_there = [position < config.latent_positions for position in range(self.shape.latent_positions)]
            psa = [config.latent_infusion.has_psa and each for each in is_there] * self.shape.has_psa
            atm = [config.latent_infusion.has_atm and each for each in is_there] * self.shape.has_atm
            columns.append(psa + atm)
        return torch.tensor(columns, device=device)

    def _memory(self, keys: Tensor, values: Tensor, lengths: list[int]) -> Memory:
        """(L, B, M, C) keys and values of which each row has the first ``lengths`` positions."""
        positions = torch.arange(keys.shape[2], device=keys.device)
        mask = positions < torch.tensor(lengths, device=keys.device).unsqueeze(1)  # (B, M)
        return Memory(self._split_heads(keys), self._split_heads(values), mask)

    def _split_heads(self, x: Tensor) -> Tensor:
        """(L, B, M, C) to (L, B, H, M, D)."""
        L, B, M, _ = x.shape
        return x.view(L, B, M, self.backbone_config.n_head, self.backbone_config.head_size).transpose(2, 3)

    def export(self, slot: int = 0) -> dict[str, Tensor]:
        """The tensors of one adapter set by name, detached, without the slot axis and without padding."""
        config = self.config_of(slot)
        served = {name: tensor for name, tensor in self.state_dict().items() if "_prefix." not in name}
        for side in ("encoder_prefix", "decoder_prefix"):
            part = getattr(self, side)
            if isinstance(part, PrefixMLP):
                served[f"{side}.table"] = part.table().unsqueeze(0)
            elif isinstance(part, PrefixTable):
                served[f"{side}.table"] = part.table
        shapes = adapter_shapes(config, self.backbone_config)
        exported = {name: served[name][slot][_corner(shape)].detach().clone() for name, shape in shapes.items()}
        for name, tensor in exported.items():
            tensor /= self._load_scale(name, config)
        return exported

    @torch.no_grad()
    def load(
        self,
        slot: int,
        config: AdapterConfig,
        tensors: Mapping[str, Tensor],
        packed: PackedAdapterSet | None = None,
    ) -> None:
        """Puts one adapter set into ``slot``, in place; what is smaller than the bank is padded with zeros.

        Any thread may do it while another computes with other slots.

        Args:
            slot: Which slot, in [0, S).
            config: The set's configuration.
            tensors: As ``export`` gives them.
            packed: The set for the compiled code, where another bank has it already.

        Raises:
            AdapterSetMismatch: The set does not fit into this bank, or lacks a tensor.
        """
        if not self.has_room_for(config):
            raise AdapterSetMismatch("the adapter set is larger than the bank; build a bank whose shape covers it")
        shapes = adapter_shapes(config, self.backbone_config)
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != shapes:
            raise AdapterSetMismatch("the adapter set's tensors do not have the shapes that its configuration asks for")
        for name, parameter in self.named_parameters():
            target = parameter[slot]
            if name not in tensors or tuple(target.shape) != shapes[name]:
                target.zero_()
            if name in tensors:
                part, scale = target[_corner(shapes[name])], self._load_scale(name, config)
                part.copy_(tensors[name])
                if scale != 1.0:
                    part *= scale
        replaced, self._packed_sets[slot] = self._packed_sets[slot], None
        if self.latent_kernel is not None and packed is None:
            packed = PackedAdapterSet.of(config, tensors, self.backbone_config.n_layer, self.weight_format, replaced)
        self.configs[slot], self._packed_sets[slot] = config, packed

    def clear(self, slot: int) -> None:
        """Forgets what is in ``slot``, which no row uses; its memory goes with the bank that replaces this one."""
        self.configs[slot], self._packed_sets[slot] = None, None

    def move(self, slot: int, other: "AdapterBank") -> None:
        """Puts what is in ``slot`` into the same slot of a larger bank; raises as ``load`` does."""
        other.load(slot, self.config_of(slot), self.export(slot), self._packed_sets[slot])

    def _load_scale(self, name: str, config: AdapterConfig) -> float:
        """What a set's tensor is multiplied with where its adapter scale is not the bank's."""
        return config.adapter_scale / self.shape.adapter_scale if ".up." in name else 1.0

    def has_room_for(self, config: AdapterConfig) -> bool:
        """Whether ``load`` would take a set of this configuration."""
        return self.shape.covers(BankShape.covering([config]))


def adapter_shapes(config: AdapterConfig, backbone: BackboneConfig) -> Mapping[str, tuple[int, ...]]:
    """Name and shape of every tensor that an adapter set of this configuration has on disk."""
    return slot_shapes(BankShape.covering([config]), backbone)


@lru_cache(maxsize=256)
def slot_shapes(shape: BankShape, backbone: BackboneConfig) -> Mapping[str, tuple[int, ...]]:
    """Name and shape of every tensor of one slot of such a bank; nothing is allocated."""
    with without_memory():
        bank = AdapterBank(backbone, replace(shape, num_slots=1))
    return {name: tuple(parameter.shape[1:]) for name, parameter in bank.named_parameters()}


def _untouched_zeros(like: Tensor) -> Tensor:
    """Zeros whose pages take no memory before they are written; matrices lie as (in, out), as the backbone's do."""
    if like.ndim < 3:
        return fresh_zeros(like.shape, like.dtype, like.device)
    return fresh_zeros((*like.shape[:-2], like.shape[-1], like.shape[-2]), like.dtype, like.device).mT


def _corner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where a smaller tensor sits in a larger one: at the start of every axis."""
    return tuple(slice(0, size) for size in shape)
