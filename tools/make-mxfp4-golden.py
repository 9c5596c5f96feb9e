"""Writes test/fixtures/mxfp4: a tiny gpt-oss in MXFP4, as the published ones are, computed by transformers, with a LoRA by peft.

The numbers are packed here, to nearest; transformers unpacks them (integrations/mxfp4.py), to BF16, which holds them, and computes in float32.
usage: make-mxfp4-golden.py OUT_DIR   (a venv with torch==2.13.0, transformers==5.18.0, peft==0.21.0)"""
import json, os, shutil, sys, warnings
warnings.filterwarnings("ignore")
import peft, torch, transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.mxfp4 import FP4_VALUES, convert_moe_packed_tensors
from golden_numbers import numbers
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

out = sys.argv[1]
V, PROMPT = 61, 13
CONFIG = dict(vocab_size=V, hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
              max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0, num_local_experts=4, num_experts_per_tok=2,
              sliding_window=6, layer_types=["sliding_attention", "full_attention"],
              rope_parameters={"rope_type": "yarn", "rope_theta": 150000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
                               "truncate": False, "original_max_position_embeddings": 16})
KEPT = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
LUT = torch.tensor(FP4_VALUES)

def packed(w):
    """(experts, in, out) → blocks (experts, out, in/32, 16), scales (experts, out, in/32)"""
    x = w.transpose(1, 2).reshape(w.shape[0], w.shape[2], -1, 32)
    # The largest of a block becomes 4 to 6, as OCP's MX specification has it.
    exponent = (x.abs().amax(-1, keepdim=True).log2().floor() - 2).clamp(-127, 125)
    codes = (x / exponent.exp2()).unsqueeze(-1).sub(LUT).abs().argmin(-1).to(torch.uint8)
    return (codes[..., 0::2] | codes[..., 1::2] << 4).contiguous(), (exponent.squeeze(-1) + 127).to(torch.uint8).contiguous()

def write(folder, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt_oss", **CONFIG)).float().eval()
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.dim() >= 2: p.data.copy_(torch.randn(p.shape, generator=g) * (0.8 if "embed" in name else (p.shape[-1] if p.dim() == 2 else p.shape[-2]) ** -0.5))
        else: p.data.add_(torch.randn(p.shape, generator=g) * 0.1)
    model.to(torch.bfloat16).save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    for name in [n for n in tensors if n.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        tensors[f"{name}_blocks"], tensors[f"{name}_scales"] = packed(tensors.pop(name).float())
    # All codes, and the least scale.
    scales = tensors["model.layers.0.mlp.experts.down_proj_scales"]
    scales[3, 0, 0] = 0; tensors["model.layers.0.mlp.experts.down_proj_blocks"][3, 0, 0] = torch.arange(16, dtype=torch.uint8) * 17
    save_file(tensors, path, {"format": "pt"})
    config = json.load(open(os.path.join(folder, "config.json")))
    config["quantization_config"] = {"modules_to_not_convert": KEPT, "quant_method": "mxfp4"}
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=2)
    return tensors

for attempt in range(60):
    shutil.rmtree(out, ignore_errors=True); os.makedirs(out)
    seed = 900 + attempt
    tensors = write(out, seed)
    model = AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager", dtype=torch.float32).float().eval()
    for name, p in model.named_parameters():
        if f"{name}_blocks" in tensors:
            assert torch.equal(p.data, convert_moe_packed_tensors(tensors[f"{name}_blocks"], tensors[f"{name}_scales"]).float()), name
    g = torch.Generator().manual_seed(seed + 5)
    ids = torch.randint(3, V, (PROMPT,), generator=g).tolist()
    plain, gap = numbers(model, ids, "")
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM")
    model = AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager", dtype=torch.float32).float().eval()
    adapted = peft.get_peft_model(model, lora).eval()
    for key, p in adapted.named_parameters():
        if "lora_" in key: p.data.copy_(torch.randn(p.shape, generator=g) * (0.35 / p.shape[-1] ** 0.5 if "lora_A" in key else 0.35))
    with_adapter, adapted_gap = numbers(adapted, ids, "_adapter")
    varied = min(len(set(plain["greedy_ids"])), len(set(with_adapter["greedy_ids_adapter"]))) >= 4
    if gap > 0.02 and adapted_gap > 0.02 and varied: break
adapted.save_pretrained(os.path.join(out, "adapter"))
for path in ("adapter/README.md", "generation_config.json"):
    if os.path.exists(os.path.join(out, path)): os.remove(os.path.join(out, path))
# What transformers makes of one tensor, by its bits: the bytes of its BF16.
name = "model.layers.0.mlp.experts.down_proj"
decoded = convert_moe_packed_tensors(tensors[f"{name}_blocks"], tensors[f"{name}_scales"])
save_file({name: decoded}, os.path.join(out, "decoded.safetensors"), {"format": "pt"})
json.dump(dict(made_with=f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}", input_ids=ids, **plain, **with_adapter), open(os.path.join(out, "expected.json"), "w"))
print(f"seed {seed}, least gaps {gap:.4f} {adapted_gap:.4f}", flush=True)
