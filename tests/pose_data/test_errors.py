"""The error tree: exit codes, texts, and the two ways in which errors cross processes."""

import json
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_data import errors
from pose_data.errors import FINDINGS, PROBLEMS, PoseError

EXIT_CODES = {
    "PoseError": 1, "UsageError": 2, "InputError": 3, "StoreError": 4, "DamageError": 4, "BusyError": 5,
    "StorageError": 6, "ResumeMismatchError": 7, "GateError": 8, "ModelError": 9, "InterruptedRun": 130,
}  # fmt: skip


def kinds(kind: type[PoseError] = PoseError) -> list[type[PoseError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in kinds(child))]


def test_every_kind_has_the_documented_exit_code():
    assert {kind.__name__: kind.exit_code for kind in kinds()} == EXIT_CODES


def test_the_modules_drawing_names_every_kind_with_its_exit_code():
    drawn = dict(re.findall(r"(\w+)\s+exit (\d+)", errors.__doc__ or ""))
    assert {name: int(code) for name, code in drawn.items()} == EXIT_CODES


def test_damage_is_a_kind_of_unusable_store():
    assert issubclass(errors.DamageError, errors.StoreError)


def test_the_text_says_what_where_and_what_to_do():
    error = errors.BusyError("store-busy", "somebody writes", where="/data/s.zarr", hint="wait")
    assert str(error) == "somebody writes — /data/s.zarr [store-busy]\n\nhint: wait"
    assert str(errors.BusyError("store-busy", "somebody writes")) == "somebody writes [store-busy]"


def test_where_and_hint_are_named_arguments():
    with pytest.raises(TypeError):
        errors.InputError("a-code", "a message", "a place")  # type: ignore[misc]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
@given(code=st.text(), message=st.text(), where=st.text(), hint=st.text())
def test_an_error_survives_pickling_and_json(kind, code, message, where, hint):
    error = kind(code, message, where=where, hint=hint)
    for copy in (
        pickle.loads(pickle.dumps(error)),
        PoseError.from_fields(error.fields()),
        PoseError.from_fields(json.loads(json.dumps(error.fields()))),
    ):
        assert type(copy) is kind
        assert (copy.code, copy.message, copy.where, copy.hint) == (code, message, where, hint)
        assert str(copy) == str(error)
        assert copy.exit_code == kind.exit_code


def test_fields_are_plain_text():
    assert errors.StorageError("disk-full", "no space", where="/x", hint="free some").fields() == {
        "kind": "StorageError", "code": "disk-full", "message": "no space", "where": "/x", "hint": "free some",
    }  # fmt: skip


def test_an_unknown_kind_of_error_is_not_made_up():
    with pytest.raises(KeyError):
        PoseError.from_fields({"kind": "OSError", "code": "", "message": "", "where": "", "hint": ""})


def test_codes_are_short_words_and_have_a_meaning():
    for code, meaning in {**{code: kind.meaning for code, kind in PROBLEMS.items()}, **FINDINGS}.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code), code
        assert meaning
        assert meaning[0].islower() or meaning.startswith("a ")


def test_no_code_stands_for_a_problem_and_a_finding():
    assert not set(PROBLEMS) & set(FINDINGS)


def test_fates():
    fates = {fate: {code for code, kind in PROBLEMS.items() if kind.fate == fate} for fate in ("reject", "filter")}
    assert all(code.startswith("filter-") for code in fates["filter"])
    assert not any(code.startswith("filter-") for code in set(PROBLEMS) - fates["filter"])
    assert {"img-missing", "img-truncated", "kpt-length", "box-invalid", "mask-missing"} <= fates["reject"]
    assert PROBLEMS["img-exif-ignored"].fate == "note"


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        PROBLEMS["new"] = PROBLEMS["img-missing"]  # type: ignore[index]
    with pytest.raises(TypeError):
        FINDINGS["new"] = "x"  # type: ignore[index]
