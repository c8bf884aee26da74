"""The reference networks' state dicts, made from names and shapes, and their outputs to compare ours with."""

import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

TOLERANCE = 1e-5
"""Greatest difference, as a share of the greatest value of the reference's output."""


@dataclass(frozen=True)
class References:
    """What the golden folder says about every reference network."""

    keyed: Any
    arrays: Any
    keys: Mapping[str, list[tuple[str, list[int], str]]]
    facts: Mapping[str, Any]

    @staticmethod
    def of(folder: Path, keyed: Any) -> "References":
        with lzma.open(folder / "keys.json.xz") as file:
            keys = json.load(file)
        facts = json.loads((folder / "peers.json").read_text())
        return References(keyed, np.load(folder / "peers.npz"), keys, facts)

    def state(self, case: str) -> dict[str, Tensor]:
        """Return a reference's state dict, under its own keys, with the weights that its outputs belong to."""
        name = f"{case}-keyed"
        gain = self.facts[name]["gain"]
        return {
            key: torch.from_numpy(self.keyed.keyed_value(key, tuple(shape), gain))
            if dtype == "float32"
            else torch.zeros(shape, dtype=torch.int64)
            for key, shape, dtype in self.keys[name]
        }

    def worst_difference(
        self,
        case: str,
        network: nn.Module,
        *,
        inputs: Sequence[Tensor] = (),
        order: str = "",
        tolerance: float = TOLERANCE,
    ) -> float:
        """Return the greatest difference of the network's outputs, as a share of the reference's greatest value.

        ``inputs``: where the network takes more than pictures; ``order``: how a reference returns maps and fields;
        ``tolerance``: how far the sums of all values may be off, as a share of the sum of their sizes.
        """
        facts = self.facts[f"{case}-keyed"]
        height_px, width_px = facts["input"][2:]
        given = inputs or [torch.from_numpy(self.keyed.fixed_input(height_px, width_px))]
        with torch.inference_mode():
            output = network.eval()(*given)
        if order:
            output = _as_the_reference(output, order)
        if list(facts["outputs"]) == ["output"] and not isinstance(output, Tensor):
            output = torch.stack(tuple(output), dim=1)
        elif list(facts["outputs"]) == ["output.0"] and isinstance(output, Tensor):
            output = [output]
        named = {f"output{name}": tensor.numpy() for name, tensor in _flat(output)}
        assert named.keys() == facts["outputs"].keys()
        return max(self._share(f"{case}-keyed:{name}", values, tolerance) for name, values in named.items())

    def _share(self, name: str, values: Any, tolerance: float) -> float:
        kept, (total, absolute, count, step) = self.arrays[f"{name}|every"], self.arrays[f"{name}|stat"]
        assert values.size == count
        flat = values.reshape(-1).astype(np.float64)
        assert abs(flat.sum() - total) <= tolerance * absolute
        assert abs(np.abs(flat).sum() - absolute) <= tolerance * absolute
        return float(np.abs(flat[:: int(step)] - kept).max() / np.abs(kept).max())


def _as_the_reference(stages: Sequence[tuple[Tensor, Tensor]], order: str) -> Any:
    """Return the outputs of all stages, (maps, fields), as a reference returns them."""
    maps, fields = stages[-1]
    if order == "stages":
        return [part for stage in stages for part in stage]
    if order == "hzzone":  # its list of layers without a ReLU has a slip: the last maps get one
        return [fields, maps.relu()]
    return [[fields, maps], [part for maps, fields in stages for part in (fields, maps)]]


def _flat(output: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) as the golden file names them: output, output.0, output.0.1 ..."""
    if isinstance(output, Tensor):
        yield "", output
        return
    for index, part in enumerate(output):
        yield from ((f".{index}{name}", tensor) for name, tensor in _flat(part))
