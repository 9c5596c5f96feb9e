"""What every golden model says: its last row of logits, and its greedy ids with the least gap between the first two."""
import math
import torch

STEPS = 12

def greedy(model, ids):
    ids, gap = list(ids), math.inf
    for _ in range(STEPS):
        row = model(input_ids=torch.tensor([ids])).logits[0, -1].float()
        top = row.topk(2).values
        gap = min(gap, float(top[0] - top[1])); ids.append(int(row.argmax()))
    return ids[-STEPS:], gap

def numbers(model, ids, suffix):
    with torch.no_grad():
        row = model(input_ids=torch.tensor([ids])).logits[0, -1].float()
        chosen, gap = greedy(model, ids)
    return {f"logits_last{suffix}": [float(f"{float(x):.7g}") for x in row], f"greedy_ids{suffix}": chosen}, gap
