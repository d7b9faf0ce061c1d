"""Experiments: layers of arms by salted hash, each arm overriding parameters of the feed."""

from qianmian.experiments.assignment import Arm, Experiments, Layer, load_experiments
from qianmian.experiments.params import FeedOverrides, FeedParams

__all__ = ["Arm", "Experiments", "FeedOverrides", "FeedParams", "Layer", "load_experiments"]
