"""The options of a recipe, flat on the command line: one table, used by every command that takes a recipe."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli.options import parse_pair
from pose_data.errors import UsageError
from pose_data.recipes import (
    RECIPES,
    Background,
    Boxes,
    BoxRule,
    Encoding,
    Exif,
    FieldDtype,
    FieldOverlap,
    Geometry,
    ImageCodec,
    LimbRegion,
    Limbs,
    MapDtype,
    MapOverlap,
    Recipe,
    Untrained,
    Visibility,
    build_recipe,
)

__all__ = ["RECIPE_OPTIONS", "RecipeOption", "recipe_from", "takes_recipe"]

_WINDOW, _CHOICE, _TARGETS, _SCENES, _FILES = (
    f"What is made, recorded in the store: {part}"
    for part in ("window", "persons", "maps", "whole pictures only", "files")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOption:
    """One option: its name as a parameter, its type, and the recipe's fields that it sets."""

    name: str
    kind: Any
    help: str
    panel: str
    fields: tuple[str, ...] = ()
    metavar: str | None = None
    parser: Callable[[str], Any] | None = None
    flags: tuple[str, ...] = ()
    complete: Callable[[str], Sequence[str]] | None = None

    @property
    def sets(self) -> tuple[str, ...]:
        """Return the recipe's fields that the option sets."""
        return self.fields or (self.name,)

    def parameter(self) -> inspect.Parameter:
        """Return the option as a parameter for Typer; None means that the recipe decides."""
        option = typer.Option(
            *self.flags, help=self.help, metavar=self.metavar, parser=self.parser, rich_help_panel=self.panel,
            autocompletion=self.complete, show_default=False,
        )  # fmt: skip
        kind = bool if self.kind is _Switch else self.kind | None
        default = False if self.kind is _Switch else None
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
        )


class _Switch:
    """A flag that is off unless given, in contrast to one that the recipe decides."""


def _parse_joints(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in str(text).split(","))
    if names in (("all",), ("",)):
        return ()
    return tuple(name for name in names if name)


def _complete_recipe(incomplete: str) -> Sequence[str]:
    return [name for name in RECIPES if name.startswith(incomplete)]


RECIPE_OPTIONS: tuple[RecipeOption, ...] = (
    RecipeOption(
        name="recipe", kind=str, fields=("name",), panel=_WINDOW, metavar="NAME", complete=_complete_recipe,
        help=f"Where the options below start from: {', '.join(RECIPES)}. Default coco-256x192.",
    ),
    RecipeOption(
        name="crop_size", kind=tuple, fields=("crop_height_px", "crop_width_px"), panel=_WINDOW,
        metavar="HEIGHTxWIDTH", parser=parse_pair, help="Size of the training window in pixels, such as 256x192.",
    ),
    RecipeOption(
        name="geometry", kind=Geometry, panel=_WINDOW,
        help="How a box becomes a window: msra, udp and dark grow it to the window's aspect, each with its own "
        "scale; box stretches it; square pads it to a white square. letterbox is for whole pictures.",
    ),
    RecipeOption(name="padding", kind=float, panel=_WINDOW, help="The box is grown by this factor; 1.25 is usual."),
    RecipeOption(
        name="frame", kind=float, panel=_WINDOW,
        help="White frame of the square geometry, as a share of the square's side.",
    ),
    RecipeOption(
        name="context", kind=int, fields=("context_px",), panel=_WINDOW, metavar="PIXELS",
        help="Real pixels kept on every side of the window, for later rotation and zoom.",
    ),
    RecipeOption(
        name="background", kind=Background, panel=_WINDOW,
        help="keep the picture, or make white what is outside the person's mask.",
    ),
    RecipeOption(
        name="exif", kind=Exif, panel=_WINDOW,
        help="EXIF orientation: ignore it, apply it, or auto: whichever fits the size in the annotations.",
    ),
    RecipeOption(
        name="box_rule", kind=BoxRule, panel=_CHOICE, metavar="RULE",
        help="annotated: as it is; msra-clean: clipped, width and height less one; truncated: whole numbers.",
    ),
    RecipeOption(
        name="boxes", kind=Boxes, panel=_CHOICE, metavar="SOURCE",
        help="annotated; from-keypoints: a record without a usable box gets one made from its keypoints.",
    ),
    RecipeOption(
        name="min_keypoints", kind=int, panel=_CHOICE, help="Least number of labelled keypoints of a person."
    ),
    RecipeOption(
        name="min_box_area", kind=float, fields=("min_box_area_px2",), panel=_CHOICE, metavar="PIXELS²",
        help="The box must be larger than this.",
    ),
    RecipeOption(
        name="single_polygon", kind=bool, panel=_CHOICE, flags=("--single-polygon/--no-single-polygon",),
        help="Only persons with exactly one segmentation polygon.",
    ),
    RecipeOption(
        name="keep_crowd", kind=bool, panel=_CHOICE, flags=("--keep-crowd/--no-keep-crowd",),
        help="Keep records marked iscrowd.",
    ),
    RecipeOption(
        name="joints", kind=tuple, panel=_TARGETS, metavar="A,B,C", parser=_parse_joints,
        help="Names of the keypoints that are stored, or all.",
    ),
    RecipeOption(
        name="visibility", kind=Visibility, panel=_TARGETS,
        help="Keypoints with a map: labelled (flag above 0) or visible (flag 2).",
    ),
    RecipeOption(
        name="encoding", kind=Encoding, panel=_TARGETS, metavar="NAME",
        help="How a keypoint becomes a map: gaussian, unbiased, udp, one-hot; or two vectors: simcc.",
    ),
    RecipeOption(
        name="map_size", kind=tuple, fields=("map_height", "map_width"), panel=_TARGETS,
        metavar="HEIGHTxWIDTH", parser=parse_pair, help="Size of a map in cells, such as 64x48.",
    ),
    RecipeOption(
        name="full_size_maps", kind=_Switch, fields=("map_height", "map_width"), panel=_TARGETS,
        flags=("--full-size-maps",), help="Maps as large as the window.",
    ),
    RecipeOption(name="sigma", kind=float, panel=_TARGETS, help="Of the Gaussian, in cells (simcc: in bins)."),
    RecipeOption(name="split_ratio", kind=float, panel=_TARGETS, help="SimCC bins a pixel of the window."),
    RecipeOption(name="map_dtype", kind=MapDtype, panel=_TARGETS, help="Type of a map's values."),
    RecipeOption(
        name="limbs", kind=Limbs, panel=_SCENES,
        help="Limb table of the fields: openpose (CMU, lightweight OpenPose) or tensorboy.",
    ),
    RecipeOption(
        name="map_overlap", kind=MapOverlap, panel=_SCENES, metavar="RULE",
        help="Where persons meet in a map: clipped-sum or maximum.",
    ),
    RecipeOption(
        name="field_overlap", kind=FieldOverlap, panel=_SCENES, metavar="RULE",
        help="Where limbs meet in a field: average of the vectors, or overwrite: the last person's.",
    ),
    RecipeOption(
        name="limb_region", kind=LimbRegion, panel=_SCENES, metavar="RULE",
        help="Which cells a limb covers: as the port of tensorboy or as the lightweight one draws it.",
    ),
    RecipeOption(name="limb_half_width", kind=float, panel=_SCENES, help="Half of a limb's width, in cells."),
    RecipeOption(name="field_dtype", kind=FieldDtype, panel=_SCENES, help="Type of a field's values."),
    RecipeOption(
        name="untrained", kind=Untrained, panel=_SCENES, metavar="RULE",
        help="What the mask leaves out: unlabelled (crowds and persons without labels) or crowds.",
    ),
    RecipeOption(
        name="image_codec", kind=ImageCodec, panel=_FILES,
        help="lossless; raw reads twice as fast and is 1.3 times as large; fast lies between; jpeg is lossy, a fifth.",
    ),
    RecipeOption(name="jpeg_quality", kind=int, panel=_FILES, help="Of the codec jpeg, 1 to 100."),
    RecipeOption(
        name="shard_rows", kind=int, panel=_FILES, help="Rows a shard, the unit of writing; 0: by the set's size."
    ),
    RecipeOption(name="chunk_rows", kind=int, panel=_FILES, help="Rows a chunk, the unit of reading."),
    RecipeOption(name="order_seed", kind=int, panel=_FILES, help="Seed of the order of the pictures."),
)  # fmt: skip


def recipe_from(given: Mapping[str, Any]) -> Recipe:
    """Return the recipe that the options' values ask for (option name → value). Raises UsageError."""
    changes: dict[str, Any] = {}
    for option in RECIPE_OPTIONS:
        value = given.get(option.name)
        if value is None or option.name in ("recipe", "full_size_maps"):
            continue
        values = value if len(option.sets) > 1 else (value,)
        changes |= dict(zip(option.sets, values, strict=True))
    name = given.get("recipe") or "coco-256x192"
    if given.get("full_size_maps"):
        if "map_height" in changes:
            raise UsageError("option-conflict", "--full-size-maps and --map-size", hint="give one of them")
        start = build_recipe(name, **changes)
        changes |= {"map_height": start.crop_height_px, "map_width": start.crop_width_px}
    return build_recipe(name, **changes)


def takes_recipe(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all recipe options in place of its parameter ``recipe``, and hand it the recipe they make."""
    names = [option.name for option in RECIPE_OPTIONS]

    @functools.wraps(handler)
    def command(*values: Any, **named: Any) -> Any:
        given = {name: named.pop(name) for name in names}
        return handler(*values, **named, recipe=recipe_from(given))

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(handler).parameters.values():
        if parameter.name == "recipe":
            parameters += [option.parameter() for option in RECIPE_OPTIONS]
        else:
            parameters.append(parameter)
    # Typer reads the signature and the annotations; with the attributes it sees the options, not ``recipe``.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
