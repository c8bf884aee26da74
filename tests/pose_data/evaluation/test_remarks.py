from pathlib import Path

import numpy as np
import pytest

from pose_data.evaluation.remarks import REMARKS, SHOWN_EXAMPLES, Remark, remark_of_rows


def test_every_code_is_in_the_documentation():
    text = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for code, meaning in REMARKS.items():
        assert f"| `{code}` | {meaning} |" in text


def test_an_unknown_code_is_refused():
    with pytest.raises(ValueError, match="no remark has the code other"):
        Remark(code="other", message="", count=1)


def test_the_first_records_are_named():
    rows = np.arange(2, 20)
    remark = remark_of_rows("results-repeat", "many", rows, np.arange(100, 130), records=np.arange(30) * 2, hint="stop")
    assert remark.count == 18
    assert remark.examples == tuple((2 * row, 100 + row) for row in range(2, 2 + SHOWN_EXAMPLES))
    assert str(remark) == "many (stop)"
    assert remark_of_rows("results-repeat", "many", rows, np.arange(100, 130)).examples[0] == (2, 102)
