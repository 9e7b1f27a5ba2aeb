"""What PyTorch reaches on a CUDA card: the products and correlations that `neurosieve bench` measures through Vulkan.

    python benches/peers_gpu.py OUT.json

Needs a CUDA card and PyTorch. Medians of device events over runs of about 50 ms, random data, after a run that does not count.
`full_tflops` counts a whole product, 2·N·D² (a Gram matrix has half as many different entries).
"""

import json
import sys

import torch

SHAPES = [(16_384, 4_096), (4_096, 8_192), (32_768, 8_192), (100_000, 9_984)]


def median_seconds(work, repetitions=9):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def timed(times):
        begin.record()
        for _ in range(times):
            work()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e-3 / times

    timed(1)
    times = max(1, int(0.05 / max(timed(1), 1e-6)))
    return sorted(timed(times) for _ in range(repetitions))[repetitions // 2]


def exact(allowed):
    torch.backends.cuda.matmul.allow_tf32 = not allowed


def correlations(samples, neurons):
    flop = 2.0 * samples * neurons**2
    x = torch.randn(samples, neurons, device="cuda")
    seconds = {}
    exact(True)
    seconds["f32"] = median_seconds(lambda: x.T @ x, 5)
    exact(False)
    seconds["tf32"] = median_seconds(lambda: x.T @ x)
    half, brain = x.half(), x.bfloat16()
    seconds["f16"] = median_seconds(lambda: half.T @ half)
    seconds["bf16"] = median_seconds(lambda: brain.T @ brain)
    exact(True)
    by_neuron = x.T.contiguous()
    seconds["corrcoef_f32"] = median_seconds(lambda: torch.corrcoef(by_neuron), 3)
    return {name: {"ms": s * 1e3, "full_tflops": flop / s / 1e12} for name, s in seconds.items()}


def products(samples, neurons, columns):
    x = torch.randn(samples, neurons, device="cuda")
    w, r = torch.randn(neurons, columns, device="cuda"), torch.randn(samples, columns, device="cuda")
    flop = 2.0 * samples * neurons * columns
    exact(True)
    return {
        "xw_tflops": flop / median_seconds(lambda: x @ w) / 1e12,
        "xtr_tflops": flop / median_seconds(lambda: x.T @ r) / 1e12,
    }


def transfers(values):
    host = torch.empty(values, pin_memory=True)
    device, other = (torch.empty(values, device="cuda") for _ in range(2))
    return {
        "copy_gbps": 8 * values / median_seconds(lambda: other.copy_(device)) / 1e9,
        "upload_gbps": 4 * values / median_seconds(lambda: device.copy_(host, non_blocking=True)) / 1e9,
        "download_gbps": 4 * values / median_seconds(lambda: host.copy_(device, non_blocking=True)) / 1e9,
    }


def main():
    found = {
        "card": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "correlations": {f"{n} x {d}": correlations(n, d) for n, d in SHAPES},
        "products, 8192 x 8192, 512 columns": products(8_192, 8_192, 512),
        "transfers": transfers(1 << 28),
    }
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump(found, out, indent=1)


if __name__ == "__main__":
    main()
