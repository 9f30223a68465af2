"""The peer of train_step: the same LoRA step in eager PyTorch, written as transformers and PEFT compute it.

    peer_torch_step.py f32|bf16 THREADS

SmolLM2-135M's shape with random weights, LoRA of rank 16 on all seven linears of a block, two documents of 512 tokens,
AdamW, gradients clipped to 1. With bf16 the base is bf16, the adapters are f32, and autocast is on, as PEFT's defaults
have it. For each line on standard input it does one step and prints: seconds, loss, gradient norm, peak resident KiB.
Needs PyTorch 2.5 or later, nothing else.
"""
import os
import sys
import time

kind, threads = sys.argv[1], int(sys.argv[2])
os.environ["OMP_NUM_THREADS"] = str(threads)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads stall each other where anything else runs

import torch
import torch.nn.functional as F
from torch import nn

VOCAB, DIM, FFN, LAYERS, HEADS, KV_HEADS, HEAD, RANK, BATCH, TOKENS = 49152, 576, 1536, 30, 9, 3, 64, 16, 2, 512
dtype = torch.bfloat16 if kind == "bf16" else torch.float32
torch.set_num_threads(threads)
torch.manual_seed(0)


class LoraLinear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.base = nn.Linear(inputs, outputs, bias=False, dtype=dtype).requires_grad_(False)
        self.a = nn.Linear(inputs, RANK, bias=False)
        self.b = nn.Linear(RANK, outputs, bias=False)
        nn.init.normal_(self.base.weight, std=0.02)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        result = self.base(x)
        return result + self.b(self.a(x.to(self.a.weight.dtype))) * 2.0


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM, dtype=dtype), requires_grad=False)

    def forward(self, x):
        given = x.dtype
        x = x.to(torch.float32)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
        return self.weight * x.to(given)


def rotate_half(x):
    return torch.cat((-x[..., HEAD // 2:], x[..., :HEAD // 2]), dim=-1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.o = LoraLinear(DIM, HEADS * HEAD), LoraLinear(HEADS * HEAD, DIM)
        self.k, self.v = LoraLinear(DIM, KV_HEADS * HEAD), LoraLinear(DIM, KV_HEADS * HEAD)
        self.gate, self.up, self.down = LoraLinear(DIM, FFN), LoraLinear(DIM, FFN), LoraLinear(FFN, DIM)
        self.before, self.after = Norm(), Norm()

    def attention(self, x, cos, sin):
        q, k, v = (f(x).view(BATCH, TOKENS, -1, HEAD).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        y = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), is_causal=True, enable_gqa=True)
        return self.o(y.transpose(1, 2).reshape(BATCH, TOKENS, HEADS * HEAD))

    def forward(self, x, cos, sin):
        x = x + self.attention(self.before(x), cos, sin)
        m = self.after(x)
        return x + self.down(F.silu(self.gate(m)) * self.up(m))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, DIM, dtype=dtype).requires_grad_(False)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = Norm()
        angle = torch.outer(torch.arange(TOKENS).float(), 1e5 ** (-torch.arange(0, HEAD, 2).float() / HEAD))
        angle = torch.cat((angle, angle), dim=-1)
        self.cos, self.sin = angle.cos().to(dtype), angle.sin().to(dtype)

    def forward(self, ids, labels):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight).float()
        return F.cross_entropy(logits.view(-1, VOCAB), F.pad(labels, (0, 1), value=-100)[:, 1:].reshape(-1))


def peak_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


model = Model()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=2e-4)
ids = torch.randint(0, VOCAB, (BATCH, TOKENS))
for _ in sys.stdin:
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16"):
        loss = model(ids, ids)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    print(time.perf_counter() - begin, loss.item(), norm.item(), peak_kib(), flush=True)
