"""Inference with the shipped network: one thread, no spinning, checked by a parity vector."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.charge_ratio import PairPrior
from analysis.sipm.learned.features import NAMES, features
from analysis.sipm.spectrum import Spectrum

METHOD = "network on the histogram pair"
UNIT = "ADC/pe"
HERE = Path(__file__).parent
MODEL = "gain_of_pair.onnx"
CARD = "gain_of_pair.json"
MOST_SIGMA = 0.1
MARGIN = 0.02
PARITY_TOLERANCE = 1e-4

Floats = NDArray[np.float32]


class ModelError(RuntimeError):
    """The shipped network cannot be trusted: it is missing, changed, or computes wrong numbers."""


@dataclass(frozen=True)
class Output:
    """ln_gain: ln(G / q), its sigma, and the outlier score of the features; (n,) each."""

    ln_gain: Floats
    ln_sigma: Floats
    score: Floats


@dataclass(frozen=True)
class Network:
    """A loaded network and its card."""

    session: Any
    card: Mapping[str, Any]


def learned_gain(on: Spectrum, off: Spectrum, prior: PairPrior | None = None) -> Estimate:
    """Gain in ADC per photoelectron from a pair of histograms, by the network.

    on, off: spectra with and without light, same temperature, bias, gate and ADC setting, in
        matching bins of one width.
    prior: `enf_divisor` (F with its error) is used where it is given.

    goodness: score (1 within the training data, see its limit in the card), divisor_given.

    Unknown for pairs that have no features (no light, contradictions), that lie outside of what the
    network was trained on, where the error exceeds 10 %, and without ONNX Runtime.

    Raises ModelError when the shipped network fails its check.
    """
    found = features(on, off, prior)
    if isinstance(found, str):
        return unknown(UNIT, METHOD, found)
    try:
        network = load(HERE)
    except ImportError:
        return unknown(UNIT, METHOD, "ONNX Runtime is not installed")
    output = infer(network.session, found.values[None, :].astype(np.float32))
    score, sigma = float(output.score[0]), float(output.ln_sigma[0])
    given = found.values[NAMES.index("divisor_known")]
    goodness = {"score": score, "divisor_given": float(given)}
    outside = _outside(network.card, found.values, score)
    if outside:
        return unknown(UNIT, METHOD, f"outside the training data: {outside}", goodness=goodness)
    if not sigma < MOST_SIGMA:
        why = f"the pair tells the gain only to {sigma:.0%}"
        return unknown(UNIT, METHOD, why, goodness=goodness)
    gain = found.slope * exp(float(output.ln_gain[0]))
    return Estimate(gain, gain * sigma, UNIT, METHOD, goodness)


def infer(session: Any, inputs: Floats) -> Output:
    """Outputs of the network for features (n, len(NAMES))."""
    ln_gain, ln_sigma, score = session.run(["ln_gain", "ln_sigma", "score"], {"features": inputs})
    return Output(ln_gain, ln_sigma, score)


def start_session(content: bytes) -> Any:
    """An ONNX Runtime session with one thread that sleeps between calls."""
    onnxruntime = import_module("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=2)
def load(folder: Path) -> Network:
    """The network of a folder, after its check.

    Raises ModelError when a file is missing, when the model is not the one of the card, when the
    card is of other features, and when the parity vector gives other numbers than in training.
    """
    try:
        content = (folder / MODEL).read_bytes()
        card = json.loads((folder / CARD).read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"the network of {folder} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != card["model_sha256"]:
        raise ModelError(f"{folder / MODEL} is not the network of its card")
    if tuple(card["features"]) != NAMES:
        raise ModelError(f"the network of {folder} was trained on other features")
    session = start_session(content)
    parity = card["parity"]
    seen = infer(session, np.array(parity["inputs"], dtype=np.float32))
    for name, values in (("ln_gain", seen.ln_gain), ("ln_sigma", seen.ln_sigma)):
        worst = float(np.abs(values - np.array(parity[name])).max())
        if not worst < PARITY_TOLERANCE:
            raise ModelError(f"the network computes {name} wrong by {worst:.1g} on this machine")
    return Network(session, card)


def _outside(card: Mapping[str, Any], values: NDArray[np.float64], score: float) -> str:
    low, high = np.array(card["valid"]["low"]), np.array(card["valid"]["high"])
    margin = MARGIN * (high - low)
    bad = (values < low - margin) | (values > high + margin) | ~np.isfinite(values)
    if bad.any():
        i = int(np.argmax(bad))
        return f"{NAMES[i]} is {values[i]:.3g}, not in {low[i]:.3g} to {high[i]:.3g}"
    limit = float(card["valid"]["score"])
    return f"unusual features (score {score:.3g} above {limit:.3g})" if score > limit else ""
