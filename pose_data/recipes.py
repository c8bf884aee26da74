"""Recipes: named, frozen sets of preparation options, in one table.

A recipe decides every byte of a store's arrays; workers, scheduler and memory are not part of it.
Sources of the built-in ones: the repositories named beside each, read at the commits listed in
``docs/recipes.md``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from pose_data.errors import UsageError
from pose_data.skeleton import COCO_PERSON, Skeleton, subset

__all__ = [
    "RECIPES",
    "Background",
    "BoxRule",
    "Boxes",
    "Encoding",
    "Exif",
    "FieldDtype",
    "FieldOverlap",
    "Geometry",
    "ImageCodec",
    "LimbRegion",
    "Limbs",
    "MapDtype",
    "MapOverlap",
    "Recipe",
    "Rows",
    "Untrained",
    "Visibility",
    "build_recipe",
]

Rows = Literal["persons", "scenes"]
Geometry = Literal["msra", "udp", "dark", "box", "square", "letterbox"]
BoxRule = Literal["annotated", "msra-clean", "truncated"]
Boxes = Literal["annotated", "from-keypoints"]
Background = Literal["keep", "white"]
Visibility = Literal["labelled", "visible"]
Encoding = Literal["gaussian", "unbiased", "udp", "one-hot", "simcc"]
MapDtype = Literal["uint8", "float16", "float32"]
ImageCodec = Literal["lossless", "fast", "raw", "jpeg"]
Exif = Literal["auto", "apply", "ignore"]
Limbs = Literal["openpose", "tensorboy"]
MapOverlap = Literal["clipped-sum", "maximum"]
FieldOverlap = Literal["average", "overwrite"]
LimbRegion = Literal["tensorboy", "lightweight"]
FieldDtype = Literal["int8", "float16"]
Untrained = Literal["unlabelled", "crowds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All options that decide what a store holds. Sizes in pixels (crop) and cells (map)."""

    name: str = "coco-256x192"
    crop_width_px: int = 192
    crop_height_px: int = 256
    geometry: Geometry = "msra"
    padding: float = 1.25
    """The box is grown about its centre by this factor (``msra``, ``udp``, ``dark``)."""
    frame: float = 0.0
    """White frame of the ``square`` geometry, as a share of the square's side, on each side."""
    context_px: int = 0
    """Real pixels kept on every side of the training window, at the window's scale."""
    boxes: Boxes = "annotated"
    """``from-keypoints``: a record without a usable box gets one made from its keypoints."""
    box_rule: BoxRule = "annotated"
    """``msra-clean``: clip to the picture, width and height less one; ``truncated``: whole numbers, clipped."""
    background: Background = "keep"
    joints: tuple[str, ...] = ()
    """Names of the keypoints that are stored; empty means all."""
    min_keypoints: int = 1
    """Least number of labelled keypoints (of the full skeleton)."""
    min_box_area_px2: float = 0.0
    """The box must be larger than this."""
    single_polygon: bool = False
    keep_crowd: bool = False
    visibility: Visibility = "labelled"
    """Which keypoints get a map: ``labelled`` (v > 0) or ``visible`` (v = 2)."""
    encoding: Encoding = "gaussian"
    map_width: int = 48
    map_height: int = 64
    """Map size in cells; ``simcc``: crop size times the split ratio gives the vectors' lengths."""
    sigma: float = 2.0
    """In map cells; ``simcc``: in bins."""
    split_ratio: float = 2.0
    """SimCC bins a crop pixel."""
    map_dtype: MapDtype = "uint8"
    image_codec: ImageCodec = "lossless"
    jpeg_quality: int = 95
    shard_rows: int = 0
    """Rows a shard; 0 chooses: 1,024 for large sets, fewer for small ones (see ``plan``)."""
    chunk_rows: int = 16
    order_seed: int = 0
    exif: Exif = "auto"
    rows: Rows = "persons"
    """``scenes``: a row is a whole picture with all its persons; the fields below are of scenes only."""
    limbs: Limbs = "openpose"
    """Name of the limb table that the fields are drawn for."""
    map_overlap: MapOverlap = "clipped-sum"
    field_overlap: FieldOverlap = "average"
    limb_region: LimbRegion = "tensorboy"
    limb_half_width: float = 1.0
    """In map cells."""
    field_dtype: FieldDtype = "int8"
    untrained: Untrained = "unlabelled"
    """What must not be trained on: crowds alone, or persons without labels, too."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def stored_width_px(self) -> int:
        """Return the width of a stored image: the window and its context."""
        return self.crop_width_px + 2 * self.context_px

    @property
    def stored_height_px(self) -> int:
        """Return the height of a stored image: the window and its context."""
        return self.crop_height_px + 2 * self.context_px

    def skeleton_of(self, full: Skeleton) -> tuple[Skeleton, tuple[int, ...]]:
        """Return the stored skeleton and the indices of its keypoints in ``full``."""
        if not self.joints:
            return full, tuple(range(full.keypoint_count))
        return subset(full, self.joints)

    @property
    def stride_px(self) -> int:
        """Return how many pixels of a scene a map cell is wide and high."""
        return self.crop_width_px // self.map_width

    @property
    def takes_masks(self) -> bool:
        """Return whether rows are made with the annotations' segmentations."""
        return self.background == "white" or self.rows == "scenes"

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Return the recipe that :meth:`as_dict` described. Raises UsageError for a value of wrong type or range."""
        defaults = {field.name: field.default for field in fields(cls)}
        return cls(**{key: _plain_value(value, defaults.get(key)) for key, value in options.items()})

    def as_dict(self) -> dict[str, Any]:
        """Return the options that the rows have as JSON-ready values, in the order of the fields."""
        options = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        # Crops have no options of scenes: what was recorded of them before there were scenes stays the same.
        return {key: value for key, value in options.items() if self.rows == "scenes" or key not in _OF_SCENES}


_CHOICES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "geometry": get_args(Geometry),
        "box_rule": get_args(BoxRule),
        "boxes": get_args(Boxes),
        "background": get_args(Background),
        "visibility": get_args(Visibility),
        "encoding": get_args(Encoding),
        "map_dtype": get_args(MapDtype),
        "image_codec": get_args(ImageCodec),
        "exif": get_args(Exif),
        "rows": get_args(Rows),
        "limbs": get_args(Limbs),
        "map_overlap": get_args(MapOverlap),
        "field_overlap": get_args(FieldOverlap),
        "limb_region": get_args(LimbRegion),
        "field_dtype": get_args(FieldDtype),
        "untrained": get_args(Untrained),
    }
)
_OF_SCENES = frozenset(
    [
        "rows", "limbs", "map_overlap", "field_overlap", "limb_region", "limb_half_width", "field_dtype", "untrained",
    ]
)  # fmt: skip
_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "crop_width_px": (8, 4096),
        "crop_height_px": (8, 4096),
        "padding": (0.1, 10.0),
        "frame": (0.0, 2.0),
        "context_px": (0, 2048),
        "min_keypoints": (0, 1000),
        "min_box_area_px2": (0, 1e12),
        "map_width": (2, 4096),
        "map_height": (2, 4096),
        "sigma": (0.1, 1000.0),
        "split_ratio": (0.25, 16.0),
        "jpeg_quality": (1, 100),
        "shard_rows": (0, 65536),
        "chunk_rows": (1, 1024),
        "order_seed": (0, 2**31),
        "limb_half_width": (0.1, 100.0),
    }
)


def _plain_value(value: Any, default: Any) -> Any:
    """Return lists as tuples and whole numbers as floats where those belong: 2 and 2.0 are one option."""
    if isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(default, float) and type(value) is int else value


def _has_type(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return type(value) in (int, float)
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    return type(value) is type(default)


def _check(recipe: Recipe) -> None:
    for option in fields(recipe):
        value = getattr(recipe, option.name)
        if not _has_type(value, option.default):
            wanted = "list of texts" if option.default == () else type(option.default).__name__
            raise UsageError("option-value", f"{option.name} is {value!r}", hint=f"of type {wanted}")
    for field, allowed in _CHOICES.items():
        value = getattr(recipe, field)
        if value not in allowed:
            raise UsageError("option-value", f"{field} is {value!r}", hint=f"one of: {', '.join(allowed)}")
    for field, (low, high) in _RANGES.items():
        value = getattr(recipe, field)
        if not low <= value <= high:
            raise UsageError("option-value", f"{field} is {value!r}", hint=f"between {low:g} and {high:g}")
    if recipe.shard_rows % recipe.chunk_rows:
        raise UsageError(
            "option-value",
            f"shard_rows {recipe.shard_rows} is not a multiple of chunk_rows {recipe.chunk_rows}",
            hint="a shard is a whole number of chunks",
        )
    if recipe.context_px and recipe.geometry == "square":
        raise UsageError(
            "option-conflict",
            "context_px does not go with the square geometry: outside its square there is a white frame",
            hint="leave --context out, or use another geometry",
        )
    if (recipe.rows == "scenes") != (recipe.geometry == "letterbox"):
        raise _conflict("scenes have the letterbox geometry, and nothing else has it", "start from a recipe of scenes")
    if recipe.rows == "scenes":
        _check_scenes(recipe)
        return
    defaults = {option.name: option.default for option in fields(recipe) if option.name in _OF_SCENES}
    given = [name for name, default in defaults.items() if getattr(recipe, name) != default]
    if given:
        raise _conflict(f"{', '.join(given)}: an option of scenes", "start from a recipe of scenes")


def _check_scenes(recipe: Recipe) -> None:
    for name, wanted in (("encoding", "unbiased"), ("background", "keep"), ("joints", ()), ("visibility", "labelled")):
        if getattr(recipe, name) != wanted:
            raise _conflict(f"{name} {getattr(recipe, name)!r} does not go with scenes", f"scenes have {wanted!r}")
    stride = recipe.stride_px
    sides = (recipe.crop_width_px - stride * recipe.map_width, recipe.crop_height_px - stride * recipe.map_height)
    if any(sides) or recipe.context_px % stride:
        raise _conflict(
            f"a window of {recipe.crop_height_px} x {recipe.crop_width_px} and a context of {recipe.context_px} pixels "
            f"are no whole cells of {recipe.map_height} x {recipe.map_width} maps",
            "window = stride x map size, on both axes; the context a multiple of the stride",
        )


def _conflict(message: str, hint: str) -> UsageError:
    return UsageError("option-conflict", message, hint=hint)


_SCENES: dict[str, Any] = {
    "rows": "scenes", "geometry": "letterbox", "padding": 1.0, "crop_width_px": 368, "crop_height_px": 368,
    "context_px": 64, "encoding": "unbiased", "map_width": 46, "map_height": 46, "sigma": 0.875, "chunk_rows": 4,
}  # fmt: skip

# One table; each recipe says where its numbers come from.
_TABLE: tuple[Recipe, ...] = (
    # microsoft/human-pose-estimation.pytorch (SimpleBaseline) and HRNet, 256x192: sigma 2.
    Recipe(name="coco-256x192"),
    # The same at 384x288: sigma 3.
    Recipe(name="coco-384x288", crop_width_px=288, crop_height_px=384, map_width=72, map_height=96, sigma=3.0),
    # UDP: (size - 1) geometry, Gaussian about the exact centre.
    Recipe(name="coco-256x192-udp", geometry="udp", encoding="udp"),
    # DarkPose: its own (size - 1) scale, centre not rounded.
    Recipe(name="coco-256x192-dark", geometry="dark", encoding="unbiased"),
    # princeton-vl / bearpaw stacked hourglass: square crop, sigma 1 on 64 x 64.
    Recipe(name="hourglass-256", crop_width_px=256, crop_height_px=256, map_width=64, map_height=64, sigma=1.0),
    # borarak/human-pose-estimation: the box stretched to a square, one hot cell for each visible joint.
    Recipe(
        name="hourglass-seed", crop_width_px=256, crop_height_px=256, geometry="box", padding=1.0,
        box_rule="truncated", min_keypoints=11, visibility="visible", encoding="one-hot",
        map_width=64, map_height=64, sigma=1.0,
    ),
    # qyzdao/single-human-pose-estimation: masked to white, white square with a frame of side // 5,
    # 13 joints, full-size maps of covariance 64.
    Recipe(
        name="white-frame-320", crop_width_px=320, crop_height_px=320, geometry="square", padding=1.0,
        frame=0.2, box_rule="truncated", background="white",
        joints=("nose", *COCO_PERSON.names[5:]), min_keypoints=16, min_box_area_px2=2500.0,
        single_polygon=True, visibility="visible", encoding="unbiased",
        map_width=320, map_height=320, sigma=8.0,
    ),
    # akmeraki/Pose_estimation (TF-SimpleHumanPose): the MSRA crop, sigma 2, maps times 255.
    Recipe(name="attention-256x192"),
    # SebastianKyle/Pose-Estimation: the box stretched to 256x192, SimCC split 4, sigma 20 bins.
    Recipe(
        name="simcc-seed", geometry="box", padding=1.0, box_rule="truncated", visibility="visible",
        encoding="simcc", sigma=20.0, split_ratio=4.0,
    ),
    # CMU's OpenPose (Cao et al., CVPR 2017) and tensorboy's port: whole pictures, stride 8, sigma 7 px.
    Recipe(name="openpose-368", **_SCENES),
    # Daniil-Osokin/lightweight-human-pose-estimation.pytorch: the same, with its own overlap and masks.
    Recipe(
        name="lightweight-openpose-368", field_overlap="overwrite", limb_region="lightweight", untrained="crowds",
        **_SCENES,
    ),
)  # fmt: skip

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _TABLE})


def build_recipe(name: str = "coco-256x192", **changes: Any) -> Recipe:
    """Return the named recipe with ``changes`` (field name to value; None leaves the recipe's).

    Raises UsageError for an unknown recipe or field, or a value out of range.
    """
    if name not in RECIPES:
        raise UsageError("recipe-unknown", f"there is no recipe {name!r}", hint=f"recipes: {', '.join(RECIPES)}")
    known = {field.name for field in fields(Recipe)} - {"name"}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise UsageError("option-unknown", f"no recipe option {', '.join(unknown)}", hint=f"known: {sorted(known)}")
    given = {key: value for key, value in changes.items() if value is not None}
    return Recipe.from_dict({**RECIPES[name].as_dict(), **given})
