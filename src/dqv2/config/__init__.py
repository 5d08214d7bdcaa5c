"""The configuration, typed: every key is named here, everything else is refused with its path."""

from dqv2.config.base import ConfigError
from dqv2.config.blocks import Axes, Selector
from dqv2.config.check import load_config
from dqv2.config.experiments import Config, Experiment
from dqv2.config.files import read_file, read_files

__all__ = ["Axes", "Config", "ConfigError", "Experiment", "Selector", "load_config", "read_file", "read_files"]
