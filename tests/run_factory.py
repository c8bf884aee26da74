"""Runs for tests: a network with chosen weights in a folder, as training would have left it, without training."""

from pathlib import Path

import torch

from pose_data.recipes import build_recipe
from pose_data.skeleton import COCO_PERSON
from pose_models.checkpoint import Checkpoint, save_checkpoint
from pose_models.conventions import conventions_of
from pose_models.networks.catalogue import find_network
from pose_models.train_config import default_config


def make_run(
    folder: Path, *, name: str = "small-128x96", recipe: str = "coco-256x192-udp", seed: int = 0,
    steps: tuple[int, ...] = (1,),
) -> Path:  # fmt: skip
    """Write a run whose network has random weights that give maps of 0 to about 1, in a checkpoint for each step."""
    network = find_network(name)
    changes = {} if network.output == "simcc" else {"map_width": network.map_width, "map_height": network.map_height}
    sizes = {"crop_width_px": network.input_width_px, "crop_height_px": network.input_height_px, **changes}
    conventions = conventions_of(network, default_config(name), build_recipe(recipe, **sizes), COCO_PERSON)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = network.build(COCO_PERSON.keypoint_count).eval()
        for module_name, parameter in module.named_parameters():
            if module_name.endswith("head.weight"):
                torch.nn.init.normal_(parameter, std=0.6)
    for step in steps:
        save_checkpoint(folder, Checkpoint(step=step, network=name, conventions=conventions, model=module.state_dict()))
    return folder


def make_scene_run(folder: Path, *, seed: int = 0) -> Path:
    """Write a run of lightweight OpenPose whose random weights give few, clear peaks: the highest of random maps."""
    name = "lightweight-openpose-368x368"
    recipe = build_recipe("lightweight-openpose-368")
    conventions = conventions_of(find_network(name), default_config(name), recipe, COCO_PERSON)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        module = find_network(name).build(conventions.skeleton.keypoint_count)
        noise = torch.cat([
            (torch.rand(1, 3, 368 // cell, 368 // cell) - 0.5).repeat_interleave(cell, 2).repeat_interleave(cell, 3)
            for cell in (1, 4, 16, 46, 92)
        ])  # fmt: skip
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        module.train()(noise)  # so that activations keep their size through the layers
        maps, fields = module.eval()(noise)[-1]
        last = module.refinement_stages[-1]
        by_channel = maps.transpose(0, 1).flatten(1)
        low, high = by_channel.quantile(0.985, dim=1), by_channel.amax(dim=1)
        head = last.heatmaps[-1][0]
        factor = 0.7 / (high - low)
        head.weight.mul_(factor[:, None, None, None])
        head.bias.copy_((head.bias - low) * factor + 0.1)
        for parameter in last.pafs[-1].parameters():
            parameter.mul_(0.8 / fields.abs().max())
    checkpoint = Checkpoint(step=1, network=name, conventions=conventions, model=module.state_dict())
    save_checkpoint(folder, checkpoint)
    return folder
