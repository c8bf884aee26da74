"""A report's files: complete, whole, equal for equal input, and with nothing that asks the network."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest

from pose_data.evaluation import NUMBERS, Detections, evaluate
from pose_data.evaluation.localisation import Kind
from pose_data.report import judge, write_report
from pose_data.report.facts import SCHEMA, ReportSources

SOURCES = ReportSources(results='<b>"r".json</b>', truth="truth.json", results_digest="sha256:12")


@pytest.fixture(scope="module")
def judgement(judged_case):
    truth, detections = judged_case(11, pictures=60)
    worse = replace(detections, keypoints=detections.keypoints + np.array([2.0, 0, 0]))
    return judge(evaluate(truth, detections), replicates=50, baseline=("before.json", evaluate(truth, worse)))


@pytest.fixture(scope="module")
def files(judgement, tmp_path_factory):
    return write_report(judgement, tmp_path_factory.mktemp("report"), SOURCES)


class _Page(HTMLParser):
    """Collects tags, and checks that they are closed in order."""

    VOID = frozenset(["meta", "link", "br", "img", "input", "hr"])

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parsed(page):
    parser = _Page()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_well_formed_and_asks_nobody(files):
    page = files.page.read_text(encoding="utf-8")
    for tag, attributes in parsed(page).tags:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:image/webp;base64,")), (tag, name, value[:60])
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://", page)


def test_names_from_outside_are_text_and_never_markup(files):
    page = files.page.read_text(encoding="utf-8")
    assert '<b>"r"' not in page
    assert SOURCES.results in "".join(parsed(page).texts)
    (inside,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert json.loads(inside)["sources"]["results"] == SOURCES.results


def test_equal_input_gives_equal_bytes(judgement, files, tmp_path):
    again = write_report(judgement, tmp_path, SOURCES, threads=1)
    for name in ("page", "facts", "persons", "summary"):
        assert getattr(again, name).read_bytes() == getattr(files, name).read_bytes(), name


def test_the_json_holds_the_numbers(judgement, files):
    facts = json.loads(files.facts.read_text(encoding="utf-8"))
    assert facts["schema"] == SCHEMA
    assert [facts["numbers"][name] for name in NUMBERS] == list(judgement.result.numbers.values())
    assert facts["intervals"]["AP"]["low"] == judgement.intervals["AP"].low
    assert facts["baseline"]["differences"]["AP"]["value"] == judgement.baseline.differences["AP"].value
    assert len(facts["curves"]["precision"]) == 10
    assert {case["sort"] for case in facts["cases"]} >= {"missed", "worst", "background"}
    assert facts["data"]["skeleton"]["sigmas"] == list(judgement.result.truth.skeleton.sigmas)
    assert facts["comparable"]["to_published_val2017"] is False


def test_every_person_and_every_detection_has_a_row(judgement, files):
    rows = pq.read_table(files.persons).to_pylist()
    truth, found = judgement.result.truth, judgement.found
    persons = [row for row in rows if row["role"] == "person"]
    assert [row["annotation_id"] for row in persons] == truth.annotation_id.tolist()
    fates = [row["fate"] for row in persons]
    assert fates.count("missed") == len(found.missed)
    assert fates.count("ignored") == truth.ignored.sum()
    detections = [row for row in rows if row["role"] == "detection"]
    assert len(detections) == len(found.matching.detection)
    matched = {row["detection"]: row for row in detections if row["fate"] == "found"}
    assert len(matched) == len(found.person)
    row = matched[int(found.detection[0])]
    assert row["oks"] == found.oks[0]
    kinds = [None if kind == Kind.UNLABELLED else Kind(kind).name.lower() for kind in found.kind[0].tolist()]
    assert row["kinds"] == kinds


def test_the_summary_names_the_numbers_and_what_costs_most(judgement, files):
    text = files.summary.read_text(encoding="utf-8")
    assert f"| AP | {judgement.result.numbers['AP']:.4f} |" in text
    most = max(judgement.gains, key=lambda gain: gain.gain)
    first = text.split("| --- | ---: | ---: |\n")[1].splitlines()[0]
    assert first == f"| {most.meaning} | {most.alone:.4f} | {most.gain:+.4f} |"


def test_warnings_stand_on_top(judged_case, tmp_path):
    truth, detections = judged_case(11, pictures=30)
    shifted = replace(detections, keypoints=detections.keypoints[..., [1, 0, 2]], warnings=("seen & noted",))
    page = write_report(judge(evaluate(truth, shifted), replicates=0), tmp_path, SOURCES).page.read_text("utf-8")
    assert page.index("seen &amp; noted") < page.index("What costs most</h2>")
    assert "x and y are mixed up" in page


def test_results_without_anything_still_make_a_report(judged_case, tmp_path):
    truth, _ = judged_case(2)
    nothing = Detections(image_id=np.zeros(0, np.int64), keypoints=np.zeros((0, 17, 3)), score=np.zeros(0))
    files = write_report(judge(evaluate(truth, nothing), replicates=5), tmp_path, SOURCES)
    parsed(files.page.read_text(encoding="utf-8"))
    facts = json.loads(files.facts.read_text(encoding="utf-8"))
    assert facts["numbers"]["AP"] == 0.0
    assert facts["warnings"] == ["there are no results: AP is 0"]


def test_a_large_report_stays_small(judgement, files):
    # 2 MB is the limit with 200 pictures; without pictures a fraction of it.
    assert files.page.stat().st_size < 600_000
