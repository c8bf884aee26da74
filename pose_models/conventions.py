"""Which targets, decoding and flip rule belong to a network that is trained on a store.

They travel with the weights: evaluated by another rule, a network loses up to 2 AP (leoxiaobin#22, DarkPose#23).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pose_data.errors import ModelError, UsageError
from pose_data.limbs import find_limb_table
from pose_data.recipes import Recipe
from pose_data.skeleton import COCO_PERSON, Skeleton
from pose_models.augment import PixelRule
from pose_models.decode import DECODES, Decode
from pose_models.losses import SIMCC_RULES, SimccRule
from pose_models.networks.network import Network
from pose_models.networks.simcc import flip_shift_of
from pose_models.train_config import TrainConfig

__all__ = ["Conventions", "conventions_of", "conventions_of_weights"]

_DECODE_OF: Mapping[str, Decode] = {
    "gaussian": "quarter", "unbiased": "dark", "udp": "udp", "one-hot": "argmax", "simcc": "simcc",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """All that inference needs besides network and weights. JSON-ready through :meth:`as_dict`."""

    recipe: Recipe
    """The store's geometry with the network's maps: what targets were drawn by and points are decoded by."""
    skeleton: Skeleton
    pixels: PixelRule
    decode: Decode
    flip_shift: int
    """Cells (bins) by which the mirrored picture's output is moved right before it is averaged."""
    simcc_softmax: float = 1.0
    """SimCC vectors are read as softmax(simcc_softmax * output); 0: the output itself."""
    least_score: float = 0.2
    """Keypoints with lower scores do not count for a person's score."""
    blur_kernel: int = 0
    """Of the decodings that blur; 0: the decoding's own."""
    cell_shift: float = 0.0
    """Cells added to decoded points: 0.5 where a target's cell stands for what lies between it and the next one."""
    grouping: str = ""
    """Of whole pictures: how maps and fields become persons, a name of :data:`pose_data.grouping.GROUPINGS`."""

    @property
    def people_skeleton(self) -> Skeleton:
        """Return the skeleton of the persons that are found: in whole pictures without the neck."""
        return COCO_PERSON if self.grouping else self.skeleton

    def as_dict(self) -> dict[str, Any]:
        """Return the conventions as JSON-ready values."""
        return {**asdict(self), "recipe": self.recipe.as_dict()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Conventions":
        """Return the conventions that :meth:`as_dict` described. Raises ModelError."""
        try:
            skeleton = {key: _tuples(value) for key, value in values["skeleton"].items()}
            pixels = {key: _tuples(value) for key, value in values["pixels"].items()}
            decode: Decode = values["decode"]
            if decode not in DECODES:
                raise KeyError("decode")
            return Conventions(
                recipe=Recipe.from_dict(values["recipe"]), skeleton=Skeleton(**skeleton), pixels=PixelRule(**pixels),
                decode=decode, flip_shift=int(values["flip_shift"]),
                simcc_softmax=float(values.get("simcc_softmax", 1.0)),
                least_score=float(values.get("least_score", 0.2)),
                blur_kernel=int(values.get("blur_kernel", 0)), cell_shift=float(values.get("cell_shift", 0.0)),
                grouping=str(values.get("grouping", "")),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError, UsageError) as error:
            raise ModelError("checkpoint-invalid", f"a checkpoint's conventions are incomplete: {error}") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def conventions_of(network: Network, config: TrainConfig, recipe: Recipe, skeleton: Skeleton) -> Conventions:
    """Return the conventions of a training. Raises ModelError where store and network do not fit."""
    if (recipe.rows == "scenes") != (network.output == "maps-and-fields"):
        wants = "whole pictures" if network.output == "maps-and-fields" else "crops of persons"
        raise ModelError(
            "store-mismatch", f"{network.name} learns from {wants}, the store has {recipe.rows}",
            hint="posedata prepare coco --recipe openpose-368 makes whole pictures; other recipes make crops",
        )  # fmt: skip
    if recipe.rows == "scenes":
        return _conventions_of_scenes(network, config, recipe)
    if (recipe.crop_width_px, recipe.crop_height_px) != (network.input_width_px, network.input_height_px):
        raise ModelError(
            "store-mismatch",
            f"the store has crops of {recipe.crop_height_px} x {recipe.crop_width_px} pixels, {network.name} takes "
            f"{network.input_height_px} x {network.input_width_px}",
            hint=f"posedata prepare coco --crop-size {network.input_height_px}x{network.input_width_px}; or another "
            "network: posetrain list",
        )
    if network.output not in ("maps", "offset-maps", "simcc"):
        raise UsageError(
            "network-untrainable", f"{network.name} has an output that no loss here fits; its weights can be imported",
            hint="take the network of that family with one map a keypoint",
        )  # fmt: skip
    encoding: Any = config.encoding or ("simcc" if network.output == "simcc" else network.encoding)
    if (encoding == "simcc") != (network.output == "simcc"):
        raise UsageError(
            "option-conflict", f"targets of the encoding {encoding!r} do not fit the output of {network.name}"
        )
    rule = SIMCC_RULES.get(config.loss, SimccRule())
    sizes: dict[str, Any] = {"map_width": network.map_width, "map_height": network.map_height}
    if network.output == "simcc":
        sizes = {"split_ratio": network.split_ratio}
    targets = replace(recipe, encoding=encoding, sigma=config.sigma or network.sigma, **sizes)
    same = (recipe.geometry, encoding) == (network.geometry, network.encoding)
    own = same or network.output == "offset-maps"
    decode: Any = config.decode or (network.decode if own else _DECODE_OF[encoding])
    return Conventions(
        recipe=targets, skeleton=skeleton, pixels=PixelRule.of(network), decode=decode,
        flip_shift=network.flip_shift if same else _flip_shift(targets), simcc_softmax=rule.softmax,
        least_score=rule.least_score, blur_kernel=network.blur_kernel if decode == network.decode else 0,
    )  # fmt: skip


def _conventions_of_scenes(network: Network, config: TrainConfig, recipe: Recipe) -> Conventions:
    """Return the conventions of a training on whole pictures; the network takes windows of any size."""
    stride_px = network.input_width_px // network.map_width
    if recipe.stride_px != stride_px:
        raise ModelError(
            "store-mismatch",
            f"the store's maps have a stride of {recipe.stride_px} pixels, those of {network.name} of {stride_px}",
            hint="posedata prepare coco --recipe openpose-368",
        )  # fmt: skip
    if (config.encoding, config.sigma) != ("", 0.0):
        raise UsageError("option-conflict", "the targets of scenes are drawn by the store's own recipe")
    return Conventions(
        recipe=recipe, skeleton=find_limb_table(recipe.limbs).skeleton, pixels=PixelRule.of(network),
        decode=network.decode, flip_shift=0, grouping=config.grouping or "subcell",
    )  # fmt: skip


def conventions_of_weights(
    network: Network,
    skeleton: Skeleton,
    *,
    rule: SimccRule | None = None,
    cell_shift: float = 0.0,
    recipe: Recipe | None = None,
) -> Conventions:
    """Return the conventions of weights that were trained elsewhere: ``network`` states them, for SimCC also ``rule``.

    Boxes are those of COCO, kept as annotated and grown by 1.25 to the crop's aspect, as in all the references that
    look at one person at a time; for the others ``recipe`` says how whole pictures are prepared.
    """
    sizes: dict[str, Any] = {"map_width": network.map_width, "map_height": network.map_height}
    if network.output == "simcc":
        sizes = {"split_ratio": network.split_ratio}
    rule = rule or SimccRule()
    made = Recipe.from_dict(
        {
            "name": network.name, "crop_width_px": network.input_width_px, "crop_height_px": network.input_height_px,
            "geometry": network.geometry, "encoding": network.encoding, "sigma": network.sigma, **sizes,
        }
    )  # fmt: skip
    return Conventions(
        recipe=recipe or made, skeleton=skeleton, pixels=PixelRule.of(network), decode=network.decode,
        flip_shift=network.flip_shift, simcc_softmax=rule.softmax, least_score=rule.least_score,
        blur_kernel=network.blur_kernel, cell_shift=cell_shift, grouping="published" if recipe else "",
    )  # fmt: skip


def _flip_shift(targets: Recipe) -> int:
    """Return the move that lines up a mirrored output: by one cell where cell 0 is the crop's pixel 0.

    x / 4 and (W - 1 - x) / 4 add up to three quarters of a cell less than the map's last cell; UDP's cells are
    symmetric, and so are whole cells (one-hot). DARK's authors do not move (DarkPose#23). SimCC's vectors go to the
    left, by one bin where there are two a pixel.
    """
    if targets.encoding == "simcc":
        return flip_shift_of(targets.split_ratio)
    return 0 if targets.geometry in ("udp", "dark") or targets.encoding == "one-hot" else 1
