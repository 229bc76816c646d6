"""Trains the network that turns the features of a pair into a gain, and writes it as ONNX.

    python -m analysis.sipm.learned.train FOLDER

Needs the extra `train`. Everything follows from the seed. Examples are simulated in shards and the
members of the ensemble trained one by one; both are kept in FOLDER, so a run that was cut off goes
on where it stopped.

The network starts from the two answers that need none: the best trial gain of the histograms and
-ln F of the prior, averaged with their errors to c +- w. A member gives a shift and a scale of it,
ln(G / q) = c + w d, sigma = w e^s, by Gaussian likelihood (D. Nix, A. Weigend, ICNN 1994); the
ensemble is the mixture of its members (B. Lakshminarayanan et al., arXiv:1612.01474). One factor
on sigma, fitted on the validation set, makes 68.3 % of the intervals cover.
"""

import argparse
import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.learned.data import Ranges, draw_examples
from analysis.sipm.learned.export import (
    LEAST_SHAPE_VARIANCE,
    MOST_SCALE,
    Parameters,
    write_onnx,
)
from analysis.sipm.learned.features import NAMES
from analysis.sipm.learned.model import CARD, MODEL, Output, infer, load, start_session

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """seed: of everything. shards of shard_size examples; the part `validation` of them decides
    when to stop and sets the factor on sigma, the last part `held_out` only measures. patience:
    epochs without an improvement before a member stops."""

    seed: int = 20
    shards: int = 36
    shard_size: int = 500
    validation: float = 0.15
    held_out: float = 0.15
    members: int = 4
    hidden: int = 64
    rate: float = 2e-3
    batch: int = 256
    epochs: int = 120
    patience: int = 20
    workers: int = 2


@dataclass(frozen=True)
class Examples:
    """inputs (n, len(NAMES)) and targets (n,) ln(G / q)."""

    inputs: Floats
    targets: Floats

    def part(self, begin: float, end: float) -> "Examples":
        n = len(self.targets)
        cut = slice(round(begin * n), round(end * n))
        return Examples(self.inputs[cut], self.targets[cut])


def make_examples(folder: Path, plan: Plan, ranges: Ranges) -> tuple[Examples, str]:
    """All shards, simulated where the folder lacks them, and the SHA-256 of their content."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"shard_{plan.seed}_{i:03d}.npz" for i in range(plan.shards)]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(plan.workers) as pool:
        jobs = [pool.submit(_shard, paths[i], plan, ranges, i) for i in missing]
        for job in jobs:
            job.result()
    digest = hashlib.sha256()
    inputs, targets = [], []
    for path in paths:
        with np.load(path) as shard:
            inputs.append(shard["inputs"])
            targets.append(shard["targets"])
        digest.update(inputs[-1].tobytes())
        digest.update(targets[-1].tobytes())
    return Examples(np.concatenate(inputs), np.concatenate(targets)), digest.hexdigest()


def _shard(path: Path, plan: Plan, ranges: Ranges, index: int) -> None:
    rng = np.random.default_rng([plan.seed, index])
    inputs, targets = draw_examples(rng, plan.shard_size, ranges)
    unfinished = path.with_name(f"unfinished_{path.name}")
    np.savez(unfinished, inputs=inputs, targets=targets)
    unfinished.rename(path)


def baseline(inputs: Floats) -> tuple[Floats, Floats]:
    """c and w, (n,) each: best trial gain and -ln F weighted with their errors."""
    column = {name: inputs[:, i] for i, name in enumerate(NAMES)}
    by_shape = 1 / (np.exp(2 * column["ln_best_width"]) + LEAST_SHAPE_VARIANCE)
    by_divisor = 1 / (np.exp(2 * column["ln_divisor_error"]) + np.exp(2 * column["ln_slope_error"]))
    precision = by_shape + by_divisor
    centre = (by_shape * column["best_ln_gain"] - by_divisor * column["ln_divisor"]) / precision
    return centre.astype(np.float32), (precision**-0.5).astype(np.float32)


def train_member(
    folder: Path, plan: Plan, index: int, examples: Examples, digest: str
) -> list[Floats]:
    """Weights and biases of one member; from the folder where the same plan trained it before on
    the same examples, whose SHA-256 is `digest`."""
    recipe = hashlib.sha256(f"{plan} {digest}".encode()).hexdigest()[:12]
    path = folder / f"member_{recipe}_{index}.npz"
    if not path.exists():
        layers = _fit(plan, index, examples)
        unfinished = path.with_name(f"unfinished_{path.name}")
        np.savez(unfinished, *layers)
        unfinished.rename(path)
    with np.load(path) as stored:
        return [stored[f"arr_{i}"] for i in range(len(stored.files))]


def _fit(plan: Plan, index: int, examples: Examples) -> list[Floats]:
    torch, nn = import_module("torch"), import_module("torch.nn")
    torch.manual_seed(1000 * plan.seed + index)
    torch.set_num_threads(1)
    train = examples.part(0.0, 1 - plan.validation - plan.held_out)
    check = examples.part(1 - plan.validation - plan.held_out, 1 - plan.held_out)
    centre, spread = _standard(train.inputs)
    net = nn.Sequential(
        nn.Linear(len(NAMES), plan.hidden),
        nn.SiLU(),
        nn.Linear(plan.hidden, plan.hidden),
        nn.SiLU(),
        nn.Linear(plan.hidden, 2),
    )

    def tensors(part: Examples) -> tuple[Any, Any]:
        from_baseline, width = baseline(part.inputs)
        pull = (part.targets - from_baseline) / width
        return torch.from_numpy((part.inputs - centre) / spread), torch.from_numpy(pull)

    def loss(inputs: Any, pull: Any) -> Any:
        shift, scale = net(inputs).unbind(dim=1)
        scale = scale.clamp(-MOST_SCALE, MOST_SCALE)
        return (scale + 0.5 * (torch.exp(-scale) * (pull - shift)) ** 2).clamp(max=50.0).mean()

    inputs, pull = tensors(train)
    checked = tensors(check)
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs)
    best, best_state, waited = float("inf"), net.state_dict(), 0
    for _ in range(plan.epochs):
        for rows in torch.randperm(len(pull)).split(plan.batch):
            optimiser.zero_grad()
            here = loss(inputs[rows], pull[rows])
            here.backward()
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            now = float(loss(*checked))
        waited += 1
        if now < best:
            best, waited = now, 0
            best_state = {name: value.clone() for name, value in net.state_dict().items()}
        if waited > plan.patience:
            break
    return [
        np.ascontiguousarray(value.T.numpy() if value.ndim == 2 else value.numpy())
        for value in best_state.values()
    ]


def _standard(inputs: Floats) -> tuple[Floats, Floats]:
    return inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)


def parameters(plan: Plan, members: list[list[Floats]], examples: Examples) -> Parameters:
    """What the exported network holds, still with the factor 1 on sigma."""
    train = examples.part(0.0, 1 - plan.validation - plan.held_out)
    centre, spread = _standard(train.inputs)
    scaled = (train.inputs - centre) / spread
    size, axes = np.linalg.eigh(np.cov(scaled.T))
    whiten = axes / np.sqrt(np.maximum(size, 1e-2))
    stacked = [np.stack(layers) for layers in zip(*members, strict=True)]
    return Parameters(centre, spread, whiten.astype(np.float32), stacked, 1.0)


def train(folder: Path, plan: Plan, ranges: Ranges, target: Path) -> dict[str, Any]:
    """Trains, writes MODEL and CARD into `target`, and returns the card."""
    examples, digest = make_examples(folder, plan, ranges)
    members = [train_member(folder, plan, i, examples, digest) for i in range(plan.members)]
    network = parameters(plan, members, examples)
    known = examples.part(0.0, 1 - plan.validation - plan.held_out)
    check = examples.part(1 - plan.validation - plan.held_out, 1 - plan.held_out)
    held_out = examples.part(1 - plan.held_out, 1.0)
    target.mkdir(parents=True, exist_ok=True)
    session = start_session(write_onnx(network))
    seen = infer(session, check.inputs)
    pulls = np.abs(check.targets - seen.ln_gain) / seen.ln_sigma
    network = replace(network, sigma_factor=float(np.quantile(pulls, 0.6827)))
    content = write_onnx(network)
    session = start_session(content)
    score = infer(session, known.inputs).score
    parity = held_out.inputs[:3]
    expected = infer(session, parity)
    card = {
        "purpose": "ln(G / q) of a light-on and a light-off histogram with its error",
        "features": list(NAMES),
        "trained_on": {"ranges": asdict(ranges), "plan": asdict(plan), "data_sha256": digest},
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "valid": {
            "low": known.inputs.min(axis=0).tolist(),
            "high": known.inputs.max(axis=0).tolist(),
            "score": float(np.quantile(score, 0.999)),
        },
        "held_out": _figures(infer(session, held_out.inputs), held_out),
        "parity": {
            "inputs": parity.tolist(),
            "ln_gain": expected.ln_gain.tolist(),
            "ln_sigma": expected.ln_sigma.tolist(),
        },
    }
    (target / MODEL).write_bytes(content)
    (target / CARD).write_text(json.dumps(card, indent=1) + "\n")
    load(target)
    return card


def _figures(found: Output, examples: Examples) -> dict[str, float]:
    pulls = (found.ln_gain - examples.targets) / found.ln_sigma
    precise = found.ln_sigma < 0.1
    return {
        "examples": float(len(pulls)),
        "coverage": float(np.mean(np.abs(pulls) < 1)),
        "coverage_2_sigma": float(np.mean(np.abs(pulls) < 2)),
        "pull_mean": float(pulls.mean()),
        "pull_width": float(pulls.std()),
        "worst_pull": float(np.abs(pulls).max()),
        "share_better_than_10_percent": float(precise.mean()),
        "median_sigma_of_these": float(np.median(found.ln_sigma[precise])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where examples and members are kept")
    parser.add_argument("--target", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--shards", type=int, default=Plan.shards)
    chosen = parser.parse_args()
    plan = Plan(seed=chosen.seed, shards=chosen.shards)
    card = train(chosen.folder, plan, Ranges(), chosen.target)
    print(json.dumps(card["held_out"], indent=1))


if __name__ == "__main__":
    main()
