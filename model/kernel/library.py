"""The compiled library and its structures, each laid out as its namesake in the headers."""

import ctypes
import logging
import platform
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch

PANEL = 32  # columns stored together
DEPTH_STEP = 64  # int8 matrices that are multiplied with bytes have a multiple of as many rows
MOST_INT8_FEATURES = 65536  # sums of more products of bytes might not fit into 32 bits

_log = logging.getLogger("adavae.kernel")
_FIELDS = list[tuple[str, Any]]
_ON_X86 = {"AVX512": ("avx512", "avx2"), "AVX2": ("avx2",)}  # by the name torch gives the processor's capability
_ON_ARM = ("neon",)  # which every processor of Linux on aarch64 runs


class Numbers(IntEnum):
    """What a matrix is stored as."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT8 = 2  # times float32
    INT8_FOUR = 3  # times bytes; four weights of an output lie together


class Int8Way(IntEnum):
    """The instructions that multiply bytes; all give the same numbers."""

    NONE = 0
    WORDS = 1  # as words of 16 bits, by AVX2
    DOT = 2  # VNNI, on ARM UDOT
    AMX = 3


class MatrixFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("panels", c_void_p),
        ("bias", c_void_p),
        ("scales", c_void_p),
        ("totals", c_void_p),
        ("in_features", c_int32),
        ("out_features", c_int32),
        ("numbers", c_int32),
    ]


class NormFields(Structure):
    _fields_: ClassVar[_FIELDS] = [("weight", c_void_p), ("bias", c_void_p)]


class LayerFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("ln_1", NormFields),
        ("ln_2", NormFields),
        ("c_attn", MatrixFields),
        ("attn_proj", MatrixFields),
        ("c_fc", MatrixFields),
        ("mlp_proj", MatrixFields),
    ]


class BackboneFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("n_layer", c_int32),
        ("n_head", c_int32),
        ("n_embd", c_int32),
        ("n_inner", c_int32),
        ("vocab_size", c_int32),
        ("n_positions", c_int32),
        ("activation", c_int32),
        ("epsilon", c_float),
        ("int8_way", c_int32),
        ("wte", c_void_p),
        ("wpe", c_void_p),
        ("ln_f", NormFields),
        ("layers", POINTER(LayerFields)),
        ("lm_head", MatrixFields),
    ]


class AdapterFields(Structure):
    _fields_: ClassVar[_FIELDS] = [("down", MatrixFields), ("up", MatrixFields)]


class AdapterSetFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("adapters", POINTER(AdapterFields)),
        ("placement", c_int32),
        ("scale", c_float),
        ("num_layers", c_int32),
        ("is_causal", c_int32),
    ]


class LatentSetFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("mu", MatrixFields),
        ("logvar", MatrixFields),
        ("projection", MatrixFields),
        ("psa", POINTER(MatrixFields)),
        ("atm", POINTER(MatrixFields)),
        ("positions", c_int32),
    ]


class StepFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("num_rows", c_int32),
        ("num_memory", c_int32),
        ("width", c_int32),
        ("num_threads", c_int32),
        ("token_ids", c_void_p),
        ("sets", POINTER(POINTER(AdapterSetFields))),
        ("lengths", c_void_p),
        ("is_filled", c_void_p),
        ("is_filled_stride", c_int64),
        ("keys", c_void_p),
        ("values", c_void_p),
        ("layer_stride", c_int64),
        ("row_stride", c_int64),
        ("logits", c_void_p),
        ("seconds", c_void_p),
    ]


class TextsFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("num_texts", c_int32),
        ("width", c_int32),
        ("num_threads", c_int32),
        ("token_ids", c_void_p),
        ("lengths", c_void_p),
        ("sets", POINTER(POINTER(AdapterSetFields))),
        ("hidden", c_void_p),
        ("seconds", c_void_p),
    ]


class PosteriorFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("num_rows", c_int32),
        ("num_threads", c_int32),
        ("sets", POINTER(POINTER(LatentSetFields))),
        ("v_z", c_void_p),
        ("v_z_width", c_int64),
        ("mu", c_void_p),
        ("logvar", c_void_p),
        ("latent_size", c_int64),
    ]


class LatentMemoryFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("num_rows", c_int32),
        ("num_threads", c_int32),
        ("sets", POINTER(POINTER(LatentSetFields))),
        ("z", c_void_p),
        ("latent_size", c_int64),
        ("n_layer", c_int32),
        ("n_embd", c_int32),
        ("first_atm", c_int32),
        ("num_positions", c_int32),
        ("int8_way", c_int32),
        ("keys_values", c_void_p),
    ]


class FlowBlockFields(Structure):
    _fields_: ClassVar[_FIELDS] = [("norm", NormFields), ("up", MatrixFields), ("down", MatrixFields)]


class FlowFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("input", MatrixFields),
        ("blocks", POINTER(FlowBlockFields)),
        ("norm", NormFields),
        ("output", MatrixFields),
        ("depth", c_int32),
        ("epsilon", c_float),
    ]


class FlowPathFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("num_rows", c_int32),
        ("num_threads", c_int32),
        ("num_steps", c_int32),
        ("is_guided", c_int32),
        ("guidance", c_float),
        ("times", c_void_p),
        ("moments", c_void_p),
        ("labels", c_void_p),
        ("z", c_void_p),
    ]


class LinearFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("matrix", MatrixFields),
        ("num_rows", c_int32),
        ("num_threads", c_int32),
        ("int8_way", c_int32),
        ("x", c_void_p),
        ("output", c_void_p),
    ]


class GeluFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("count", c_int64),
        ("num_threads", c_int32),
        ("x", c_void_p),
        ("output", c_void_p),
        ("slope", c_void_p),
    ]


class CrossEntropyFields(Structure):
    _fields_: ClassVar[_FIELDS] = [
        ("num_rows", c_int32),
        ("num_threads", c_int32),
        ("vocab_size", c_int64),
        ("logits", c_void_p),
        ("targets", c_void_p),
        ("weights", c_void_p),
        ("nll", c_void_p),
    ]


KINDS = ("product", "attention", "norm")  # of the phases


class Outcome(IntEnum):
    DONE = 0
    TOKEN_OUT_OF_RANGE = 1
    TOO_LONG = 2
    NO_MEMORY = 3
    FAILED = 4


def check(returned: int) -> None:
    """Checks what a function of the library returned; an error leaves a cache as it was, outputs perhaps half written.

    Raises:
        IndexError: A token outside the vocabulary, or no room for another position.
        MemoryError: Not enough memory for its buffers.
        RuntimeError: An exception that the compiled code does not expect.
    """
    outcome = Outcome(returned)
    if outcome is Outcome.FAILED:
        raise RuntimeError("the compiled code failed, and not for want of memory: a fault of adavae, please report it")
    if outcome is Outcome.NO_MEMORY:
        raise MemoryError("no memory for the buffers of the compiled code: send fewer rows at once")
    if outcome is not Outcome.DONE:
        raise IndexError(f"{outcome.name.lower().replace('_', ' ')}: a token outside the vocabulary, or no room left")


@dataclass(frozen=True, slots=True)
class Library:
    """One variant of the compiled library.

    Attributes:
        instructions: Which vector instructions it uses, ``avx512``, ``avx2`` or ``neon``.
        decode_step: From a pointer to BackboneFields and one to StepFields to an ``Outcome``.
        encode: From a pointer to BackboneFields and one to TextsFields to an ``Outcome``.
        posteriors: From a pointer to PosteriorFields to an ``Outcome``.
        latent_memory: From a pointer to LatentMemoryFields to an ``Outcome``.
        flow: From a pointer to FlowFields and one to FlowPathFields to an ``Outcome``.
        linear: From a pointer to LinearFields to an ``Outcome``.
        gelu: From a pointer to GeluFields to an ``Outcome``.
        cross_entropy: From a pointer to CrossEntropyFields to an ``Outcome``.
        int8_way: The best way to multiply bytes that library, processor and system have.
    """

    instructions: str
    decode_step: Callable[..., int]
    encode: Callable[..., int]
    posteriors: Callable[..., int]
    latent_memory: Callable[..., int]
    flow: Callable[..., int]
    linear: Callable[..., int]
    gelu: Callable[..., int]
    cross_entropy: Callable[..., int]
    int8_way: Int8Way


@lru_cache(maxsize=1)
def library() -> Library | None:
    """The best built variant that this processor can run, or None."""
    capability = torch.backends.cpu.get_cpu_capability()
    names = _ON_ARM if platform.machine() == "aarch64" else _ON_X86.get(capability, ())
    return next((found for name in names if (found := variant(name)) is not None), None)


def variant(instructions: str) -> Library | None:
    """One variant; None, with a log line, if it was not built or is for another system or version."""
    path = Path(__file__).with_name(f"kernel_{instructions}.so")
    if not path.is_file():
        return None
    try:
        return opened(path, instructions)
    except (OSError, AttributeError) as exc:
        _log.warning("%s is left alone, PyTorch computes instead: %s (install adavae again)", path, exc)
        return None


def opened(path: Path, instructions: str) -> Library:
    """The library in one file.

    Raises:
        OSError: It is not for this system, or was built from other headers.
        AttributeError: It lacks a function.
    """
    loaded = ctypes.CDLL(str(path))
    layout = loaded.adavae_layout
    layout.argtypes, layout.restype = [], c_uint64
    if layout() != _layout():
        raise OSError("it was compiled for another version of adavae")
    return Library(
        instructions,
        _function(loaded.adavae_decode_step, BackboneFields, StepFields),
        _function(loaded.adavae_encode, BackboneFields, TextsFields),
        _function(loaded.adavae_posteriors, PosteriorFields),
        _function(loaded.adavae_latent_memory, LatentMemoryFields),
        _function(loaded.adavae_flow, FlowFields, FlowPathFields),
        _function(loaded.adavae_linear, LinearFields),
        _function(loaded.adavae_gelu, GeluFields),
        _function(loaded.adavae_cross_entropy, CrossEntropyFields),
        _best_int8_way(loaded.adavae_has_int8_way),
    )


def _best_int8_way(has_way: Any) -> Int8Way:
    has_way.argtypes, has_way.restype = [c_int32], c_int32
    return next((way for way in (Int8Way.AMX, Int8Way.DOT, Int8Way.WORDS) if has_way(way)), Int8Way.NONE)


def _layout() -> int:
    """Sizes of the structures that are passed, as ``layout.cpp`` puts them into one number of 64 bits."""
    of_model = BackboneFields, AdapterSetFields, LatentSetFields
    of_tasks = StepFields, TextsFields, PosteriorFields, LatentMemoryFields
    of_rows = FlowFields, FlowBlockFields, FlowPathFields, LinearFields
    of_training = GeluFields, CrossEntropyFields
    number = 0
    for structure in (*of_model, *of_tasks, *of_rows, *of_training):
        number = (1009 * number + ctypes.sizeof(structure)) % 2**64
    return number


def pointers(structures: Sequence[Structure]) -> ctypes.Array[Any]:
    """An array of pointers to structures of one kind, of which there is at least one."""
    return (POINTER(type(structures[0])) * len(structures))(*map(ctypes.pointer, structures))


def _function(function: Any, *fields: type[Structure]) -> Callable[..., int]:
    """Takes a pointer to each of ``fields``, returns an ``Outcome``."""
    function.argtypes, function.restype = [POINTER(structure) for structure in fields], c_int32
    typed: Callable[..., int] = function
    return typed
