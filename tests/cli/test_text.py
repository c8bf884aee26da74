import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.console import size_text, time_text
from cli.options import parse_bytes, parse_pair, parse_share
from cli.text import csv_cell, printable


@given(st.text(st.characters(codec=None)))
def test_printable_text_shows_all_of_itself(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    kept = printable(text, keep_newlines=True)
    assert kept.count("\n") == text.count("\n")


def test_plain_text_stays_as_it_is():
    assert printable("Grüße, 図 [bold] – 1") == "Grüße, 図 [bold] – 1"
    assert printable("\x1b[31m\u202eab\ud800\n") == r"\x1b[31m\u202eab\ud800\n"


@given(st.text(max_size=20))
def test_no_csv_cell_begins_like_a_formula(text):
    cell = csv_cell(text)
    assert not cell.strip().startswith(("=", "+", "-", "@"))
    out = io.StringIO()
    csv.writer(out).writerow([cell, "end"])
    assert next(csv.reader(io.StringIO(out.getvalue()))) == [cell, "end"]


def test_csv_numbers_stay_numbers():
    assert [csv_cell(value) for value in (-5, None, "a", True)] == ["-5", "", "a", "True"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("1G", 10**9), ("1.5m", 1_500_000), ("2GiB", 2 << 30), ("12", 12), ("4 KB", 4000), ("1Ti", 1 << 40)],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "1X", "1iB", "1 G B", "nan", "1e3"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


def test_shares_and_pairs():
    assert (parse_share("1%"), parse_share("0.25"), parse_share("100%")) == (0.01, 0.25, 1.0)
    assert (parse_pair("256x192"), parse_pair("64×48")) == ((256, 192), (64, 48))
    for wrong in ("x", "1.5", "-1%", "nan"):
        with pytest.raises(ValueError, match="is not"):
            parse_share(wrong)
    for wrong in ("256", "axb", "1x2x3", "-1x2", "1.0x2", "²x3"):
        with pytest.raises(ValueError, match="HEIGHTxWIDTH"):
            parse_pair(wrong)


def test_numbers_for_people():
    assert [size_text(size) for size in (0, 999, 1000, 16_500_000_000)] == ["0 B", "999 B", "1.0 kB", "16.5 GB"]
    assert [time_text(seconds) for seconds in (0.04, 59, 61, 3725)] == ["0.0 s", "59.0 s", "1 min 1 s", "1 h 2 min"]
