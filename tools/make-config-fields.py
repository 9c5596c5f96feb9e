"""Writes test/fixtures/config-fields.json: for every field of a config class of transformers, another value than a tiny
checkpoint has, and what the real model makes of it.

usage: make-config-fields.py CHECKPOINTS OUT.json [--models DIR] [NAME ...]
(a venv with torch==2.13.0, transformers==5.18.0; CHECKPOINTS has a folder NAME with a config.json for each)

effect: "none", the same logits with the same weights; "logits", others; "weights", other tensors; "invalid", refused.
--models also saves each changed model that runs, with its logits, to hold an implementation against.
Of a model that also sees, the fields are those of its text_config.
"""
import inspect, json, os, re, sys, warnings
warnings.filterwarnings("ignore")
import torch, transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

args = sys.argv[1:]
models = args.pop(args.index("--models") + 1) if "--models" in args else None
if models: args.remove("--models")
source, out, only = args[0], args[1], args[2:]

# Of every class, and about training, output or text.
GENERIC = set(transformers.PretrainedConfig().to_dict()) | {"model_type", "architectures", "dtype", "transformers_version", "use_cache"}
# Other values where the type alone does not give one.
VALUES = {
    "hidden_act": ["relu"], "hidden_activation": ["relu"], "activation": ["relu"], "activation_function": ["gelu"],
    "sliding_window": [3, None], "head_dim": [8, 16], "use_bidirectional_attention": [True, "all"], "n_inner": [100],
    "attn_logit_softcapping": [1.5], "final_logit_softcapping": [1.5], "num_ln_in_parallel_attn": [1, 2],
    "num_key_value_heads": [1, 2], "num_kv_heads": [2], "num_attention_heads": [2, 4], "n_head": [2, 4], "n_layer": [2, 3],
    "num_hidden_layers": [2, 3], "hidden_size": [64], "n_embd": [64], "num_kv_shared_layers": [1], "intermediate_size": [100],
    "ffn_dim": [100], "ffn_hidden_size": [100], "vocab_size": [150], "word_embed_proj_dim": [40],
    "hidden_size_per_layer_input": [0, 12], "per_layer_config": [{"2": {"head_dim": 48}}], "no_rope_layers": [[0, 1, 1]],
    "num_experts": [4, 5], "mlp_only_layers": [[0], [1]], "top_k_experts": [2], "moe_intermediate_size": [24], "summary_activation": ["tanh"],
    "summary_type": ["mean"], "max_position_embeddings": [200], "n_positions": [100], "no_rope_layer_interval": [2],
    "original_max_position_embeddings": [100], "vocab_size_per_layer_input": [150], "eod_token_id": [5],
    "d_model": [64], "n_heads": [2], "n_layers": [3], "norm_type": ["rmsnorm"], "init_device": ["meta"],
}
# Of one class: entries of a record.
ATTENTION = [{"softmax_scale": 0.2}, {"clip_qkv": 0.5}, {"qk_ln": True}, {"prefix_lm": True}, {"alibi": False}, {"alibi_bias_max": 4},
             {"attn_type": "multiquery_attention"}, {"attn_uses_sequence_id": True}, {"attn_pdrop": 1}, {"attn_impl": "flash"}]
ROPE = [{"rope_theta": 777.0}, {"rope_type": "linear", "factor": 3.0}, {"rope_type": "dynamic", "factor": 3.0},
        {"partial_rotary_factor": 0.5}, {"partial_rotary_factor": 0.25},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {"rope_type": "dynamic", "factor": 3.0, "alpha": 50.0}]

# What a family's modeling file reads for classification, pictures or sound, or of the library.
NOT_TEXT = re.compile(r"^(classifier|summary|vision|image|audio|video|text_config|output_|patch_|pooling_|conv_kernel|subsampling|attention_(chunk|context|invalid|logit)|"
    r"mm_|depth$|in_channels|num_heads$|num_position|position_embedding_size|out_hidden|spatial|temporal|gradient|residual_weight|standardize|use_clipped|"
    r"_|return_dict|use_return_dict|to_dict|get_text_config|num_labels|rope_scaling|rope_type)")

def value_of(config, name):
    try: return getattr(config, name, None)
    except Exception: return None  # one that differs from layer to layer

def own_fields(config, model):
    """What the class has, what is annotated in it, and what the model's code reads besides, for a file may say it."""
    fields = dict(config.to_dict())
    for kind in type(config).__mro__:
        if kind.__module__ == "transformers.configuration_utils": break
        for name in [*getattr(kind, "__annotations__", {}), *inspect.signature(kind.__init__).parameters]:
            if not name.startswith("base_model"): fields.setdefault(name, value_of(config, name))
    code = inspect.getsource(sys.modules[type(model).__module__])
    aliases = getattr(type(config), "attribute_map", {}) or {}
    for name in set(re.findall(r'config\.([a-z_0-9]+)', code)) | set(re.findall(r'getattr\((?:self\.)?config, "([a-z_0-9]+)"', code)):
        name = aliases.get(name, name)
        if not NOT_TEXT.match(name): fields.setdefault(name, value_of(config, name))
    return {k: v for k, v in fields.items() if k not in LIBRARY}

# Of a class, not of a file.
LIBRARY = {"attribute_map", "sub_configs", "keys_to_ignore_at_inference", "base_config_key", "default_theta", "ignore_keys_at_rope_validation", "self", "kwargs", "fsdp_plan", "has_no_defaults_at_init"}

def others(field, value, config):
    if field == "layer_types" and value:
        flip = lambda kind: "sliding_attention" if kind == "full_attention" else "full_attention"
        return [[flip(value[0]), *value[1:]], [*value[:-1], flip(value[-1])]]
    if field == "rope_parameters":
        nested = any(isinstance(entry, dict) for entry in value.values())
        if not nested: return [{**value, **change} for change in ROPE]
        return [{**value, kind: {**value[kind], **change}} for kind in value for change in ROPE]
    if field == "attn_config": return [{**value, **change} for change in ATTENTION]
    if field in VALUES: return [other for other in VALUES[field] if other != value]
    if isinstance(value, bool): return [not value]
    if isinstance(value, int): return [value + 1]
    if isinstance(value, float): return [value * 1.5 + 0.1]
    if value is None: return [1]
    return []

def build(raw):
    config = AutoConfig.for_model(raw["model_type"], **{k: v for k, v in raw.items() if k not in ("model_type", "architectures", "dtype", "transformers_version")})
    config._attn_implementation = "eager"
    torch.manual_seed(7)
    kind = AutoModelForImageTextToText if "text_config" in raw else AutoModelForCausalLM
    model = kind.from_config(config, attn_implementation="eager").float().eval()
    g = torch.Generator().manual_seed(11)
    for name, p in list(model.named_parameters()):
        if p.dim() >= 2: p.data.copy_(torch.randn(p.shape, generator=g) / p.shape[-1] ** 0.5)
        else: p.data.add_(torch.randn(p.shape, generator=g) * 0.1)
    model.tie_weights()
    return model

def logits(model, ids):
    with torch.no_grad(): return model(input_ids=torch.tensor([ids])).logits[0, -1].float()

def text_of(base):
    """What reads a text: its configuration, and the module whose code that is for."""
    if not hasattr(base.config, "text_config"): return base.config, base
    return base.config.text_config, base.get_decoder()

result = json.load(open(out)) if only and os.path.exists(out) else {}
for name in sorted(os.listdir(source)):
    path = os.path.join(source, name, "config.json")
    if not os.path.exists(path) or (only and name not in only): continue
    raw = json.load(open(path))
    base = build(raw)
    said = raw.get("text_config", raw)
    fields = {**own_fields(*text_of(base)), **{k: v for k, v in said.items()}}
    ids = torch.randint(3, said["vocab_size"], (13,), generator=torch.Generator().manual_seed(3)).tolist()
    want, state = logits(base, ids), base.state_dict()
    changes = []
    for field, value in sorted(fields.items()):
        if field in GENERIC and field not in ("tie_word_embeddings",): continue
        values = others(field, value, said)
        if not values: raise SystemExit(f"{name}: no other value is known for {field}, which is {value!r}")
        for i, other in enumerate(values):
            changed = {**raw, "text_config": {**said, field: other}} if "text_config" in raw else {**raw, field: other}
            try:
                model = build(changed)
                got = logits(model, ids)
            except Exception as error:
                changes.append([field, other, "invalid"]); continue
            own = model.state_dict()
            if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in state.items()}: effect = "weights"
            else:
                model.load_state_dict(state)
                effect = "logits" if (logits(model, ids) - want).abs().max() > 1e-5 else "none"
            changes.append([field, other, effect])
            if models and effect != "none":
                folder = os.path.join(models, f"{name}-{field}-{i}"); os.makedirs(folder, exist_ok=True)
                fresh = build(changed); fresh.save_pretrained(folder)
                # What a file may say, not what the class makes of it.
                json.dump({**changed, "architectures": raw["architectures"]}, open(os.path.join(folder, "config.json"), "w"))
                json.dump(dict(input_ids=ids, logits_last=got.tolist()), open(os.path.join(folder, "expected.json"), "w"))
    result[name] = dict(base=raw, changes=changes)
    print(name, {e: sum(c[2] == e for c in changes) for e in ("none", "logits", "weights", "invalid")}, flush=True)
with open(out, "w") as file:
    file.write("{\n" + ",\n".join(f" {json.dumps(n)}: {{\n  \"base\": {json.dumps(r['base'])},\n  \"changes\": [\n" + ",\n".join("   " + json.dumps(c) for c in r["changes"]) + "\n  ]\n }" for n, r in sorted(result.items())) + "\n}\n")
