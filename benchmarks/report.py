"""What does a whole report cost at the size of COCO val2017, beyond the evaluation itself?

    python benchmarks/report.py --scratch scratch --pictures PATH/TO/JPEGS

1,000 draws of pictures and up to 200 pictured cases, from the arrays of an evaluation that has been done. The pictures
of the folder, of any size, stand for those of the synthesised case. Bars: 6 s, 2 MB. Prints medians.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from evaluation_case import write_case
from machine import describe_machine

from pose_data.evaluation import evaluate
from pose_data.evaluation.read_detections import read_detections
from pose_data.evaluation.read_ground_truth import read_ground_truth
from pose_data.report import judge, write_report
from pose_data.report.case_pictures import PictureFolder
from pose_data.report.facts import ReportSources

BAR_S, BAR_BYTES = 6.0, 2_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="where the case is kept between runs")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of JPEGs")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe_machine())
    case = options.scratch / "case"
    if not (case / "results.json").exists():
        write_case(case)
    truth = read_ground_truth(case / "truth.json")
    detections = read_detections(case / "results.json", truth).detections
    names = sorted(path.name for path in options.pictures.glob("*.jpg"))
    if not names:
        parser.error(f"{options.pictures} has no JPEG")
    shown = {int(number): names[place % len(names)] for place, number in enumerate(truth.truth.image_ids)}
    parts: dict[str, list[float]] = {"evaluate": [], "diagnose": [], "pictures and files": []}
    size_bytes = 0
    for _ in range(options.rounds):
        began_s = time.perf_counter()
        result = evaluate(truth.truth, detections)
        parts["evaluate"].append(time.perf_counter() - began_s)
        judgement = judge(result)
        parts["diagnose"].append(time.perf_counter() - began_s - parts["evaluate"][-1])
        out = Path(tempfile.mkdtemp(dir=options.scratch))
        files = write_report(
            judgement, out, ReportSources(results="results.json", truth="truth.json"),
            pictures=PictureFolder(options.pictures, shown),
        )  # fmt: skip
        parts["pictures and files"].append(
            time.perf_counter() - began_s - parts["evaluate"][-1] - parts["diagnose"][-1]
        )
        size_bytes = files.page.stat().st_size
        shutil.rmtree(out)
    for name, values in parts.items():
        print(f"{name:20} {statistics.median(values):6.2f} s   ({min(values):.2f} to {max(values):.2f})")
    beyond = statistics.median(a + b for a, b in zip(parts["diagnose"], parts["pictures and files"], strict=True))
    print(f"{'beyond evaluation':20} {beyond:6.2f} s   bar {BAR_S:g} s: {'met' if beyond <= BAR_S else 'NOT met'}")
    print(f"{'report.html':20} {size_bytes / 1e6:6.2f} MB  bar 2 MB: {'met' if size_bytes <= BAR_BYTES else 'NOT met'}")


if __name__ == "__main__":
    main()
