"""What of a network, a configuration and a store decides how outputs are read, there and back through a checkpoint."""

import json

import pytest

from pose_data.errors import UsageError
from pose_data.recipes import build_recipe
from pose_data.skeleton import COCO_PERSON
from pose_models.conventions import Conventions, conventions_of
from pose_models.networks.catalogue import NETWORKS, find_network
from pose_models.train_config import changed, default_config


def of(name, recipe="coco-256x192", **changes):
    network = find_network(name)
    built = build_recipe(recipe, crop_width_px=network.input_width_px, crop_height_px=network.input_height_px)
    return conventions_of(network, changed(default_config(name), changes), built, COCO_PERSON)


@pytest.mark.parametrize(
    ("name", "recipe", "changes", "expected"),
    [
        ("hrnet-w32-256x192", "coco-256x192", {}, ("quarter", 1, 0.2)),
        ("simcc-r50-256x192", "coco-256x192", {}, ("simcc", -1, 0.01)),
        ("simcc-r50-256x192", "coco-256x192-udp", {"loss": "simcc-kl"}, ("simcc", -1, 0.005)),
        ("simcc-r50-256x192", "coco-256x192", {"decode": "simcc-dark"}, ("simcc-dark", -1, 0.01)),
        ("hrnet-w32-udp-offset-256x192", "coco-256x192-udp", {}, ("udp-offset", 0, 0.2)),
        ("hrnet-w32-udp-offset-256x192", "coco-256x192", {}, ("udp-offset", 1, 0.2)),
        ("rtmpose-t-256x192", "coco-256x192", {}, ("simcc", -1, 0.2)),
        ("vitpose-small-256x192", "coco-256x192-udp", {}, ("udp", 0, 0.2)),
        ("simcc-seed-256x192", "simcc-seed", {}, ("simcc-dark", -3, 0.002)),
        ("simcc-seed-256x192", "coco-256x192", {}, ("simcc", -3, 0.002)),
    ],
)
def test_decoding_flip_rule_and_scores_follow(name, recipe, changes, expected):
    found = of(name, recipe, **changes)
    assert (found.decode, found.flip_shift, found.least_score) == expected
    again = Conventions.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again == found


def test_softmax_follows_from_the_loss():
    assert of("simcc-r50-256x192").simcc_softmax == 1.0
    assert of("simcc-seed-256x192", "simcc-seed").simcc_softmax == 1.25
    assert of("simcc-r50-256x192", loss="rtmpose-kl").simcc_softmax == 0.0
    assert of("rtmpose-m-256x192").simcc_softmax == 0.0


def test_checkpoints_of_before_are_read():
    values = of("hrnet-w32-256x192").as_dict()
    for name in ("simcc_softmax", "least_score"):
        values.pop(name)
    assert Conventions.from_dict(values) == of("hrnet-w32-256x192")


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="joints-mse does not fit the output"):
        of("simcc-r50-256x192", loss="joints-mse")
    with pytest.raises(UsageError, match="decoding dark does not fit"):
        of("simcc-r50-256x192", decode="dark")
    with pytest.raises(UsageError, match="joints-mse does not fit the output"):
        of("hrnet-w32-udp-offset-256x192", loss="joints-mse")
    with pytest.raises(UsageError, match="decoding udp does not fit"):
        of("hrnet-w32-udp-offset-256x192", decode="udp")
    with pytest.raises(UsageError, match="has targets of its own"):
        of("hrnet-w32-udp-offset-256x192", encoding="gaussian")
    with pytest.raises(UsageError, match="offset-mse does not fit"):
        of("hrnet-w32-256x192", loss="offset-mse")
    with pytest.raises(UsageError, match="freeze_backbone wants weights"):
        of("simcc-r50-256x192", freeze_backbone=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_published_recipe_that_fits_it(name):
    config = default_config(name)
    assert config.network == name
    assert config.epochs > 1
