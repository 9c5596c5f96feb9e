"""How far logits move in transformers when weights are rounded in blocks of 32, for src/model/golden-hf.test.ts.

A measure of what rounding costs a model whoever does it: the root mean square of the difference over that of the
logits, at the 12 greedy steps of expected.json. Rounding to nearest, head in 8 bits, routers and embeddings as they are.
usage: python3 tools/rounded-vectors.py FOLDER PREFIX [FOLDER PREFIX ...] > test/vectors/rounded.json   (transformers 5)
       each subfolder of FOLDER is a checkpoint, named PREFIX and its name"""
import json
import os
import sys
import torch
import transformers
from transformers import AutoModelForCausalLM

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)


def rounded(weights, bits, axis):
    w = weights.transpose(axis, -1)
    columns = w.shape[-1]
    blocks = torch.nn.functional.pad(w, (0, -columns % 32)).reshape(*w.shape[:-1], -1, 32)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = extreme / (-128 if bits == 8 else -7.7)
    scale[scale == 0] = 1
    codes = (blocks / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (codes * scale).reshape(*w.shape[:-1], -1)[..., :columns].transpose(axis, -1)


def is_kept(name, p):
    routes = name.endswith(("mlp.gate.weight", "router.weight", "shared_expert_gate.weight"))
    return p.dim() < 2 or routes or any(part in name for part in ("embed", "wte", "wpe", "conv1d", "bias"))


cases = {}
sources = [
    (prefix, f"{folder}/{name}")
    for folder, prefix in zip(sys.argv[1::2], sys.argv[2::2])
    for name in sorted(os.listdir(folder))
    if os.path.exists(f"{folder}/{name}/expected.json")
]
for prefix, path in sources:
    name = os.path.basename(path)
    expected = json.load(open(f"{path}/expected.json"))
    ids = torch.tensor([expected["input_ids"] + expected["greedy_ids"][:-1]])
    first = len(expected["input_ids"]) - 1
    attention = "sdpa" if name == "falcon-alibi" else "eager"  # as in make-golden-hf.py
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=attention).float().eval()
    stored = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        want = model(ids).logits[0, first:]
        spread = (want - want.mean(-1, keepdim=True)).square().sum().sqrt()
        case = {}
        for bits in (8, 4):
            for key, p in model.named_parameters():
                if is_kept(key, p):
                    continue
                # gpt-oss stores its experts (in, out), GPT-2 all.
                axis = -2 if name == "gpt2" or name == "gpt_oss" and "experts" in key else -1
                p.data.copy_(rounded(stored[key], 8 if "lm_head" in key else bits, axis))
            got = model(ids).logits[0, first:]
            case[f"int{bits}"] = round(float((got - want).square().sum().sqrt() / spread), 4)
            model.load_state_dict(stored)
        cases[prefix + name] = case
print(json.dumps(dict(made_with=f"transformers {transformers.__version__}", relative_error=cases)))
