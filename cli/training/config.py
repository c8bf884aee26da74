"""``posetrain config``."""

from cli.console import log_to_stderr, print_line
from cli.options import Quiet, Verbose
from cli.training.options import NetworkName

__all__ = ["config"]


def config(network: NetworkName, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Print a network's full default configuration as TOML, for posetrain run --config."""
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pose_models.train_config import default_config, to_toml

    for line in to_toml(default_config(network)).rstrip().splitlines():
        print_line(line)
    return 0
