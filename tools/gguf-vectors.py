"""Blocks of the GGUF types as gguf-py (llama.cpp's own package) encodes them, for test/tools/gguf.test.ts.

usage: python3 tools/gguf-vectors.py > test/vectors/gguf-blocks.json   (gguf 0.19.0)"""
import json
from importlib.metadata import version
import numpy
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import quantize

COUNT = 16 * 32
# Exact in both languages: 32 bits of a Weyl sequence, and another size for each block; the last block is 0.
i = numpy.arange(COUNT, dtype=numpy.uint64)
bits = (i * 2654435761) % 2**32
values = ((bits.astype(numpy.float64) - 2**31) / 2**31 * 2.0 ** ((i // 32).astype(numpy.int64) - 8)).astype(numpy.float32)
values[-32:] = 0
types = ["F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
blocks = {name: quantize(values, Type[name]).tobytes().hex() for name in types}
print(json.dumps({"made_with": f"gguf {version('gguf')}", "blocks": blocks}))
