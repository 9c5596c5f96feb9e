"""Writes test/vectors/long-context.json: what transformers makes of contexts that get longer than longrope's original one.

A pass over all ids each time (use_cache=False). With keys and values kept, generate() of 5.18 drops them where the context becomes a long
one, as it should, and then reads the last id alone: what it says from there on has lost its prompt. usage: make-long-context.py FOLDER > test/vectors/long-context.json   (FOLDER: test/fixtures/golden-hf/phi3-partial; transformers 5)"""
import json, sys, torch, transformers
from transformers import AutoModelForCausalLM
transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(1)

path = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").float().eval()
original = model.config.original_max_position_embeddings
vocab = model.config.vocab_size
sig = lambda row: [float(f"{float(x):.7g}") for x in row]
cases = []
for name, length, steps in [("crosses in its third step", original - 2, 12), ("is as long as the original context", original, 8),
                            ("is long from the start", original + 30, 8)]:
    for seed in range(500):
        g = torch.Generator().manual_seed(seed)
        ids = torch.randint(3, vocab, (1, length), generator=g)
        with torch.no_grad():
            made = model.generate(ids, max_new_tokens=steps, do_sample=False, use_cache=False, eos_token_id=None, pad_token_id=0)
            rows, whole = [], ids
            for _ in range(steps):
                rows.append(model(whole).logits[0, -1]); whole = torch.cat([whole, rows[-1].argmax()[None, None]], 1)
        gap = min(float(t[0] - t[1]) for t in (row.topk(2).values for row in rows))
        if gap > 5e-3 and torch.equal(made, whole) and len(set(made[0, length:].tolist())) >= 4: break
    else: raise SystemExit(f"{name}: nothing found")
    cases.append(dict(name=name, input_ids=ids[0].tolist(), greedy_ids=made[0, length:].tolist(), logits_first=sig(rows[0]), logits_last=sig(rows[-1])))
print(json.dumps(dict(made_with=f"transformers {transformers.__version__}", original_context=original, cases=cases)))
