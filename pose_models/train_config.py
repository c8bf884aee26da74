"""What a training is told: one flat description, read from and written to TOML, with a published default a network."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from pose_data.errors import UsageError
from pose_data.grouping.options import GROUPINGS
from pose_models.augmentation_rules import find_augmentation
from pose_models.losses import SCENE_LOSSES, SIMCC_RULES, find_loss
from pose_models.networks.catalogue import Network, find_network
from pose_models.networks.network import Decode
from pose_models.networks.vitpose import VITPOSE_SIZES
from pose_models.scene_augment import find_scene_augmentation
from pose_models.schedules import Schedule, build_schedule

__all__ = ["TrainConfig", "changed", "default_config", "option_name", "to_toml"]

Optimiser = Literal["adam", "adamw", "rmsprop", "sgd"]
Amp = Literal["off", "bf16", "fp16"]
Shuffle = Literal["window", "full", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides how a training goes, besides the store and the device."""

    network: str
    """A name of ``posetrain list``."""
    epochs: int = 140
    batch_size: int = 32
    """Samples a step on each device."""
    accumulate: int = 1
    """Steps whose gradients are added up before the weights change."""
    optimiser: Optimiser = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    """Of ``sgd`` and ``rmsprop``."""
    weight_decay: float = 0.0
    decay_all: bool = True
    """Whether ``weight_decay`` also counts for norms, biases and position embeddings."""
    layer_decay: float = 1.0
    """Of a transformer: each layer's learning rate is that of the one after it times this."""
    clip_norm: float = 0.0
    """Largest norm of all gradients together; 0: no limit."""
    ema_decay: float = 0.0
    """Of the moving average of the weights, which is then what is evaluated and kept; 0: none."""
    schedule: str = "step"
    """``constant``, ``step``, ``cyclic-triangle``, ``doubling-warm-up``, ``warm-up-cosine``, ``flat-cosine`` or
    ``plateau``; its options are in ``schedule_options``."""
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "joints-mse"
    encoding: str = ""
    """Of the targets: gaussian, unbiased, udp, one-hot, simcc; empty: the network's own."""
    sigma: float = 0.0
    """Of the targets, in cells (simcc: bins); 0: the network's own."""
    augmentation: str = "simple-baseline"
    late_augmentation: str = ""
    """Of the last ``late_epochs`` epochs; empty: the same."""
    late_epochs: int = 0
    amp: Amp = "off"
    channels_last: bool = False
    compile: bool = False
    cuda_graph: bool = False
    """On one GPU: record the network's passes once and replay them in each step. Faster where batches are small."""
    seed: int = 0
    shuffle: Shuffle = "window"
    window: int = 1024
    """Samples are shuffled among so many."""
    train_split: str = ""
    """Empty: the split whose name begins with "train"."""
    val_split: str = ""
    """Empty: the split whose name begins with "val"."""
    evaluate_every: int = 1
    """Epochs between evaluations; the last epoch is always evaluated."""
    report: bool = True
    """Write a report of the last evaluation: RUN/report/report.html."""
    flip_test: bool = True
    decode: str = ""
    """argmax, quarter, dark, udp, udp-mmpose; udp-offset; simcc or simcc-dark; empty: that of network and store."""
    grouping: str = ""
    """Of whole pictures: published, subcell or joined; empty: subcell."""
    most_persons: int = 0
    """Of whole pictures: train only on those with so many persons or fewer; 0: on all."""
    pretrained: str = ""
    """File with the backbone's ImageNet weights (docs/networks.md says which); empty: none."""
    freeze_backbone: bool = False
    """Keep the backbone's weights as ``pretrained`` gives them; its norms' statistics still move."""

    def __post_init__(self) -> None:
        find_network(self.network)
        scenes = find_network(self.network).output == "maps-and-fields"
        for name in (self.augmentation, self.late_augmentation or self.augmentation):
            (find_scene_augmentation if scenes else find_augmentation)(name)
        if not scenes:
            find_loss(self.loss)
        self.build_schedule()
        _check(self)

    def augmentation_of(self, epoch: int) -> str:
        """Return the name of an epoch's augmentation."""
        late = epoch >= self.epochs - self.late_epochs
        return (self.late_augmentation if late else "") or self.augmentation

    def build_schedule(self) -> Schedule:
        """Return the learning-rate schedule; one that has a length lasts as long as the training unless told otherwise.

        Raises UsageError for an unknown one.
        """
        length = {"epochs": self.epochs} if self.schedule in ("warm-up-cosine", "flat-cosine") else {}
        return build_schedule(self.schedule, **{**length, **dict(self.schedule_options)})


_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "optimiser": get_args(Optimiser),
        "amp": get_args(Amp),
        "shuffle": get_args(Shuffle),
        "encoding": ("", "gaussian", "unbiased", "udp", "one-hot", "simcc"),
        "grouping": ("", *GROUPINGS),
        "decode": ("", *get_args(Decode)),
    }
)
_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "epochs": (1, 100_000),
        "batch_size": (1, 65_536),
        "accumulate": (1, 4096),
        "learning_rate": (0.0, 1e3),
        "momentum": (0.0, 1.0),
        "weight_decay": (0.0, 1e3),
        "layer_decay": (0.01, 1.0),
        "late_epochs": (0, 100_000),
        "clip_norm": (0.0, 1e6),
        "ema_decay": (0.0, 0.999999),
        "sigma": (0.0, 1000.0),
        "seed": (0, 2**31),
        "window": (1, 1 << 24),
        "evaluate_every": (1, 100_000),
        "most_persons": (0, 100_000),
    }
)


def _check(config: TrainConfig) -> None:
    for option in fields(config):
        value, kind = getattr(config, option.name), option.type
        wanted = (int, float) if kind is float else (kind,)
        if kind in (int, float, bool) and type(value) not in wanted:
            kind_name = getattr(kind, "__name__", str(kind))
            raise UsageError("option-value", f"{option.name} is {value!r}", hint=f"of type {kind_name}")
        if option.name in _CHOICES and value not in _CHOICES[option.name]:
            choices = ", ".join(choice or '""' for choice in _CHOICES[option.name])
            raise UsageError("option-value", f"{option.name} is {value!r}", hint=f"one of: {choices}")
        low, high = _RANGES.get(option.name, (float("-inf"), float("inf")))
        if option.name in _RANGES and not low <= value <= high:
            raise UsageError("option-value", f"{option.name} is {value!r}", hint=f"between {low:g} and {high:g}")
    if config.cuda_graph and (config.compile or config.accumulate > 1):
        # Gradients of a replayed step lie where the next one's will, so that they cannot be added up.
        raise UsageError("option-conflict", "cuda_graph goes neither with compile nor with accumulate")
    network = find_network(config.network)
    if config.layer_decay != 1.0 and network.family != "vitpose":
        raise UsageError("option-conflict", f"layer_decay is for transformers, not for {config.network}")
    if config.freeze_backbone and not config.pretrained:
        raise UsageError(
            "option-conflict", "freeze_backbone wants weights to keep", hint="--set pretrained=FILE, or leave it out"
        )
    if network.output == "maps-and-fields":
        _check_scenes(config)
        return
    if config.grouping or config.most_persons:
        raise UsageError("option-conflict", "grouping and most_persons are for networks of whole pictures")
    if (network.output == "simcc") != (config.loss in SIMCC_RULES):
        raise UsageError(
            "option-conflict", f"the loss {config.loss} does not fit the output of {config.network}",
            hint=f"SimCC networks take {', '.join(SIMCC_RULES)}, the others the mse ones",
        )  # fmt: skip
    if (network.output == "offset-maps") != (config.loss == "offset-mse"):
        raise UsageError(
            "option-conflict", f"the loss {config.loss} does not fit the output of {config.network}",
            hint="offset-mse is for networks with offset maps, and they take no other",
        )  # fmt: skip
    if network.output == "offset-maps" and config.encoding:
        raise UsageError("option-conflict", f"{config.network} has targets of its own, no encoding {config.encoding!r}")
    if config.decode and _output_read_by(config.decode) != network.output:
        raise UsageError("option-conflict", f"the decoding {config.decode} does not fit the output of {config.network}")


def _output_read_by(decode: str) -> str:
    if decode == "udp-offset":
        return "offset-maps"
    return "simcc" if decode.startswith("simcc") else "maps"


def _check_scenes(config: TrainConfig) -> None:
    if config.loss not in SCENE_LOSSES:
        raise UsageError(
            "option-conflict", f"the loss {config.loss} does not fit the output of {config.network}",
            hint=f"networks of whole pictures take {', '.join(SCENE_LOSSES)}",
        )  # fmt: skip
    if config.decode:
        raise UsageError("option-conflict", "whole pictures are not decoded but grouped", hint="--set grouping=...")


def default_config(network_name: str) -> TrainConfig:
    """Return the published recipe of a network's family; see docs/training.md for the sources.

    Raises UsageError for an unknown network.
    """
    network = find_network(network_name)
    return TrainConfig(network=network_name, **_published(network))


def _published(network: Network) -> dict[str, Any]:
    if network.name.startswith(("simplebaseline-r18", "hourglass-small")):
        # Not published: for first steps and for small data, minutes rather than days.
        return {
            "epochs": 30, "batch_size": 16, "learning_rate": 2e-3, "optimiser": "adamw", "weight_decay": 0.01,
            "schedule": "warm-up-cosine", "schedule_options": {"warm_up_steps": 30},
            "augmentation": "simple-baseline", "evaluate_every": 5, "ema_decay": 0.98,
        }  # fmt: skip
    match network.family:
        case "small":
            # Ours: a minute on two processor cores.
            return {
                "epochs": 60, "batch_size": 32, "optimiser": "adamw", "learning_rate": 4e-3, "weight_decay": 0.01,
                "schedule": "warm-up-cosine", "schedule_options": {"warm_up_steps": 50},
                "augmentation": "hourglass", "evaluate_every": 10, "ema_decay": 0.99, "channels_last": True,
                "loss": "keypoint-mse", "window": 256,
            }  # fmt: skip
        case "simplebaseline":
            # microsoft/human-pose-estimation.pytorch, experiments/coco.
            return {"schedule_options": {"milestones_epochs": [90, 120]}}
        case "hrnet":
            # leoxiaobin/deep-high-resolution-net.pytorch, experiments/coco/hrnet; DARK's and UDP's follow it.
            loss = "offset-mse" if network.output == "offset-maps" else "joints-mse"
            return {
                "epochs": 210, "augmentation": "hrnet", "loss": loss,
                "schedule_options": {"milestones_epochs": [170, 200]},
            }  # fmt: skip
        case "attention":
            # akmeraki/Pose_estimation, main/config.py, as TF-SimpleHumanPose trains.
            return {
                "learning_rate": 5e-4, "loss": "keypoint-mse", "schedule_options": {"milestones_epochs": [90, 120]},
            }  # fmt: skip
        case "simcc":
            # leeyegy/SimCC, experiments/coco: as SimpleBaseline and HRNet train; hard labels unless the row's AP is
            # that of Gaussian ones.
            loss = "simcc-kl" if "Gaussian" in network.published_with else "nmt"
            if network.backbone.startswith("hrnet"):
                milestones = {"milestones_epochs": [170, 200]}
                return {"loss": loss, "epochs": 210, "augmentation": "hrnet", "schedule_options": milestones}
            return {"loss": loss, "schedule_options": {"milestones_epochs": [90, 120]}}
        case "simcc-seed":
            # SebastianKyle/Pose-Estimation, train.py: 20 rounds of 1,200 steps, learning rate halved on a plateau.
            return {
                "epochs": 20, "learning_rate": 5e-6, "weight_decay": 1e-5, "loss": "simcc-seed-kl",
                "augmentation": "simcc-seed", "schedule": "plateau", "schedule_options": {},
            }  # fmt: skip
        case "rtmpose":
            # mmpose 1.x, rtmpose-…_8xb256-420e_coco; the rate is that of a batch of 1,024. Its blur is left out.
            return {
                "epochs": 420, "batch_size": 256, "accumulate": 4, "optimiser": "adamw", "learning_rate": 4e-3,
                "weight_decay": 0.05, "decay_all": False, "ema_decay": 0.9998, "schedule": "flat-cosine",
                "loss": "rtmpose-kl", "augmentation": "rtmpose", "late_augmentation": "rtmpose-late",
                "late_epochs": 30, "evaluate_every": 10,
            }  # fmt: skip
        case "vitpose":
            # mmpose 1.x, td-hm_ViTPose-…_8xb64-210e_coco; the rate is that of a batch of 512.
            size = VITPOSE_SIZES[network.name.split("-")[1]]
            return {
                "epochs": 210, "batch_size": 64, "accumulate": 8, "optimiser": "adamw", "learning_rate": 5e-4,
                "weight_decay": 0.1, "decay_all": False, "layer_decay": size.layer_decay, "clip_norm": 1.0,
                "loss": "keypoint-mse", "augmentation": "mmpose", "evaluate_every": 10,
                "schedule_options": {"milestones_epochs": [170, 200], "warm_up_steps": 500},
            }  # fmt: skip
        case "unet":
            # qyzdao/single-human-pose-estimation, model.py: up to 3,000 rounds of 200 steps of 8.
            return {
                "epochs": 100, "batch_size": 8, "learning_rate": 2e-4, "loss": "multi-head-mse",
                "augmentation": "white-frame", "schedule": "constant",
            }  # fmt: skip
        case "hourglass-seed":
            # borarak/human-pose-estimation, the README's settings.
            return {
                "epochs": 100, "batch_size": 16, "learning_rate": 2.5e-4, "loss": "hot-cold",
                "augmentation": "hourglass-seed", "schedule": "doubling-warm-up", "schedule_options": {},
            }  # fmt: skip
        case "hourglass-mmpose":
            # mmpose 1.x, td-hm_hourglass52.
            return {
                "epochs": 210, "learning_rate": 5e-4, "loss": "keypoint-mse", "augmentation": "mmpose",
                "schedule_options": {"milestones_epochs": [170, 200], "warm_up_steps": 500},
            }  # fmt: skip
        case "hourglass":
            # bearpaw/pytorch-pose and DarkPose: RMSprop or Adam at 2.5e-4.
            return {
                "epochs": 140, "batch_size": 16, "learning_rate": 2.5e-4, "augmentation": "hourglass",
                "schedule_options": {"milestones_epochs": [90, 120]},
            }  # fmt: skip
        case "openpose":
            # CMU's Caffe training: 600,000 steps of 10, rate times a third every 136,106 of them (21 epochs of COCO's
            # 64,115 pictures with persons).
            return {
                "epochs": 94, "batch_size": 10, "optimiser": "sgd", "momentum": 0.9, "weight_decay": 5e-4,
                "learning_rate": 4e-5, "loss": "staged-l2", "augmentation": "openpose", "window": 192,
                "schedule_options": {"milestones_epochs": [21, 42, 64, 85], "gamma": 0.333},
            }  # fmt: skip
        case "lightweight-openpose":
            # Daniil-Osokin/lightweight-human-pose-estimation.pytorch, train.py: from ImageNet weights.
            return {
                "epochs": 280, "batch_size": 80, "learning_rate": 4e-5, "weight_decay": 5e-4, "loss": "staged-l2",
                "augmentation": "openpose", "window": 192,
                "schedule_options": {"milestones_epochs": [100, 200, 260], "gamma": 0.333},
            }  # fmt: skip
        case _:
            return {}


def changed(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration with other values; texts are read as TOML where the field is no text.

    Raises UsageError for an unknown field or a value that does not fit.
    """
    known = {option.name: option.type for option in fields(TrainConfig)}
    values: dict[str, Any] = {}
    for name, value in changes.items():
        key = option_name(name)
        if isinstance(value, str) and known[key] in (int, float, bool, Mapping[str, Any]):
            value = _toml_value(name, value)
        values[key] = float(value) if known[key] is float and type(value) is int else value
    return replace(config, **values)


def option_name(name: str) -> str:
    """Return the name of a configuration's field, of which ``-`` may stand for ``_``. Raises UsageError."""
    known = [option.name for option in fields(TrainConfig)]
    if (key := name.replace("-", "_")) not in known:
        raise UsageError("option-unknown", f"a training has no option {name!r}", hint=f"known: {', '.join(known)}")
    return key


def _toml_value(name: str, text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise UsageError("option-value", f"{name} is {text!r}", hint="a number, true or false") from None


def to_toml(config: TrainConfig) -> str:
    """Return the configuration as TOML, in the order of its fields."""
    lines, options = [], ""
    for name, value in asdict(config).items():
        if isinstance(value, Mapping):
            options = "\n".join([f"\n[{name}]", *(f"{key} = {_toml(item)}" for key, item in value.items())])
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join([*lines, *([options] if options else [])]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
