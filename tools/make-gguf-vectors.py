#!/usr/bin/env python3
"""Blocks of each kind that GGUF files have, and the numbers that the gguf package reads from them.

    pip install gguf==0.19.0
    python3 tools/make-gguf-vectors.py test/vectors/gguf/blocks.json

Codes, scales and minima are seeded random bytes, the F16 numbers among them finite. src/weights/gguf/decode-blocks.test.ts
holds our decoders to the result.
"""

import base64
import json
import sys

import numpy as np
from gguf import GGMLQuantizationType, quants
from gguf.constants import GGML_QUANT_SIZES

# Where a block has its F16 numbers.
HALVES = {
    "F16": [0], "BF16": [], "F32": [],
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": [],
}
BLOCKS = 3


def main(path):
    random = np.random.default_rng(15)
    out = []
    for name, halves in HALVES.items():
        kind = GGMLQuantizationType[name]
        entries, size = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (BLOCKS if entries > 1 else 32, size), dtype=np.uint8)
        for at in halves:
            values = (random.standard_normal(len(blocks)) * 0.1).astype(np.float16)
            blocks[:, at : at + 2] = values.view(np.uint8).reshape(-1, 2)
        if name == "MXFP4":
            blocks[:, 0] = random.integers(0, 253, len(blocks))
        if name in ("F32", "BF16"):
            floats = random.standard_normal(len(blocks)).astype(np.float32)
            data = floats if name == "F32" else quants.quantize(floats, kind)
            blocks = data.view(np.uint8)
        values = quants.dequantize(blocks.reshape(1, -1), kind).astype("<f4")
        out.append({
            "kind": name,
            "blocks": base64.b64encode(blocks.tobytes()).decode(),
            "values": base64.b64encode(values.tobytes()).decode(),
        })
    with open(path, "w") as file:
        json.dump(out, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
