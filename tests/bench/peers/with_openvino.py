"""OpenVINO on the encoder's bare blocks; variant ``default`` (bfloat16 where the processor has it) or ``float32``."""

import numpy as np
import openvino
from answering import answer, asked, batches, padded

folder, threads, variant = asked()
file = folder / "encoder-float32.onnx"
assert file.is_file(), "the environment of onnxruntime exports what it reads: make that one too"
options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
if variant == "float32":
    options["INFERENCE_PRECISION_HINT"] = "f32"
compiled = openvino.Core().compile_model(str(file), "CPU", options)
texts = [list(map(np.asarray, padded(rows))) for rows in batches(folder)]


def encode() -> int:
    for batch in texts:
        compiled(batch)
    return sum(len(batch[0]) for batch in texts)


answer({"encode": encode})
