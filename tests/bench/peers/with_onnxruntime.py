"""ONNX Runtime on the encoder's bare blocks; variant ``float32``, or ``int8`` by its dynamic quantisation."""

import numpy as np
import onnxruntime
from answering import answer, asked, batches, padded

folder, threads, variant = asked()
exported, file = folder / "encoder-float32.onnx", folder / f"encoder-{variant}.onnx"
if not exported.is_file():
    from bare_gpt2 import export

    export(folder, exported)
if not file.is_file():
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(exported, file, weight_type=QuantType.QInt8, per_channel=True)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
texts = [dict(zip(("token_ids", "mask"), map(np.asarray, padded(rows)), strict=True)) for rows in batches(folder)]


def encode() -> int:
    for batch in texts:
        session.run(None, batch)
    return sum(len(batch["mask"]) for batch in texts)


answer({"encode": encode})
