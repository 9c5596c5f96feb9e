"""Adapters of peft on experts and their router, beside golden checkpoints, with the logits of transformers.

For each folder NAME of GOLDEN_FOLDER: NAME/experts, a PEFT folder with expected.json (src/model/adapter/expert-adapters.test.ts).
usage: python3 tools/expert-adapters.py GOLDEN_FOLDER NAME...   (transformers 5, peft 0.21)"""
import json
import os
import sys
import peft
import torch
import transformers
from transformers import AutoModelForCausalLM

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
folder, *names = sys.argv[1:]
for name in names:
    ids = json.load(open(f"{folder}/{name}/expected.json"))["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(f"{folder}/{name}", attn_implementation="eager").float().eval()
    mlp = "block_sparse_moe" if name == "granitemoe" else "mlp"
    router = "router.weight" if name in ("granitemoe", "gpt_oss") else "gate.weight"
    parameters = [f"{mlp}.experts.gate_up_proj", f"{mlp}.experts.down_proj", f"{mlp}.{router}"]
    config = peft.LoraConfig(r=2, lora_alpha=8, target_modules=[], target_parameters=parameters, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(5)
    for key, p in adapted.named_parameters():
        if "lora_" in key:
            std = 0.35 / p.shape[-1] ** 0.5 if "lora_A" in key else 0.35
            p.data.copy_(torch.randn(p.shape, generator=generator) * std)
    with torch.no_grad():
        logits = adapted(torch.tensor([ids])).logits[0, -1]
    out = f"{folder}/{name}/experts"
    adapted.save_pretrained(out)
    os.remove(f"{out}/README.md")
    made_with = f"transformers {transformers.__version__}, peft {peft.__version__}"
    got = [float(f"{value:.9g}") for value in logits.tolist()]
    json.dump(dict(made_with=made_with, input_ids=ids, logits_last=got), open(f"{out}/expected.json", "w"))
