"""The views for DataLoader: every sample once, with and without workers, forked or spawned."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pose_data.errors import UsageError
from pose_data.order import EpochOrder
from pose_data.store import open_store
from pose_models.dataset import SampleDataset, SampleIterable


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork"), (2, "spawn")])
def test_rows_by_number_through_a_data_loader(finished_store, workers, context):
    split = open_store(finished_store)["val2017"]
    loader = DataLoader(
        SampleDataset(finished_store, "val2017"), batch_size=4, shuffle=True, num_workers=workers,
        multiprocessing_context=context, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    seen = []
    for batch in loader:
        for name in ("images", "heatmaps", "keypoints"):
            np.testing.assert_array_equal(batch[name].numpy(), split[name][:][batch["row"].numpy()])
        seen += batch["row"].tolist()
    assert sorted(seen) == np.flatnonzero(split["kept"][:]).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffled_batches_through_a_data_loader(finished_store, workers):
    split = open_store(finished_store)["train2017"]
    data = SampleIterable(finished_store, "train2017", batch_size=4, order=EpochOrder(window=8, run_rows=4))
    orders = []
    for epoch in range(2):
        data.set_epoch(epoch)
        rows = []
        for batch in DataLoader(data, batch_size=None, num_workers=workers):
            np.testing.assert_array_equal(batch["images"].numpy(), split["images"][:][batch["row"].numpy()])
            rows += batch["row"][batch["valid"]].tolist()
        assert sorted(rows) == np.flatnonzero(split["kept"][:]).tolist()
        orders.append(rows)
    assert orders[0] != orders[1]


def test_an_array_that_is_not_there_is_refused(finished_store):
    with pytest.raises(UsageError, match="array-unknown"):
        SampleDataset(finished_store, "val2017", arrays=["masks"])
