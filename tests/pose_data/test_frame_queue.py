"""Reading ahead and writing behind: order, bounds, errors, and frames that do not wait."""

import threading
import time

import pytest

from pose_data.frame_queue import Ahead, Behind, overlapped


def one(item):
    return 1


def test_items_come_in_order_and_the_thread_ends():
    with Ahead(iter(range(200)), weight=one, limit=8) as ahead:
        assert list(ahead) == list(range(200))
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_no_more_is_read_than_the_limit_lets():
    read = []

    def source():
        for number in range(100):
            read.append(number)
            yield number

    with Ahead(source(), weight=lambda item: 10, limit=50) as ahead:
        items = iter(ahead)
        assert next(items) == 0
        time.sleep(0.05)
        # Five wait, one is in the hands of the thread, one was taken.
        assert len(read) <= 7


def test_an_item_heavier_than_the_limit_comes_through_alone():
    with Ahead(iter([1, 2, 3]), weight=lambda item: 1000, limit=10) as ahead:
        assert list(ahead) == [1, 2, 3]


def test_an_error_of_the_source_is_raised_after_what_came_before_it():
    def source():
        yield 1
        raise ValueError("lost")

    with Ahead(source(), weight=one, limit=4) as ahead:
        items = iter(ahead)
        assert next(items) == 1
        with pytest.raises(ValueError, match="lost"):
            next(items)


def test_leaving_early_closes_the_source():
    closed = threading.Event()

    def source():
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    with Ahead(source(), weight=one, limit=3) as ahead:
        assert next(iter(ahead)) == 0
    assert closed.is_set()


def test_only_the_newest_of_droppable_items_is_held():
    go, done = threading.Event(), threading.Event()

    def source():
        yield 0
        go.wait(5)
        yield from range(1, 50)
        done.set()
        yield 50

    with Ahead(source(), weight=one, limit=100, droppable=lambda item: item < 50) as ahead:
        items = iter(ahead)
        assert next(items) == 0
        go.set()
        done.wait(5)
        assert list(items) == [49, 50]
        assert ahead.dropped == 48


def test_work_behind_is_done_in_order_before_leaving():
    done = []
    with Behind(done.append, weight=one, limit=4) as behind:
        for number in range(100):
            behind.put(number)
    assert done == list(range(100))


def test_an_error_of_the_work_reaches_whoever_puts():
    def work(item):
        raise OSError("disk full")

    def put(count):
        with Behind(work, weight=one, limit=2) as behind:
            for number in range(count):
                behind.put(number)
                time.sleep(0.001)

    for count in (1, 1000):
        with pytest.raises(OSError, match="disk full"):
            put(count)


def test_an_error_outside_does_not_hide_behind_the_works():
    def work(item):
        raise OSError("disk full")

    def fail():
        with Behind(work, weight=one, limit=2) as behind:
            behind.put(1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()


def test_overlapped_work_comes_with_its_item_in_order():
    assert list(overlapped(range(50), lambda item: item * item)) == [(item, item * item) for item in range(50)]
    assert list(overlapped([], one)) == []


def test_the_next_item_is_made_while_one_is_worked_on():
    making = threading.Event()

    def items():
        yield 1
        making.set()
        yield 2

    # The work on 1 ends only once 2 is being made.
    assert [result for _, result in overlapped(items(), lambda item: making.wait(10))] == [True, True]


def test_an_urgent_item_is_handed_out_before_the_next_one_is_asked_for():
    made = []

    def items():
        for number in range(3):
            made.append(number)
            yield number

    pairs = overlapped(items(), one, urgent=lambda item: item == 1)
    assert next(pairs) == (0, 1)
    assert next(pairs) == (1, 1)
    assert made == [0, 1]


def test_no_more_than_two_items_are_held():
    made, taken = [], []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    for item, _ in overlapped(items(), one):
        taken.append(item)
        assert len(made) - len(taken) <= 1


def test_an_error_of_overlapped_work_is_raised_and_the_thread_ends():
    def work(item):
        if item == 3:
            raise ValueError("three")
        return item

    pairs = overlapped(range(10), work)
    assert [next(pairs)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(pairs)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("overlapped")]


def test_leaving_overlapped_work_early_ends_the_thread():
    pairs = overlapped(range(1000), one)
    next(pairs)
    pairs.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("overlapped")]
