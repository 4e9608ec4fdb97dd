"""Whether the GPU computes what the CPU does: kernels, encodings, classes, logits, texts, mixed adapter sets, graphs.

Each check says how far apart two ways are and what is allowed; none stops the run.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from adavae.model.adavae import AdaVAE, pad
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.generation import generate
from adavae.model.gpu.device_rows import DeviceRows
from adavae.model.gpu.device_sampling import NOT_FINITE
from adavae.model.gpu.kernels import Kernels, LayerCache, PlainKernels
from adavae.model.gpu.layout import PackedTexts, SlotTiles
from adavae.model.gpu.packed_encoder import encode_packed
from adavae.model.parts.stacked import StackedLinear
from tests.bench.gpu.models import Bundled, index_of, latents, moved
from tests.bench.gpu.peers import transformers_twin

DTYPES = (torch.float32, torch.bfloat16)  # float16 is no choice: bundled sets overflow it while encoding
_OF_KERNEL = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
_OF_MODEL = {torch.float32: 2e-4, torch.bfloat16: 0.15}
_OF_TEXTS = {torch.float32: 1.0, torch.bfloat16: 0.7}
_MAX_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        error: Largest difference over the largest number, or the share that differs.
        allowed: Its bound.
    """

    name: str
    error: float
    allowed: float
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return self.error <= self.allowed

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest number; NaN counts as infinitely far."""
    expected = expected.double().cpu()
    error = float((got.double().cpu() - expected).abs().max() / expected.abs().max())
    return error if error == error else float("inf")


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@torch.inference_mode()
def kernel_checks(kernels: Kernels, device: torch.device) -> Iterator[Check]:
    """Each operation against its plain twin in float64, on the same rounded numbers."""
    for dtype in DTYPES:
        for name, got, expected in _operations(kernels, dtype, device):
            yield Check(f"kernel {name} {short(dtype)}", relative_error(got, expected), _OF_KERNEL[dtype])
    yield from _draws(kernels, device)


def _draws(kernels: Kernels, device: torch.device) -> Iterator[Check]:
    """Tokens drawn against the plain way, by a sort: share that differs."""
    generator = torch.Generator().manual_seed(2)
    for kind in ("peaked", "flat", "ties", "impossible"):
        logits = torch.randn(48, 3000, generator=generator) * (6 if kind == "peaked" else 1)
        if kind == "ties":
            logits = logits.round()
        if kind == "impossible":
            logits[:, ::3] = -torch.inf
        probabilities = logits.softmax(-1).to(device)
        top_k = torch.tensor([0, 1, 40, 3000, 7, 0] * 8, device=device)
        top_p = torch.tensor([1.0, 0.9, 0.3, 0.01, 1.0, 0.99999, 0.5, 1.0] * 6, dtype=torch.float64, device=device)
        numbers = torch.rand(48, generator=generator, dtype=torch.float64).to(device)
        given = (probabilities, top_k, top_p, numbers)
        differing = float((kernels.draw(*given) != PlainKernels().draw(*given)).float().mean())
        yield Check(f"kernel draw, {kind}", differing, 0.0)


def _operations(kernels: Kernels, dtype: torch.dtype, device: torch.device) -> Iterator[tuple[str, Tensor, Tensor]]:
    generator, plain = torch.Generator().manual_seed(1), PlainKernels()

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    N, C, A, S, H = 150, 96, 24, 5, 3
    x, delta = drawn(N, C), drawn(N, C)
    norm = nn.LayerNorm(C).to(device, dtype)
    norm.weight.copy_(1 + 0.1 * drawn(C))
    norm.bias.copy_(drawn(C))
    total = x + delta
    yield "add", kernels.add_norm(x, delta, norm)[0], total
    expected = plain.add_norm(total.double(), None, _as_double(norm))[1]
    yield "add_norm", kernels.add_norm(x, delta, norm)[1], expected
    yield "norm", kernels.add_norm(total, None, norm)[1], expected

    down, up = (StackedLinear(S, *sizes).to(device, dtype) for sizes in ((C, A), (A, C)))
    down.weight.data = down.weight.data.mT.contiguous().mT  # as a serving bank's lie
    slots = [0, 0, 1, 4, 4, 4, 2, 1, 0]
    rows = torch.tensor(slots, dtype=torch.int32, device=device)
    tiles = SlotTiles.of([(1, 0, 1), (0, 1, 70), (4, 70, 149), (2, 149, 150)], device)
    for name, layer, scale, is_relu, base in (("down", down, 1.0, True, None), ("up", up, 0.5, False, x)):
        given = x if name == "down" else drawn(N, A)
        double, wide = _as_double(layer), None if base is None else base.double()
        yield (
            f"rows {name}",
            kernels.linear_of_rows(
                given[:9], layer, rows, scale=scale, is_relu=is_relu, base=None if base is None else base[:9]
            ),
            plain.linear_of_rows(
                given[:9].double(), double, rows, scale=scale, is_relu=is_relu, base=None if wide is None else wide[:9]
            ),
        )
        yield (
            f"tiles {name}",
            kernels.linear_of_tiles(given, layer, tiles, scale=scale, is_relu=is_relu, base=base),
            plain.linear_of_tiles(given.double(), double, tiles, scale=scale, is_relu=is_relu, base=wide),
        )

    lengths = [0, 5, 31, 32, 60, 7]
    cache = LayerCache(
        keys=drawn(8, H, 70, C // H),
        values=drawn(8, H, 70, C // H),
        memory_mask=torch.tensor([[True, True, number % 2 == 0] for number in range(8)], device=device),
        lengths=torch.tensor([*lengths, 0, 0], dtype=torch.int32, device=device),
    )
    wide = LayerCache(cache.keys.double(), cache.values.double(), cache.memory_mask, cache.lengths)
    qkv = drawn(len(lengths), 3 * C)
    yield "cached attention", kernels.cached_attention(qkv, cache), plain.cached_attention(qkv.double(), wide)
    yield "cached keys", cache.keys, wide.keys
    yield "cached values", cache.values, wide.values
    texts = PackedTexts.of([[1] * length for length in (3, 40, 1, 77)], [0, 0, 1, 2], device)
    qkv = drawn(len(texts.token_ids), 3 * C)
    expected = plain.packed_attention(qkv.double(), texts, H)
    yield "packed attention", kernels.packed_attention(qkv, texts, H), expected


def _as_double(module: Any) -> Any:
    import copy

    return copy.deepcopy(module).double()


@torch.inference_mode()
def model_checks(bundled: Bundled, kernels: Kernels, device: torch.device) -> Iterator[Check]:
    """Encoding, classes, logits and texts in each dtype against the CPU in float32 and float64."""
    rows, slots, vae = bundled.rows, bundled.slots, bundled.vae
    padded, index = pad(rows, vae.eos_token_id), index_of(vae, slots)
    single = vae.encode(*padded, index).mu
    exact = moved(vae, torch.float64, torch.device("cpu")).encode(*padded, index).mu
    spread = {"std": round(float(exact.std()), 3)}
    yield Check("encode, CPU float32 against float64", relative_error(single, exact), 1e-4, spread)
    token_ids = padded[0][:16]
    logits = vae.backbone(token_ids)
    exact_logits = moved(vae, torch.float64, torch.device("cpu")).backbone(token_ids)
    z = latents(vae, len(rows))
    texts = generate(vae, z, index, [Decoding(max_tokens=_MAX_TOKENS)] * len(rows))
    for dtype in DTYPES:
        moved_vae, name = moved(vae, dtype, device), short(dtype)
        got = encode_packed(moved_vae, kernels, rows, slots).mu
        yield Check(f"encode, packed {name} against CPU float64", relative_error(got, exact), _OF_MODEL[dtype])
        plain = moved_vae.encode(padded[0].to(device), padded[1].to(device), index_of(moved_vae, slots)).mu
        yield Check(f"encode, padded {name} against CPU float64", relative_error(plain, exact), _OF_MODEL[dtype])
        yield _encode_alone(moved_vae, kernels, rows, slots, got, dtype)
        yield _classes(moved_vae, got, vae, single, slots, dtype)
        error = relative_error(moved_vae.backbone(token_ids.to(device)), exact_logits)
        yield Check(f"logits of the backbone {name} against CPU float64", error, _OF_MODEL[dtype])
        decoded = decode(moved_vae, kernels, latents(moved_vae, len(rows)), slots, has_graphs=device.type == "cuda")
        yield _same_texts(f"greedy texts {name} against CPU float32", decoded, texts, _OF_TEXTS[dtype])
        alone = [
            decode(moved_vae, kernels, latents(moved_vae, len(rows))[row : row + 1], [slots[row]])[0]
            for row in range(0, 12)
        ]
        yield _same_texts(f"greedy texts {name}, alone against in company", alone, decoded[:12], _OF_TEXTS[dtype])
    yield Check("logits, CPU float32 against float64", relative_error(logits, exact_logits), 1e-4)


def _encode_alone(
    vae: AdaVAE, kernels: Kernels, rows: Sequence[list[int]], slots: Sequence[int], together: Tensor, dtype: torch.dtype
) -> Check:
    alone = torch.cat([encode_packed(vae, kernels, [rows[row]], [slots[row]]).mu for row in range(12)])
    error = relative_error(alone, together[:12])
    same = sum(bool(torch.equal(alone[row], together[row])) for row in range(12))
    return Check(
        f"encode {short(dtype)}, alone against among other sets", error, _OF_MODEL[dtype] / 2, {"same_bits_of_12": same}
    )


def _classes(vae: AdaVAE, mu: Tensor, cpu: AdaVAE, cpu_mu: Tensor, slots: Sequence[int], dtype: torch.dtype) -> Check:
    """Share of texts whose class is another one."""
    chosen = [row for row, slot in enumerate(slots) if cpu.bank.config_of(slot).labels]
    if not chosen:
        return Check(f"classes {short(dtype)}", 0.0, 0.0, {"rows": 0})
    chosen_slots = [slots[row] for row in chosen]
    got = vae.classify(mu[chosen].to(vae.backbone.wte.weight.dtype), index_of(vae, chosen_slots)).cpu()
    expected = cpu.classify(cpu_mu[chosen], index_of(cpu, chosen_slots))
    differing = 0
    for row, slot in enumerate(chosen_slots):
        num_labels = len(cpu.bank.config_of(slot).labels)
        differing += int(got[row, :num_labels].argmax() != expected[row, :num_labels].argmax())
    allowed = 0.0 if dtype == torch.float32 else 0.05
    return Check(
        f"classes {short(dtype)} against CPU float32",
        differing / len(chosen_slots),
        allowed,
        {"rows": len(chosen_slots)},
    )


def _same_texts(name: str, got: Sequence[Any], expected: Sequence[Any], least: float) -> Check:
    same = sum(text.token_ids == other.token_ids for text, other in zip(got, expected, strict=True))
    tokens = sum(len(other.token_ids) for other in expected)
    return Check(name, 1 - same / len(expected), 1 - least + 1e-9, {"texts": len(expected), "tokens": tokens})


@dataclass(frozen=True, slots=True)
class Text:
    """What a row wrote."""

    token_ids: tuple[int, ...]


@torch.inference_mode()
def decode(
    vae: AdaVAE,
    kernels: Kernels,
    z: Tensor,
    slots: Sequence[int],
    decodings: Sequence[Decoding] = (),
    *,
    has_graphs: bool = False,
) -> list[Text]:
    """Whole texts through ``DeviceRows``, as continuous decoding does: a finished row leaves, the others go on."""
    each = decodings or [Decoding(max_tokens=_MAX_TOKENS)] * len(z)
    longest = max(decoding.max_tokens for decoding in each)
    rows = DeviceRows(vae, max_rows=len(z), max_tokens=longest, kernels=kernels, has_graphs=has_graphs)
    rows.join(vae.bank.decoder_memory(z, index_of(vae, slots)), slots, each)
    texts: list[list[int]] = [[] for _ in z]
    active = list(range(len(z)))
    while active:
        gone = []
        for place, (row, token_id) in enumerate(zip(active, rows.step(), strict=True)):
            if token_id not in (vae.eos_token_id, NOT_FINITE):
                texts[row].append(token_id)
            if token_id in (vae.eos_token_id, NOT_FINITE) or len(texts[row]) == each[row].max_tokens:
                gone.append(place)
        moves = {to: source for source, to in rows.leave(gone)}
        for place in sorted(gone, reverse=True):
            last = active.pop()
            if place in moves:
                active[place] = last
    return [Text(tuple(text)) for text in texts]


@torch.inference_mode()
def transformers_checks(bundled: Bundled, device: torch.device) -> Iterator[Check]:
    """The backbone's logits against transformers' GPT-2 on the same device."""
    vae = bundled.vae
    twin = transformers_twin(vae.backbone, torch.float32, device)
    if twin is None:
        return
    token_ids = pad(bundled.rows[:8], vae.eos_token_id, device)[0]
    logits = moved(vae, torch.float32, device).backbone(token_ids)
    yield Check(
        "logits float32 against transformers on this device", relative_error(logits, twin(token_ids).logits), 2e-4
    )


@torch.inference_mode()
def graph_checks(
    vae: AdaVAE, kernels: Kernels, num_mixes: int, *, has_graphs: bool, most_s: float = 60.0, seed: int = 0
) -> Iterator[Check]:
    """Graphs against the same steps launch by launch, over random mixes of rows, sets and parameters that come and go.

    Tokens and what the cache holds must be the same, bit for bit.
    """
    draw = random.Random(seed)
    max_rows, max_tokens = 64, 16
    ways = [
        DeviceRows(vae, max_rows=max_rows, max_tokens=max_tokens, kernels=kernels, has_graphs=has)
        for has in (has_graphs, False)
    ]
    num_slots = len([config for config in vae.bank.configs if config is not None])
    differing, num_tokens, shapes, worst = 0, 0, set(), 0.0
    mix, until = 0, time.monotonic() + most_s
    while mix < num_mixes and time.monotonic() < until:
        for way in ways:
            way.leave(range(way.num_rows))
        is_same = True
        for phase in range(3):
            joining = draw.randint(1, 64 if phase == 0 else 8)
            joining = min(joining, max_rows - ways[0].num_rows)
            if joining:
                slots = [draw.randrange(num_slots) for _ in range(joining)]
                decodings = [_any_decoding(draw, is_plain=mix % 2 == 0) for _ in range(joining)]
                memory = vae.bank.decoder_memory(latents(vae, joining, draw.randrange(1 << 30)), index_of(vae, slots))
                for way in ways:
                    way.join(memory, slots, decodings)
            for _ in range(draw.randint(1, 4)):
                tokens = [way.step() for way in ways]
                shapes.add((ways[0].num_rows, mix % 2))
                num_tokens += len(tokens[0])
                is_same &= tokens[0] == tokens[1]
            gone = draw.sample(range(ways[0].num_rows), draw.randint(0, ways[0].num_rows // 2))
            for way in ways:
                way.leave(gone)
            if ways[0].num_rows:
                caches = [way.held() for way in ways]
                worst = max(worst, float((caches[0].double() - caches[1].double()).abs().max()))
        differing += not is_same
        mix += 1
    details = {"mixes": mix, "tokens": num_tokens, "shapes": len(shapes), "largest_cache_difference": worst}
    yield Check("graph against eager: share of mixes with another token", differing / max(1, mix), 0.0, details)
    yield Check("graph against eager: largest difference in the cache", worst, 0.0)


def _any_decoding(draw: random.Random, *, is_plain: bool) -> Decoding:
    if is_plain:
        return Decoding(max_tokens=16)
    return Decoding(
        strategy=draw.choice([Strategy.GREEDY, Strategy.SAMPLE]),
        temperature=draw.choice([0.7, 1.0, 1.5]),
        top_k=draw.choice([0, 5, 50]),
        top_p=draw.choice([0.5, 0.9, 1.0]),
        repetition_penalty=draw.choice([1.0, 1.0, 1.3]),
        max_tokens=16,
        seed=draw.randrange(1 << 40),
    )


@torch.inference_mode()
def sampling_checks(vae: AdaVAE, kernels: Kernels, *, has_graphs: bool) -> Iterator[Check]:
    """Sampled texts of the device against ``generate``'s, whose draws are made on the host in float32 alone."""
    num = 24
    draw = random.Random(1)
    num_slots = len([config for config in vae.bank.configs if config is not None])
    slots = [row % num_slots for row in range(num)]
    decodings = [_any_decoding(draw, is_plain=False) for _ in range(num)]
    cpu = moved(vae, torch.float32, torch.device("cpu"))
    expected = generate(cpu, latents(cpu, num), index_of(cpu, slots), decodings)
    got = decode(vae, kernels, latents(vae, num), slots, decodings, has_graphs=has_graphs)
    dtype = vae.backbone.wte.weight.dtype
    least = 0.9 if dtype == torch.float32 else 0.4
    generated = generate(vae, latents(vae, num), index_of(vae, slots), decodings)
    yield _same_texts(f"sampled texts of generate on this device {short(dtype)}", generated, expected, least)
    yield _same_texts(f"sampled texts {short(dtype)} against CPU float32", got, expected, least)
