"""The rows being decoded, entirely on one device: cache, newest tokens, parameters.

A step is one CUDA graph for a bucket of rows, and the host waits for it once: for the chosen tokens.

Rows are at the front, as in ``row_cache``. Places of a bucket behind the last row are computed too, but change nothing.
Without graphs (on a CPU, or a GPU without memory for one) the same step is computed launch by launch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.adavae import AdaVAE
from adavae.model.decoding.decoding import Decoding
from adavae.model.gpu.blocks import BlockAdapters, RowSlots, block_deltas
from adavae.model.gpu.device_sampling import Choice, RowParameters, choose
from adavae.model.gpu.kernels import Kernels, LayerCache
from adavae.model.gpu.layout import on_device
from adavae.model.kv_cache import Memory

_VOCABULARY_MULTIPLE = 64  # a product with an odd number of outputs is slow
_Step = tuple[int, Choice]


class DeviceRows:
    """Room for ``max_rows`` rows of ``max_tokens`` tokens each.

    Attributes:
        num_rows: Active rows, at places 0 to ``num_rows`` - 1.
        has_graphs: Whether steps are captured and replayed.
    """

    def __init__(
        self, vae: AdaVAE, *, max_rows: int, max_tokens: int, kernels: Kernels, has_graphs: bool = False
    ) -> None:
        self.vae, self.kernels, self.has_graphs = vae, kernels, has_graphs
        self.max_rows, self.max_tokens, self.num_rows = max_rows, max_tokens, 0
        config, weight = vae.backbone.config, vae.backbone.wte.weight
        self.device, M = weight.device, vae.bank.num_memory_positions
        shape = (config.n_layer, max_rows, config.n_head, M + max_tokens, config.head_size)
        self._keys, self._values = weight.new_zeros(shape), weight.new_zeros(shape)
        self._memory_mask = torch.zeros(max_rows, M, dtype=torch.bool, device=self.device)
        self._lengths, self._slots, self._is_active = torch.zeros(3, max_rows, dtype=torch.int32, device=self.device)
        self._newest, self._chosen = torch.zeros(2, max_rows, dtype=torch.int64, device=self.device)
        self._parameters = RowParameters.greedy(max_rows, config.vocab_size, self.device)
        self._choices: list[Choice] = []
        self._output_weight = _padded(vae.backbone.lm_head.weight)
        self._graphs: dict[_Step, torch.cuda.CUDAGraph | None] = {}
        self._pool: Any = None
        self._is_read: Any = torch.cuda.Event() if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._on_host = torch.zeros(max_rows, dtype=torch.int64, pin_memory=self.device.type == "cuda")

    @property
    def num_free(self) -> int:
        return self.max_rows - self.num_rows

    def join(self, memory: Memory, slots: Sequence[int], decodings: Sequence[Decoding]) -> range:
        """Adds new rows behind the active ones; there must be room for them.

        Returns:
            Their places.
        """
        places = range(self.num_rows, self.num_rows + len(slots))
        rows, M = slice(places.start, places.stop), memory.num_positions
        self._keys[:, rows, :, :M], self._values[:, rows, :, :M] = memory.keys, memory.values
        self._memory_mask[rows] = memory.mask
        self._lengths[rows] = 0
        self._slots[rows] = on_device(slots, torch.int32, self.device)
        self._newest[rows] = self.vae.eos_token_id
        self._is_active[rows] = 1
        self._parameters.put(rows, decodings)
        self._choices += map(Choice.of, decodings)
        self.num_rows = places.stop
        return places

    def leave(self, places: Sequence[int]) -> list[tuple[int, int]]:
        """Frees ``places``; the last rows move up into the gaps.

        Returns:
            The moves made, (from, to), in the order in which the caller must repeat them in its lists.
        """
        moves, stood_at = [], list(range(self.num_rows))
        for place in sorted(places, reverse=True):
            last = stood_at.pop()
            choice = self._choices.pop()
            if place != len(stood_at):
                moves.append((len(stood_at), place))
                stood_at[place], self._choices[place] = last, choice
        moved = [(source, place) for place, source in enumerate(stood_at) if source != place]
        if moved:
            self._move(*on_device(moved, torch.int64, self.device).unbind(1))
        self._lengths[len(stood_at) : self.num_rows] = 0
        self._is_active[len(stood_at) : self.num_rows] = 0
        self.num_rows = len(stood_at)
        return moves

    def _move(self, sources: Tensor, targets: Tensor) -> None:
        """Every source is behind the last row that stays and every target before it, so none is both."""
        for tensor in (self._keys, self._values):
            tensor[:, targets] = tensor[:, sources]
        for tensor in (self._memory_mask, self._lengths, self._slots, self._newest, self._is_active):
            tensor[targets] = tensor[sources]
        self._parameters.move(sources, targets)

    def step(self) -> list[int]:
        """The next token of every row; NOT_FINITE if its logits are not finite."""
        step = self._bucket(), max(self._choices)
        if self.has_graphs and step not in self._graphs:
            self._graphs[step] = self._captured(step)
        graph = self._graphs.get(step)
        if graph is None:
            self._compute(*step)
        else:
            graph.replay()
        return self._read(self.num_rows)

    def _read(self, num_rows: int) -> list[int]:
        """The one place where the host waits for the device."""
        if self.device.type != "cuda":
            return _numbers(self._chosen[:num_rows])
        self._on_host[:num_rows].copy_(self._chosen[:num_rows], non_blocking=True)
        self._is_read.record()
        self._is_read.synchronize()
        return _numbers(self._on_host[:num_rows])

    def _bucket(self) -> int:
        """How many rows a step computes."""
        return next(size for size in buckets(self.max_rows) if size >= self.num_rows)

    def _compute(self, num_rows: int, choice: Choice) -> None:
        """One step of the first places; it depends on no number that only the host knows."""
        logits = self._logits(num_rows)
        rows = slice(0, num_rows)
        parameters, is_active = self._parameters.first(num_rows), self._is_active[rows].bool()
        chosen = choose(self.kernels, logits, parameters, self._lengths[rows], choice, self.vae.eos_token_id)
        self._chosen[rows] = chosen
        going_on = is_active & (chosen >= 0)
        self._newest[rows] = torch.where(going_on, chosen, self._newest[rows])
        if choice is Choice.ANY:
            has_token = parameters.has_token
            place = self._newest[rows].unsqueeze(1)
            has_token.scatter_(1, place, has_token.gather(1, place) | going_on.unsqueeze(1))
        self._lengths[rows] += self._is_active[rows]

    def _logits(self, num_rows: int) -> Tensor:
        """Logits, (B, V), float32, once every row's newest token has been read."""
        backbone, bank, rows = self.vae.backbone, self.vae.bank, RowSlots(self._slots[:num_rows])
        lengths = self._lengths[:num_rows]
        x, delta = backbone.embed(self._newest[:num_rows], lengths.long()), None
        for layer, block in enumerate(backbone.blocks):
            cache = LayerCache(self._keys[layer], self._values[layer], self._memory_mask, self._lengths)
            adapters = BlockAdapters(bank.decoder_adapters[layer], rows, bank.shape.adapter_scale)  # type: ignore[arg-type]

            def attend(qkv: Tensor, cache: LayerCache = cache) -> Tensor:
                return self.kernels.cached_attention(qkv, cache)

            x, delta = block_deltas(self.kernels, block, backbone.config.activation, adapters, attend, x, delta)  # type: ignore[arg-type]
        _, hidden = self.kernels.add_norm(x, delta, backbone.ln_f)
        return _wide_product(hidden, self._output_weight)[:, : backbone.config.vocab_size]

    def held(self) -> Tensor:
        """Keys and values that the active rows may attend to, zero elsewhere, (2, L, B, H, M + T_max, D)."""
        rows = slice(0, self.num_rows)
        positions = torch.arange(self.max_tokens, device=self.device)
        mask = torch.cat([self._memory_mask[rows], positions < self._lengths[rows].unsqueeze(1)], 1)
        held = torch.stack([self._keys[:, rows], self._values[:, rows]])
        return held * mask[None, None, :, None, :, None]

    def capture(self) -> None:
        """Captures all steps of all buckets, so that no request has to wait for that."""
        for size in buckets(self.max_rows):
            for choice in Choice:
                if self.has_graphs and (size, choice) not in self._graphs:
                    self._graphs[size, choice] = self._captured((size, choice))

    def _captured(self, step: _Step) -> torch.cuda.CUDAGraph | None:
        """The graph of a step, or None if there is no memory for it; no row advances."""
        is_active = self._is_active.clone()
        self._is_active.zero_()
        try:
            stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):
                    self._compute(*step)
            torch.cuda.current_stream().wait_stream(stream)
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                self._compute(*step)
        except torch.OutOfMemoryError:
            return None
        finally:
            self._is_active.copy_(is_active)
        return graph


def buckets(max_rows: int) -> list[int]:
    """Batch sizes that have graphs: close together for few rows."""
    sizes = [1, 2, 4, 8, 16, 24, 32, 48, *range(64, max_rows, 32)]
    return [*(size for size in sizes if size < max_rows), max_rows]


def _numbers(tokens: Tensor) -> list[int]:
    numbers: list[int] = tokens.tolist()
    return numbers


def _padded(weight: Tensor) -> Tensor:
    """The output embedding, (V, C), on a GPU with rows of zeros up to a round number."""
    missing = -weight.shape[0] % _VOCABULARY_MULTIPLE
    return F.pad(weight, (0, 0, 0, missing)) if missing and weight.is_cuda else weight


def _wide_product(hidden: Tensor, weight: Tensor) -> Tensor:
    """(B, C) and (V, C) to (B, V) in float32: rounding the sums to half precision would create ties."""
    if hidden.is_cuda and hidden.dtype != torch.float32:
        return torch.mm(hidden, weight.mT, out_dtype=torch.float32)
    return F.linear(hidden, weight).float()
