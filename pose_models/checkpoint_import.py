"""Published weights, from the files that their authors gave out, as a run that can be evaluated.

Every key of the file and of the network is accounted for, or nothing is made: see
:mod:`pose_models.checkpoint_formats` for which keys may be left out or absent, and why. Code in a file never runs.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pose_data.atomic import file_digest, make_folder, remove_tree, replace_file, storage_errors
from pose_data.errors import ModelError, UsageError
from pose_data.skeleton import Skeleton
from pose_models.checkpoint import Checkpoint, checkpoint_steps, save_checkpoint
from pose_models.checkpoint_fit import Fit, best_fit, looks_like
from pose_models.checkpoint_formats import formats_of
from pose_models.conventions import Conventions
from pose_models.networks.catalogue import find_network
from pose_models.networks.network import Network
from pose_models.networks.size import count_parameters
from pose_models.run_log import remove_run
from pose_models.weight_file import list_keys, read_weights

__all__ = ["ImportReport", "import_checkpoint"]

_PARTIAL = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, or would do."""

    file: Path
    out: Path | None
    """None: nothing was written."""
    network: str
    format: str
    source: str
    """Whose files look so."""
    keypoints: int
    skeleton: str
    parameters: int
    loaded: int
    """Keys of the file that have their place in the network."""
    left_out: Mapping[str, str]
    """Keys of the file that have none, and why that is right."""
    absent: Mapping[str, str]
    """Keys of the network that the file does not have, and why that is right."""
    notes: tuple[str, ...]
    """What was done to the file's tensors, where they are not taken as they are."""
    conventions: Conventions


def import_checkpoint(
    file: str | Path, *, as_: str, out: str | Path | None = None, overwrite: bool = False, dry_run: bool = False
) -> ImportReport:
    """Make a run of a published weights file; ``as_`` names the network in ``posetrain list``.

    The run's folder (``runs/`` and the network's name unless given) holds weights and conventions: colour order,
    normalisation, geometry, decoding, flip rule, keypoints. Nothing is written with ``dry_run``; with ``overwrite`` the
    run that was there goes only when the new one is whole on the disk. Raises UsageError
    (``network-unknown``, ``import-none``: nobody's files are known for the network, ``output-exists``), ModelError
    (``weights-mismatch`` with the keys and what they look like, ``weights-keypoints``, ``weights-not-finite``, and
    those of :func:`pose_models.weight_file.read_weights`), StorageError.
    """
    path, network = Path(file), find_network(as_)
    place = Path(out) if out is not None else Path("runs") / network.name
    formats = formats_of(network)
    if not formats:
        raise UsageError(
            "import-none", f"no published weights are known for {network.name}",
            hint="docs/checkpoints.md lists the networks that have some",
        )  # fmt: skip
    if not dry_run and _is_run(place) and not overwrite:
        raise UsageError("output-exists", "there is a run already", where=str(place), hint="--out, or --overwrite")
    tensors = read_weights(path)
    fit = best_fit(tensors, network, formats)
    skeleton = _skeleton(fit, network, path)
    _check(fit, tensors, network, path)
    conventions = fit.row.conventions(network, skeleton)
    if not dry_run:
        _write(place, path, network, fit, conventions, overwrite=overwrite)
    return ImportReport(
        file=path, out=None if dry_run else place, network=network.name, format=fit.row.name, source=fit.row.source,
        keypoints=skeleton.keypoint_count, skeleton=skeleton.name, parameters=count_parameters(fit.module),
        loaded=len(fit.taken), left_out=fit.left_out, absent=fit.absent, notes=fit.notes,
        conventions=conventions,
    )  # fmt: skip


def _is_run(place: Path) -> bool:
    return bool(checkpoint_steps(place)) or (place / "config.toml").exists()


def _skeleton(fit: Fit, network: Network, path: Path) -> Skeleton:
    known = fit.row.skeletons
    for skeleton in known:
        if skeleton.keypoint_count == fit.keypoints:
            return skeleton
    listed = " or ".join(f"{skeleton.keypoint_count} ({skeleton.name})" for skeleton in known)
    raise ModelError(
        "weights-keypoints",
        f"the file is for {fit.keypoints} keypoints, such weights of {network.name} are for {listed}",
        where=str(path), hint="weights for other keypoints are not read: nothing in the file says which they are",
    )  # fmt: skip


def _check(fit: Fit, tensors: Mapping[str, Tensor], network: Network, path: Path) -> None:
    if fit.problems:
        like = looks_like(tensors)
        raise ModelError(
            "weights-mismatch",
            f"{len(fit.problems)} keys of the file and of {network.name} do not fit:\n"
            f"{list_keys(list(fit.problems))}\n",
            where=str(path),
            hint=f"{like}: name one of these with --as" if like else "its keys are not those of any network here",
        )
    bad = [key for key, value in fit.taken.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise ModelError(
            "weights-not-finite", f"{len(bad)} of the file's tensors hold NaN or infinity:\n{list_keys(bad)}\n",
            where=str(path), hint="download it again; a half-precision file may have overflowed when it was made",
        )  # fmt: skip


def _write(place: Path, path: Path, network: Network, fit: Fit, conventions: Conventions, *, overwrite: bool) -> None:
    own = fit.module.state_dict()
    weights = {key: fit.taken.get(key, torch.zeros(value.shape, dtype=value.dtype)) for key, value in own.items()}
    imported = {"file": path.name, "digest": file_digest(path).digest, "format": fit.row.name, "source": fit.row.source}
    checkpoint = Checkpoint(
        step=0, network=network.name, conventions=conventions, model=weights, state={"imported": imported}
    )
    with storage_errors("writing the run", place):
        make_folder(place)
        for left in place.glob(f".{_PARTIAL}.*.partial"):  # of an import that was killed
            remove_tree(left)
    # Inside the run's folder, so that it is on the same file system and moving it is one step.
    partial = place / f".{_PARTIAL}.{uuid.uuid4().hex}.partial"
    try:
        written = save_checkpoint(partial, checkpoint)
        if overwrite and _is_run(place):
            remove_run(place)
        with storage_errors("moving the run into place", place):
            replace_file(written, place / "checkpoints" / written.name)
    finally:
        with storage_errors("removing what was half-written", partial):
            remove_tree(partial)
