"""Frequencies and attention factors of transformers, for src/model/architectures/rope-config.test.ts.
usage: python3 tools/rope-vectors.py > test/vectors/rope.json   (transformers 5)"""
import json
import transformers
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0,
        "short_factor": [1.0 + 0.1 * i for i in range(8)], "long_factor": [2.0 + 0.2 * i for i in range(8)]}
CASES = [
    ("llama", {}, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                   "high_freq_factor": 4.0, "original_max_position_embeddings": 128}),
    ("llama", {}, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    ("llama", {}, {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
    ("llama", {}, YARN),
    ("llama", {}, {**YARN, "attention_factor": 1.25, "beta_fast": 16, "beta_slow": 2}),
    ("llama", {}, {**YARN, "mscale": 1.5, "mscale_all_dim": 0.8}),
    ("llama", {}, {**YARN, "mscale": 0.7}),
    ("llama", {}, {**YARN, "truncate": False, "rope_theta": 150000.0, "factor": 32.0,
                   "original_max_position_embeddings": 4096}),
    ("llama", {}, {"rope_type": "yarn", "rope_theta": 1e6, "factor": 2.0}),
    ("phi3", {"original_max_position_embeddings": 128, "max_position_embeddings": 2048}, LONG),
    ("phi3", {"original_max_position_embeddings": 4096}, LONG),
    ("phi3", {"original_max_position_embeddings": 128}, {**LONG, "attention_factor": 1.5}),
]
BASE = dict(hidden_size=64, num_attention_heads=4, max_position_embeddings=256)
out = []
for family, fields, record in CASES:
    raw = {**BASE, **fields, "rope_parameters": record}
    config = AutoConfig.for_model(family, **json.loads(json.dumps(raw)))
    compute = ROPE_INIT_FUNCTIONS[record["rope_type"]]
    short, factor = compute(config, "cpu")
    original = config.rope_parameters.get("original_max_position_embeddings", 256)
    long, _ = compute(config, "cpu", seq_len=original + 1) if record["rope_type"] == "longrope" else (short, None)
    listed = lambda x: [float(f"{v:.9g}") for v in x.tolist()]
    out.append(dict(config=raw, short=listed(short), long=listed(long), attention_factor=float(f"{factor:.9g}")))
print(json.dumps(dict(made_with=f"transformers {transformers.__version__}", cases=out), indent=None))
