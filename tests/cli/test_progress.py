import json

from cli.progress import JsonListener, LineListener
from pose_data.events import Event


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def progress(done, **data):
    return Event(kind="progress", split="val", stage="shards", done=done, total=1000, data=data)


def test_lines_come_about_every_ten_seconds(capsys):
    clock = Clock()
    listener = LineListener(clock)
    listener(Event(kind="stage", split="val", stage="shards", total=1000))
    for second in range(30):
        clock.now_s = 100.0 + second
        listener(progress(10 * second, pictures=5 * second, bytes=2_000_000, rejects={"img-missing": 2}))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines[0] == "val shards: 1,000 persons"
    assert len(lines) == 3
    assert lines[1] == (
        "val shards: 100 of 1,000, 10 persons/s, 5 pictures/s, 2.0 MB, rejected: img-missing 2, 1 min 30 s left"
    )


def test_what_an_earlier_run_had_done_does_not_count_as_speed(capsys):
    clock = Clock()
    listener = LineListener(clock)
    listener(Event(kind="stage", split="val", stage="shards", total=1000))
    listener(progress(500))
    clock.now_s += 10
    listener(progress(510))
    assert "510 of 1,000, 1 persons/s" in capsys.readouterr().err


def test_what_is_counted_may_stand_in_the_event(capsys):
    clock = Clock()
    listener = LineListener(clock)
    listener(Event(kind="stage", split="val", stage="shards", total=1000, data={"unit": "pictures"}))
    listener(progress(0, unit="pictures", pictures=0))
    clock.now_s += 10
    listener(progress(20, unit="pictures", pictures=20))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "val shards: 1,000 pictures"
    assert lines[1].startswith("val shards: 20 of 1,000, 2 pictures/s, 8 min")


def test_a_flood_of_notes_is_cut(capsys):
    listener = LineListener()
    for number in range(50):
        listener(Event(kind="note", split="val", text=f"picture {number}", data={"code": "file-twice"}))
    listener(Event(kind="retry", split="val", text="shard 3 again"))
    assert capsys.readouterr().err.splitlines() == [
        *(f"val: picture {number} [file-twice]" for number in range(3)), "val: retry: shard 3 again"
    ]  # fmt: skip


def test_json_progress_comes_once_a_second_and_at_the_end(capsys):
    clock = Clock()
    listener = JsonListener(clock)
    for tenth in range(31):
        clock.now_s = 100.0 + tenth / 10
        listener(progress(10 * tenth))
    listener(progress(1000))
    listener(Event(kind="note", text="x"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("done") for line in lines] == [0, 100, 200, 300, 1000, None]
