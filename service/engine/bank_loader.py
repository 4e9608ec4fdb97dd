"""The engine's bank of adapter sets: what is in which slot, how wide the slots are, and what all of it may take.

A slot is as wide as the widest set asks for, in each direction by itself, so two sets that are large in different
directions make every slot larger than either. Sizes are counted before anything is allocated: a set that is too large
alone is refused by name; one that does not fit beside others has to wait until some of them leave.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from math import prod
from typing import Any, Protocol

import structlog

from adavae.model.adavae import AdaVAE
from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetMismatch
from adavae.model.fresh_memory import give_back_memory
from adavae.model.latent.space import LatentSpace
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.bank_size import numbers_of_set, numbers_of_slot, widest_within
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.manifest import Manifest
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.storage.tensor_shapes import check_shapes
from adavae.model.text_model import TextModel
from adavae.model.trial import try_drawing, try_out, try_texts
from adavae.service.engine.compute_threads import alone
from adavae.service.errors import BankFull
from adavae.service.tasks import until_done

DEFAULT_BANK_BYTES = 1536 * 1024**2
_STEP_S, _DRAIN_S = 60.0, 120.0
_WORTH_IT = 1.5  # how many times smaller a bank has to become to be worth rebuilding
# Of a number: in float16 for the compiled code; in a prior in float32, of its flow once more for the compiled code.
_PACKED_BYTES, _PRIOR_BYTES = 2, 8
_log = structlog.get_logger("adavae.engine")


class BetweenSteps(Protocol):
    def __call__(
        self, run: Callable[[], Any], deadline_s: float, *, needs_empty_decode: bool = False
    ) -> Coroutine[Any, Any, Any]: ...


class BankLoader:
    """Loads adapter sets beside the steps of the device thread; used from one event loop.

    Attributes:
        vae: The backbone over the bank that serves now.
    """

    def __init__(
        self,
        pretrained: PretrainedBackbone,
        configs: Iterable[AdapterConfig],
        *,
        num_slots: int,
        max_bytes: int,
        between_steps: BetweenSteps,
        replace_bank: Callable[[AdaVAE], None],
        on_load: Callable[[int], None] = lambda _slot: None,
    ) -> None:
        """Builds the bank with room for as many of ``configs`` as its bytes allow, the first ones first.

        ``on_load`` is told of every slot that gets another set.
        """
        self._pretrained, self.num_slots, self._max_bytes = pretrained, num_slots, max_bytes
        self._between_steps, self._replace_bank, self._on_load = between_steps, replace_bank, on_load
        self._loading = asyncio.Lock()
        self._extra_bytes: dict[int, int] = {}
        like = pretrained.backbone.wte.weight
        self._is_taken_at_once = like.device.type != "cpu"  # on a CPU a slot takes memory when it is written to
        self._itemsize = like.dtype.itemsize
        self._expected = self._covering_most(configs)
        shape = self._expected or BankShape.covering([AdapterConfig()], num_slots)
        self.vae = AdaVAE(pretrained.backbone, self._new_bank(shape))

    def check(self, manifest: Manifest) -> None:
        """Whether a set could be in the bank at all, by its manifest alone.

        Raises:
            AdapterSetMismatch: Its tensors are not those of its configuration, or it is larger than the bank may be.
            ConfigError: It asks for more than the backbone has, or its prior is not valid.
        """
        check_shapes(manifest, self._pretrained.backbone.config)
        shape = BankShape.covering([manifest.config], self.num_slots)
        needed = self._bank_bytes(shape, 1) + self._extra_bytes_of(manifest)
        if needed > self._max_bytes:
            raise AdapterSetMismatch(
                f"{manifest.reference} takes {needed:,} bytes of memory{self._in_slots()}, the adapter sets in memory "
                f"may take {self._max_bytes:,} (ADAVAE_BANK_BYTES): allow more, or train a smaller set (latent_size, "
                "adapter_size, latent_heads, latent_positions, prefix_length)"
            )

    async def try_out(self, adapter_set: AdapterSet) -> None:
        """Reads and writes one text with a set that is not loaded; raises as ``trial.try_out`` does."""
        if self._is_taken_at_once:  # one thread alone may use the device while its steps are recorded
            await self._between_steps(lambda: try_out(adapter_set, self._pretrained), deadline_s=_STEP_S)
        else:
            await asyncio.to_thread(alone(try_out), adapter_set, self._pretrained)

    async def try_loaded(self, slot: int, adapter_set: AdapterSet, space: LatentSpace) -> None:
        """As ``try_out``, in the slot that it was loaded into, which nobody else uses yet: nothing is built for it."""
        if self._is_taken_at_once:
            return await self.try_out(adapter_set)
        reference = adapter_set.manifest.reference

        def read_and_write() -> None:
            tokenizer = self._pretrained.tokenizer
            slots, references, spaces = {reference: slot}, {reference: reference}, {reference: space}
            try_texts(TextModel(self.vae, tokenizer, slots, references, spaces), reference)

        await self._between_steps(read_and_write, deadline_s=_STEP_S)
        await asyncio.to_thread(alone(try_drawing), space)

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        """Puts a set into a slot that no row uses, beside the steps; the bank is rebuilt where it is too narrow.

        Raises:
            AdapterSetMismatch: As ``check``.
            BankFull: It does not fit beside the sets that are loaded.
            EngineStopped: The device thread is not running, or died on the way.
        """
        self.check(adapter_set.manifest)
        config = adapter_set.manifest.config
        async with self._loading:
            await self._make_room(slot, adapter_set.manifest)
            await self._step_over()
            await _to_its_end(asyncio.to_thread(alone(self.vae.bank.load), slot, config, adapter_set.tensors))
            self._extra_bytes[slot] = self._extra_bytes_of(adapter_set.manifest)
            self._on_load(slot)

    def fits_beside(self, slots: Collection[int], manifest: Manifest) -> bool:
        """Whether a set could be loaded if nothing but these slots were taken."""
        others = {slot: config for slot, config in self._loaded().items() if slot in slots}
        needed = BankShape.covering([*others.values(), manifest.config], self.num_slots)
        extra = sum(self._extra_bytes[slot] for slot in others) + self._extra_bytes_of(manifest)
        return self._bank_bytes(needed, len(others) + 1) + extra <= self._max_bytes

    async def unload(self, slot: int) -> None:
        """Forgets what is in a slot that no row uses; raises as ``load`` does, and forgets it all the same."""
        async with self._loading:
            try:
                await self._step_over()
            finally:  # where no thread works there is no step to wait for
                self.vae.bank.clear(slot)
                self._extra_bytes.pop(slot, None)

    async def expect(self, configs: Collection[AdapterConfig]) -> None:
        """Tells which sets may be asked for, so that the bank is no wider than these and the loaded ones need."""
        self._expected = self._covering_most(configs)
        async with self._loading:
            loaded = self._loaded()
            shape = self._covering(loaded.values())
            is_smaller = shape is not None and self._numbers(shape) * _WORTH_IT <= self._numbers(self.vae.bank.shape)
            if shape is not None and is_smaller:
                await self._rebuild(shape, loaded)

    async def _make_room(self, slot: int, manifest: Manifest) -> None:
        others = {other: config for other, config in self._loaded().items() if other != slot}
        extra = sum(self._extra_bytes[other] for other in others) + self._extra_bytes_of(manifest)
        num_sets, bank = len(others) + 1, self.vae.bank
        if bank.has_room_for(manifest.config) and self._bank_bytes(bank.shape, num_sets) + extra <= self._max_bytes:
            return
        needed = BankShape.covering([*others.values(), manifest.config], self.num_slots)
        wide = needed if self._expected is None else needed.union(self._expected)
        for shape in (wide, needed):
            if self._bank_bytes(shape, num_sets) + extra <= self._max_bytes:
                await self._rebuild(shape, others)
                return
        raise BankFull(
            f"{manifest.reference} does not fit into memory beside the {len(others)} adapter sets in use: together "
            f"they would take {self._bank_bytes(needed, num_sets) + extra:,} bytes, {self._max_bytes:,} are allowed "
            "(ADAVAE_BANK_BYTES): try again later, or allow more"
        )

    async def _rebuild(self, shape: BankShape, kept: Mapping[int, AdapterConfig]) -> None:
        """Another bank beside the serving one; decoding drains before it takes over."""
        old = self.vae.bank
        bank = await asyncio.to_thread(alone(self._with_kept), old, sorted(kept), shape)
        vae = AdaVAE(self._pretrained.backbone, bank)
        await self._between_steps(lambda: self._take_over(vae), deadline_s=_DRAIN_S, needs_empty_decode=True)
        self._extra_bytes = {slot: num_bytes for slot, num_bytes in self._extra_bytes.items() if slot in kept}
        _log.info(
            "bank built anew",
            latent_size=shape.latent_size,
            adapter_size=shape.adapter_size,
            bytes_a_slot=self._numbers(shape) * self._itemsize,
        )
        del old
        await asyncio.to_thread(give_back_memory)

    def _with_kept(self, old: AdapterBank, kept: Collection[int], shape: BankShape) -> AdapterBank:
        """A new bank with what is kept of the old one, in the same slots."""
        bank = self._new_bank(shape)
        for slot in kept:
            old.move(slot, bank)
        return bank

    def _take_over(self, vae: AdaVAE) -> None:
        self.vae = vae
        self._replace_bank(vae)

    async def _step_over(self) -> None:
        """Waits for the current step to end: rows given up meanwhile are in it to its end, with their slot."""
        await self._between_steps(lambda: None, deadline_s=_STEP_S)

    def _new_bank(self, shape: BankShape) -> AdapterBank:
        backbone = self._pretrained.backbone
        return AdapterBank.for_serving(backbone.config, shape, backbone.wte.weight, backbone.weight_format)

    def _loaded(self) -> dict[int, AdapterConfig]:
        return {slot: config for slot, config in enumerate(self.vae.bank.configs) if config is not None}

    def _covering(self, configs: Collection[AdapterConfig]) -> BankShape | None:
        """What is needed for the sets that are loaded and those that are expected."""
        if not configs:
            return self._expected
        needed = BankShape.covering(configs, self.num_slots)
        wide = needed if self._expected is None else needed.union(self._expected)
        return wide if self._bank_bytes(wide, len(configs)) <= self._max_bytes else needed

    def _covering_most(self, configs: Iterable[AdapterConfig]) -> BankShape | None:
        """Room for as many sets as leave the whole bank within its bytes with every slot in use."""
        shapes = dict.fromkeys(BankShape.covering([config], self.num_slots) for config in configs)
        max_numbers = self._max_bytes // (self._itemsize * self.num_slots)
        return widest_within(shapes, self._pretrained.backbone.config, max_numbers)

    def _bank_bytes(self, shape: BankShape, num_sets: int) -> int:
        """Bytes of a bank with so many sets in it."""
        return self._numbers(shape) * self._itemsize * (self.num_slots if self._is_taken_at_once else num_sets)

    def _numbers(self, shape: BankShape) -> int:
        return numbers_of_slot(shape, self._pretrained.backbone.config)

    def _extra_bytes_of(self, manifest: Manifest) -> int:
        """What a set takes beside its slot: packed for the compiled code, and its prior."""
        backbone = self._pretrained.backbone.config
        packed = 0 if self._is_taken_at_once else _PACKED_BYTES * numbers_of_set(manifest.config, backbone)
        return packed + _PRIOR_BYTES * sum(map(prod, (manifest.prior_shapes or {}).values()))

    def _in_slots(self) -> str:
        return f" in {self.num_slots} slots (ADAVAE_BANK_SLOTS)" if self._is_taken_at_once else ""


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Waits for ``work``, however often the caller is cancelled: two loads must never write to one slot at once."""
    task = asyncio.ensure_future(work)
    await until_done(task)
    task.result()
