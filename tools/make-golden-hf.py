"""Writes test/fixtures/golden-hf: tiny random checkpoints of every family, computed by transformers, each with a LoRA by peft.

usage: make-golden-hf.py OUT_DIR [NAME ...]   (a venv with torch==2.13.0, transformers==5.18.0, peft==0.21.0)"""
import json, os, shutil, sys, warnings
warnings.filterwarnings("ignore")
import peft, torch, transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from golden_numbers import numbers
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

out, only = sys.argv[1], sys.argv[2:]
H, V, PROMPT = 24, 61, 13
QV = ["q_proj", "v_proj"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
BASE = dict(vocab_size=V, hidden_size=H, intermediate_size=36, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
            max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
LOCAL = ["sliding_attention", "sliding_attention", "full_attention"]
MOE = dict(num_experts=4, num_experts_per_tok=2)
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}

def rope(**fields): return {"rope_theta": 10000.0, **fields}

# model_type, fields (None: left out), what the adapter changes.
FAMILIES = {
    "llama-bias": ("llama", dict(attention_bias=True, mlp_bias=True, head_dim=12, rope_parameters=rope(rope_type="linear", factor=4.0)), ["q_proj", "up_proj"]),
    "llama-yarn": ("llama", dict(rope_parameters=YARN), QV),
    "llama-dynamic": ("llama", dict(rope_parameters=rope(rope_type="dynamic", factor=2.0)), QV),
    "ministral3": ("ministral3", dict(head_dim=8, rope_parameters={**YARN, "rope_theta": 1e6, "original_max_position_embeddings": 8, "llama_4_scaling_beta": 0.1}), ["q_proj", "v_proj", "down_proj"]),
    "mixtral": ("mixtral", dict(num_local_experts=4, num_experts_per_tok=2), ATTENTION),
    "qwen2-window": ("qwen2", dict(num_hidden_layers=3, use_sliding_window=True, sliding_window=6, max_window_layers=1), QV),
    "qwen2_moe": ("qwen2_moe", dict(MOE, moe_intermediate_size=20, shared_expert_intermediate_size=28), QV),
    "qwen3": ("qwen3", dict(head_dim=12), ALL),
    "qwen3_moe": ("qwen3_moe", dict(MOE, head_dim=12, moe_intermediate_size=20), ATTENTION),
    "qwen3_5_text": ("qwen3_5_text", dict(num_hidden_layers=3, head_dim=16, layer_types=["linear_attention", "linear_attention", "full_attention"], linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8), [*QV, "gate_proj"]),
    "gpt_oss": ("gpt_oss", dict(num_hidden_layers=3, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=6, layer_types=["sliding_attention", "full_attention", "sliding_attention"]), ATTENTION),
    "gemma": ("gemma", dict(head_dim=12), ALL),
    "gemma2": ("gemma2", dict(head_dim=12, query_pre_attn_scalar=10, sliding_window=5, attn_logit_softcapping=3.0, final_logit_softcapping=2.0), ALL),
    "gemma3_text": ("gemma3_text", dict(num_hidden_layers=3, head_dim=12, query_pre_attn_scalar=10, sliding_window=5, layer_types=LOCAL), ALL),
    "gemma4_text": ("gemma4_text", dict(num_hidden_layers=4, head_dim=8, global_head_dim=16, sliding_window=5, vocab_size_per_layer_input=V, hidden_size_per_layer_input=6, num_kv_shared_layers=2, use_double_wide_mlp=True, layer_types=["sliding_attention", "full_attention"] * 2), ["q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "phi": ("phi", dict(num_key_value_heads=6, partial_rotary_factor=0.5), ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]),
    "phi3": ("phi3", {}, ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
    "phi3-partial": ("phi3", dict(num_attention_heads=2, num_key_value_heads=1, partial_rotary_factor=0.5, sliding_window=6, original_max_position_embeddings=64, max_position_embeddings=256, rope_parameters=rope(rope_type="longrope", partial_rotary_factor=0.5, short_factor=[1.0, 1.1, 1.2], long_factor=[2.0, 2.2, 2.4], original_max_position_embeddings=64)), ["qkv_proj"]),
    "glm": ("glm", dict(head_dim=8), ["q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"]),
    "glm4": ("glm4", dict(head_dim=8), ["q_proj", "v_proj", "gate_up_proj", "down_proj"]),
    "olmo2": ("olmo2", {}, ALL),
    "olmo3": ("olmo3", dict(num_hidden_layers=4, sliding_window=5), QV),
    "olmoe": ("olmoe", MOE, QV),
    "granite": ("granite", dict(embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.5, logits_scaling=2.0), ALL),
    "granitemoe": ("granitemoe", dict(num_local_experts=4, num_experts_per_tok=2), QV),
    "smollm3": ("smollm3", dict(num_hidden_layers=3, no_rope_layers=[1, 1, 0]), ALL),
    "stablelm": ("stablelm", dict(use_qkv_bias=True, partial_rotary_factor=0.5), ["q_proj", "v_proj", "down_proj"]),
    "starcoder2": ("starcoder2", dict(sliding_window=None), ["q_proj", "v_proj", "c_fc", "c_proj"]),
    "nemotron": ("nemotron", dict(head_dim=8), ["q_proj", "v_proj", "up_proj", "down_proj"]),
    "cohere2": ("cohere2", dict(num_hidden_layers=3, sliding_window=6, logit_scale=0.25, sliding_window_pattern=3), ["q_proj", "v_proj", "down_proj"]),
    "exaone4": ("exaone4", dict(num_hidden_layers=3, sliding_window=6, sliding_window_pattern=3), QV),
    "ernie4_5": ("ernie4_5", dict(head_dim=8), QV),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", dict(head_dim=8), QV),
    "seed_oss": ("seed_oss", dict(head_dim=8), QV),
    "falcon": ("falcon", dict(new_decoder_architecture=True, num_kv_heads=2, ffn_hidden_size=48), ["query_key_value", "dense_h_to_4h"]),
    "falcon-multi-query": ("falcon", dict(multi_query=True, bias=False, ffn_hidden_size=48), ["query_key_value", "dense"]),
    "gpt_neox": ("gpt_neox", dict(rotary_pct=0.5), ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    "opt": ("opt", dict(ffn_dim=48, word_embed_proj_dim=H), QV),
    "bloom": ("bloom", dict(n_layer=2, n_head=6), ["query_key_value"]),
}

# Models that also see: their language model is asked, about text alone. model_type, its own fields, those of the text, of the pictures.
EYES = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
QWEN_EYES = dict(depth=1, hidden_size=16, num_heads=2, intermediate_size=16, out_hidden_size=H, patch_size=4)
QWEN_IDS = dict(image_token_id=60, video_token_id=59, vision_start_token_id=58, vision_end_token_id=57)
SEEING = {
    "seeing-gemma3": ("gemma3", dict(image_token_index=60, boi_token_index=58, eoi_token_index=59, mm_tokens_per_image=4), dict(model_type="gemma3_text", num_hidden_layers=2, head_dim=12, sliding_window=5, layer_types=LOCAL[1:]), dict(EYES, model_type="siglip_vision_model")),
    "seeing-gemma4": ("gemma4", dict(image_token_id=60, audio_config=None), dict(model_type="gemma4_text", head_dim=8, global_head_dim=16, sliding_window=5, vocab_size_per_layer_input=V, hidden_size_per_layer_input=6, layer_types=LOCAL[1:]), dict(model_type="gemma4_vision", position_embedding_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8)),
    "seeing-qwen2_5": ("qwen2_5_vl", QWEN_IDS, dict(rope_parameters=rope(rope_type="default", mrope_section=[1, 1, 0])), dict(QWEN_EYES, spatial_merge_size=2, fullatt_block_indexes=[0], window_size=8)),
    "seeing-qwen3": ("qwen3_vl", QWEN_IDS, dict(head_dim=12, rope_parameters=rope(rope_type="default", mrope_section=[2, 2, 2], mrope_interleaved=True)), dict(QWEN_EYES, num_position_embeddings=16, deepstack_visual_indexes=[0])),
    "seeing-qwen3_5": ("qwen3_5", QWEN_IDS, dict(head_dim=16, layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8), dict(QWEN_EYES, num_position_embeddings=16)),
    "seeing-mistral3": ("mistral3", dict(image_token_index=60), dict(model_type="mistral", head_dim=8, sliding_window=None), dict(EYES, model_type="pixtral")),
    "seeing-llava": ("llava", dict(image_token_index=60), dict(model_type="llama"), dict(EYES, model_type="clip_vision_model", projection_dim=16)),
    "seeing-internvl": ("internvl", dict(image_token_id=60), dict(model_type="qwen2"), dict(EYES, model_type="internvl_vision", image_size=[8, 8], patch_size=[4, 4])),
    "seeing-smolvlm": ("smolvlm", dict(image_token_id=60, scale_factor=2), dict(model_type="llama"), EYES),
}

# Seeds go by the place in the lists: what is new stands behind all others.
LATER = {
    "falcon-alibi": ("falcon", dict(num_hidden_layers=3, alibi=True, multi_query=False, parallel_attn=False, bias=True, ffn_hidden_size=48), ["query_key_value", "dense_4h_to_h"]),
    "mpt": ("mpt", dict(max_seq_len=64, attn_config=dict(softmax_scale=0.4)), ["Wqkv", "out_proj", "up_proj", "down_proj"]),
}

def spread(model, seed):
    g = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    for name, p in model.named_parameters():
        if p.dim() >= 2:
            table = any(part in name for part in ("embed", "wte", "wpe"))
            std = (H ** -0.5 if tied else 0.8) if table else (p.shape[-1] if p.dim() == 2 else p.shape[-2]) ** -0.5
            p.data.copy_(torch.randn(p.shape, generator=g) * std)
        else: p.data.add_(torch.randn(p.shape, generator=g) * 0.1)

def make(name):
    """The model without weights, and what the adapter changes."""
    if name in FAMILIES or name in LATER:
        kind, fields, targets = {**FAMILIES, **LATER}[name]
        config = AutoConfig.for_model(kind, **{**BASE, **fields})
        # Falcon's eager attention of 5.18 adds ALiBi twice, in the mask too.
        return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa" if name == "falcon-alibi" else "eager"), targets
    kind, fields, text, eyes = SEEING[name]
    config = AutoConfig.for_model(kind, **fields, text_config={**BASE, **text}, vision_config=eyes)
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager")
    return model, r".*(language_model|text_model)\..*(q_proj|v_proj|down_proj)"

for index, name in enumerate([*FAMILIES, *SEEING, *LATER]):
    if only and name not in only: continue
    for attempt in range(40):
        seed = 500 + index + 97 * attempt
        torch.manual_seed(seed)
        model, targets = make(name)
        model = model.float().eval()
        spread(model, seed); model.tie_weights()
        g = torch.Generator().manual_seed(seed + 5)
        ids = torch.randint(3, 57 if name in SEEING else V, (PROMPT,), generator=g).tolist()
        plain, gap = numbers(model, ids, "")
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")).eval()
        for key, p in adapted.named_parameters():
            if "lora_" in key: p.data.copy_(torch.randn(p.shape, generator=g) * (0.35 / p.shape[-1] ** 0.5 if "lora_A" in key else 0.35))
        with_adapter, adapted_gap = numbers(adapted, ids, "_adapter")
        varied = min(len(set(plain["greedy_ids"])), len(set(with_adapter["greedy_ids_adapter"]))) >= 4
        if gap > 2e-3 and adapted_gap > 2e-3 and varied: break
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True); os.makedirs(folder)
    adapted.save_pretrained(os.path.join(folder, "adapter"))
    adapted.unload().save_pretrained(folder)
    for path in ("adapter/README.md", "generation_config.json"):
        if os.path.exists(os.path.join(folder, path)): os.remove(os.path.join(folder, path))
    json.dump(dict(made_with=f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}", input_ids=ids, **plain, **with_adapter), open(os.path.join(folder, "expected.json"), "w"))
    print(f"{name}: seed {seed}, least gaps {gap:.4f} {adapted_gap:.4f}", flush=True)
