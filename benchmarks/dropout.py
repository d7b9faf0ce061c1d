"""ReLU and dropout in one step against PyTorch's two, there and back, on a CPU.

    python -m benchmarks.dropout > dropout.json

Progress goes to stderr, one JSON object to stdout. Units are those of a batch of the ranker's first
hidden layer. The two alternate; medians are reported, with what the C library does with freed
memory by itself (`given_back`) and with all of it kept for the process, as training has it
(`kept`). `ratio` is PyTorch's time over that of one step, kept.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks import command

ROWS: Final = 40_000
WIDTH: Final = 256
SHARE: Final = 0.1


def main() -> None:
    """Measure and print."""
    parser = command.parser("dropout", __doc__)
    parser.add_argument("--rounds", type=command.count, default=15)
    rounds = parser.parse_args().rounds

    from training.machine import keep_freed_memory

    given_back = measure(rounds)
    command.say("once more with freed memory kept")
    kept = measure(rounds) if keep_freed_memory() else given_back
    report: dict[str, Any] = {
        "ratio": round(kept["pytorch"] / kept["one_step"], 2),
        "given_back_ms": given_back,
        "kept_ms": kept,
    }
    command.report(report)


def measure(rounds: int) -> dict[str, float]:
    """Median milliseconds of each, forward and backward."""
    import torch
    from torch import nn

    from models.dropout import ReLUDropout

    layers = {
        "pytorch": nn.Sequential(nn.ReLU(), nn.Dropout(SHARE)),
        "one_step": ReLUDropout(SHARE),
    }
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    gradient = torch.randn(ROWS, WIDTH)
    times: dict[str, list[float]] = {name: [] for name in layers}
    for number in range(rounds + 1):
        for name, layer in layers.items():
            x.grad = None
            began = perf_counter()
            layer(x).backward(gradient)
            if number:  # the first one warms up
                times[name].append(1e3 * (perf_counter() - began))
        command.say(f"round {number} of {rounds}")
    return {name: round(median(values), 1) for name, values in times.items()}


if __name__ == "__main__":
    main()
