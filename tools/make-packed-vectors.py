"""Writes test/vectors/packed.json: linear modules packed by AutoGPTQ and AutoAWQ, and what these read from them.

usage: make-packed-vectors.py AUTO_GPTQ AUTO_AWQ > test/vectors/packed.json   (torch and numpy; source trees of AutoGPTQ
       and AutoAWQ: auto_gptq/nn_modules/qlinear/qlinear_cuda.py, awq/modules/linear/gemm.py, awq/utils/packing_utils.py)

Weights are float32 and scales numbers that float16 holds, so that the libraries' own products are exact."""
import base64, importlib.util, json, sys, types
import torch

IN, OUT = 64, 32
gptq_tree, awq_tree = sys.argv[1:3]

# All that the two files want of packages that are not needed here.
stub = types.ModuleType("transformers")
stub.pytorch_utils = types.SimpleNamespace(Conv1D=type("Conv1D", (), {}))
sys.modules["transformers"] = stub
for name in ("awq", "awq.utils"):
    sys.modules[name] = types.ModuleType(name)


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


packing = load("awq.utils.packing_utils", f"{awq_tree}/awq/utils/packing_utils.py")
gemm = load("awq_gemm", f"{awq_tree}/awq/modules/linear/gemm.py")
cuda = load("qlinear_cuda", f"{gptq_tree}/auto_gptq/nn_modules/qlinear/qlinear_cuda.py")
torch.manual_seed(15)


def text(tensor):
    return base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()


def numbers(bits, groups):
    """Scales (out, groups), zero points (out, groups) and the weights that the codes of both are exact for."""
    scales = (torch.rand(OUT, groups) * 0.05 + 0.001).half().float()
    # Less one they are stored in so many bits: 1 is the least.
    zeros = torch.randint(1, 2**bits, (OUT, groups)).float()
    return scales, zeros


def linear_of(weights):
    linear = torch.nn.Linear(IN, OUT, bias=False)
    linear.weight.data = weights
    return linear


def gptq(name, bits, group_size, order=None):
    size = IN if group_size == -1 else group_size
    groups = IN // size
    scales, zeros = numbers(bits, groups)
    g_idx = torch.tensor([k // size for k in range(IN)], dtype=torch.int32) if order is None else order
    codes = torch.randint(0, 2**bits, (OUT, IN)).float()
    weights = scales[:, g_idx.long()] * (codes - zeros[:, g_idx.long()])
    module = cuda.QuantLinear(bits, group_size, IN, OUT, False, weight_dtype=torch.float32)
    module.pack(linear_of(weights), scales, zeros, g_idx)
    # The product with the unit vectors is the dequantized matrix, (in, out).
    values = module(torch.eye(IN)).t()
    return dict(name=name, method="gptq", bits=bits, groupSize=size, qweight=text(module.qweight), qzeros=text(module.qzeros),
                scales=text(module.scales.half()), g_idx=text(module.g_idx), values=text(values))


def awq(name, group_size):
    groups = IN // group_size
    scales, zeros = numbers(4, groups)
    zeros = zeros - 1
    codes = torch.randint(0, 16, (OUT, IN)).float()
    weights = scales.repeat_interleave(group_size, 1) * (codes - zeros.repeat_interleave(group_size, 1))
    module = gemm.WQLinear_GEMM.from_linear(linear_of(weights), 4, group_size, scales=scales.t().contiguous(), zeros=zeros.t().contiguous())
    values = packing.dequantize_gemm(module.qweight, module.qzeros, module.scales.float(), 4, group_size).t()
    return dict(name=name, method="awq", bits=4, groupSize=group_size, qweight=text(module.qweight), qzeros=text(module.qzeros),
                scales=text(module.scales), values=text(values))


any_order = (torch.randperm(IN) // 32).to(torch.int32)
cases = [
    gptq("GPTQ, 4 bits", 4, 32),
    gptq("GPTQ, 4 bits, one group", 4, -1),
    gptq("GPTQ, 4 bits, any order", 4, 32, any_order),
    gptq("GPTQ, 8 bits", 8, 32),
    awq("AWQ", 32),
]
json.dump(cases, sys.stdout, indent=1)
print()
