"""The structures that the compiled library is called with, and all they point at, as one piece of bytes.

Where a structure has a pointer, the piece has the place of what is pointed at. So it can be sent to another process,
which makes addresses of the places, and what that process has changed can be brought back.
"""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, c_double, c_float, c_int64, c_void_p, sizeof
from typing import Any

import numpy as np

from adavae.model.kernel.library import (
    DEPTH_STEP,
    KINDS,
    PANEL,
    AdapterFields,
    AdapterSetFields,
    BackboneFields,
    CrossEntropyFields,
    FlowBlockFields,
    FlowFields,
    FlowPathFields,
    GeluFields,
    LatentMemoryFields,
    LatentSetFields,
    LayerFields,
    LinearFields,
    MatrixFields,
    NormFields,
    Numbers,
    PosteriorFields,
    StepFields,
    TextsFields,
)

_LINE_BYTES = 64
_BFLOAT16 = 2
_FLOAT, _INT64, _POINTER = sizeof(c_float), sizeof(c_int64), sizeof(c_void_p)
_WEIGHT_BYTES = {Numbers.FLOAT32: 4, Numbers.FLOAT16: 2, Numbers.INT8: 1, Numbers.INT8_FOUR: 1}


class TaskImage:
    """The bytes of a call's arguments.

    Attributes:
        arguments: The places of the structures.
        pointers: The places of pointers, and of what each points at.
    """

    def __init__(self, arguments: Sequence[Structure]) -> None:
        self._bytes = bytearray()
        self._places: dict[tuple[int, int], int] = {}  # by address and number of bytes
        self.pointers: dict[int, int] = {}
        self.arguments = [self._copy(ctypes.addressof(fields), sizeof(fields)) for fields in arguments]
        follow = {
            BackboneFields: self._backbone,
            StepFields: lambda place, step: self._step(place, step, arguments[0]),
            TextsFields: lambda place, texts: self._texts(place, texts, arguments[0]),
            PosteriorFields: self._posteriors,
            LatentMemoryFields: self._latent_memory,
            FlowFields: self._flow,
            FlowPathFields: lambda place, path: self._path(place, path, arguments[0]),
            LinearFields: self._linear,
            GeluFields: self._gelu,
            CrossEntropyFields: self._cross_entropy,
        }
        for place, fields in zip(self.arguments, arguments, strict=True):
            follow[type(fields)](place, fields)

    @property
    def bytes(self) -> bytes:
        """With places for pointers."""
        sent = bytearray(self._bytes)
        for pointer, place in self.pointers.items():
            sent[pointer : pointer + _POINTER] = place.to_bytes(_POINTER, "little")
        return bytes(sent)

    def take_back(self, sent: bytes, returned: bytes) -> None:
        """Writes what has changed to where it was copied from."""
        before, after = np.frombuffer(sent, np.uint8), np.frombuffer(returned, np.uint8)
        for (address, count), place in self._places.items():
            piece = slice(place, place + count)
            is_changed = before[piece] != after[piece]
            if is_changed.any():
                original = np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address))
                original[is_changed] = after[piece][is_changed]

    def _copy(self, address: int, count: int) -> int:
        """The place of these bytes, which are copied unless they are there already."""
        if (address, count) not in self._places:
            self._places[address, count] = len(self._bytes)
            self._bytes += ctypes.string_at(address, count)
            self._bytes += bytes(-len(self._bytes) % _LINE_BYTES)
        return self._places[address, count]

    def _point(self, pointer: int, address: Any, count: int) -> int | None:
        """Copies what the pointer at a place points at; returns where it is now, or None for null."""
        address = ctypes.cast(address, c_void_p).value
        if address is None:
            return None
        place = self.pointers[pointer] = self._copy(address, count)
        return place

    def _matrix(self, place: int, matrix: MatrixFields) -> None:
        is_four = matrix.numbers == Numbers.INT8_FOUR
        outputs = -(-matrix.out_features // PANEL) * PANEL
        depth = -(-matrix.in_features // DEPTH_STEP) * DEPTH_STEP if is_four else matrix.in_features
        for field, count in (
            ("panels", outputs * depth * _WEIGHT_BYTES[Numbers(matrix.numbers)]),
            ("bias", (outputs if is_four else matrix.out_features) * _FLOAT),
            ("scales", outputs * _FLOAT),
            ("totals", outputs * _FLOAT),
        ):
            self._point(place + getattr(MatrixFields, field).offset, getattr(matrix, field), count)

    def _matrices(self, pointer: int, address: Any, count: int) -> None:
        place = self._point(pointer, address, count * sizeof(MatrixFields))
        for number in range(0 if place is None else count):
            self._matrix(place + number * sizeof(MatrixFields), address[number])

    def _norm(self, place: int, norm: NormFields, C: int) -> None:
        self._point(place + NormFields.weight.offset, norm.weight, C * _FLOAT)
        self._point(place + NormFields.bias.offset, norm.bias, C * _FLOAT)

    def _backbone(self, place: int, backbone: BackboneFields) -> None:
        C = backbone.n_embd
        self._point(place + BackboneFields.wte.offset, backbone.wte, backbone.vocab_size * C * _FLOAT)
        self._point(place + BackboneFields.wpe.offset, backbone.wpe, backbone.n_positions * C * _FLOAT)
        self._norm(place + BackboneFields.ln_f.offset, backbone.ln_f, C)
        self._matrix(place + BackboneFields.lm_head.offset, backbone.lm_head)
        L = backbone.n_layer
        layers = self._point(place + BackboneFields.layers.offset, backbone.layers, L * sizeof(LayerFields))
        for number in range(L):
            layer = layers + number * sizeof(LayerFields)
            for name, kind in LayerFields._fields_:
                part = layer + getattr(LayerFields, name).offset, getattr(backbone.layers[number], name)
                self._norm(*part, C) if kind is NormFields else self._matrix(*part)

    def _sets(self, pointer: int, sets: Any, num_rows: int) -> list[tuple[int, Any]]:
        """The place of each row's set, and the set."""
        array = self._point(pointer, sets, num_rows * _POINTER)
        rows = [sets[row].contents for row in range(num_rows)]
        return [(self._point(array + row * _POINTER, sets[row], sizeof(one)), one) for row, one in enumerate(rows)]

    def _adapter_sets(self, pointer: int, sets: Any, num_rows: int) -> None:
        for place, one in self._sets(pointer, sets, num_rows):
            count = one.num_layers
            adapters = self._point(
                place + AdapterSetFields.adapters.offset, one.adapters, count * sizeof(AdapterFields)
            )
            for layer in range(0 if adapters is None else count):
                for name, _ in AdapterFields._fields_:
                    at = adapters + layer * sizeof(AdapterFields) + getattr(AdapterFields, name).offset
                    self._matrix(at, getattr(one.adapters[layer], name))

    def _step(self, place: int, step: StepFields, backbone: BackboneFields) -> None:
        B, V = step.num_rows, backbone.vocab_size
        cached = (backbone.n_layer - 1) * step.layer_stride + (B - 1) * step.row_stride + step.width * backbone.n_embd
        self._adapter_sets(place + StepFields.sets.offset, step.sets, B)
        for field, count in (
            ("token_ids", B * _INT64),
            ("lengths", B * _INT64),
            ("is_filled", (B - 1) * step.is_filled_stride + step.width),
            ("keys", cached * _FLOAT),
            ("values", cached * _FLOAT),
            ("logits", B * V * _FLOAT),
            ("seconds", len(KINDS) * sizeof(c_double)),
        ):
            self._point(place + getattr(StepFields, field).offset, getattr(step, field), count)

    def _texts(self, place: int, texts: TextsFields, backbone: BackboneFields) -> None:
        B, T = texts.num_texts, texts.width
        self._adapter_sets(place + TextsFields.sets.offset, texts.sets, B)
        for field, count in (
            ("token_ids", B * T * _INT64),
            ("lengths", B * _INT64),
            ("hidden", B * T * backbone.n_embd * _FLOAT),
            ("seconds", len(KINDS) * sizeof(c_double)),
        ):
            self._point(place + getattr(TextsFields, field).offset, getattr(texts, field), count)

    def _posteriors(self, place: int, task: PosteriorFields) -> None:
        for own, one in self._sets(place + PosteriorFields.sets.offset, task.sets, task.num_rows):
            self._matrix(own + LatentSetFields.mu.offset, one.mu)
            self._matrix(own + LatentSetFields.logvar.offset, one.logvar)
        for field, width in (("v_z", task.v_z_width), ("mu", task.latent_size), ("logvar", task.latent_size)):
            self._point(place + getattr(PosteriorFields, field).offset, getattr(task, field), task.num_rows * width * 4)

    def _latent_memory(self, place: int, task: LatentMemoryFields) -> None:
        B, L = task.num_rows, task.n_layer
        for own, one in self._sets(place + LatentMemoryFields.sets.offset, task.sets, B):
            self._matrix(own + LatentSetFields.projection.offset, one.projection)
            self._matrices(own + LatentSetFields.psa.offset, one.psa, L)
            self._matrices(own + LatentSetFields.atm.offset, one.atm, L)
        self._point(place + LatentMemoryFields.z.offset, task.z, B * task.latent_size * _FLOAT)
        count = L * B * task.num_positions * 2 * task.n_embd * _FLOAT
        self._point(place + LatentMemoryFields.keys_values.offset, task.keys_values, count)

    def _flow(self, place: int, flow: FlowFields) -> None:
        W = flow.input.out_features
        for name in ("input", "output"):
            self._matrix(place + getattr(FlowFields, name).offset, getattr(flow, name))
        self._norm(place + FlowFields.norm.offset, flow.norm, W)
        size = sizeof(FlowBlockFields)
        blocks = self._point(place + FlowFields.blocks.offset, flow.blocks, flow.depth * size)
        for number in range(flow.depth):
            block, at = flow.blocks[number], blocks + number * size
            self._norm(at + FlowBlockFields.norm.offset, block.norm, W)
            for name in ("up", "down"):
                self._matrix(at + getattr(FlowBlockFields, name).offset, getattr(block, name))

    def _path(self, place: int, path: FlowPathFields, flow: FlowFields) -> None:
        N, Z, W, times = path.num_rows, flow.input.in_features, flow.input.out_features, path.num_steps + 1
        for field, count in (
            ("times", times),
            ("moments", times * flow.depth * W),
            ("labels", N * (2 if path.is_guided else 1) * W),
            ("z", N * Z),
        ):
            self._point(place + getattr(FlowPathFields, field).offset, getattr(path, field), count * _FLOAT)

    def _linear(self, place: int, task: LinearFields) -> None:
        self._matrix(place + LinearFields.matrix.offset, task.matrix)
        self._point(place + LinearFields.x.offset, task.x, task.num_rows * task.matrix.in_features * _FLOAT)
        self._point(place + LinearFields.output.offset, task.output, task.num_rows * task.matrix.out_features * _FLOAT)

    def _gelu(self, place: int, gelu: GeluFields) -> None:
        for field in ("x", "output", "slope"):
            self._point(place + getattr(GeluFields, field).offset, getattr(gelu, field), gelu.count * _BFLOAT16)

    def _cross_entropy(self, place: int, loss: CrossEntropyFields) -> None:
        B = loss.num_rows
        for field, count in (
            ("logits", B * loss.vocab_size * _BFLOAT16),
            ("targets", B * _INT64),
            ("weights", B * _FLOAT),
            ("nll", B * _FLOAT),
        ):
            self._point(place + getattr(CrossEntropyFields, field).offset, getattr(loss, field), count)
