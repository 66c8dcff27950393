from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import QObject

from napari_topiary import Progress, Stop, TopiaryError
from napari_topiary._napari.jobs import runner as jobs
from napari_topiary._napari.jobs.runner import JobRunner, Mailbox, in_background


@pytest.fixture
def runner(qapp):
    made = JobRunner()
    yield made
    made.close(1.0, deliver=False)


class Asked:
    """A request that a job can be sent."""

    def __init__(self, number):
        self.number = number


def counting(seconds=5.0):
    """Counts until it is stopped; reports what it was asked."""
    until, number, report = time.monotonic() + seconds, 0, None
    while time.monotonic() < until:
        message = yield Progress(number, 100, "Counting", 1.0, report=report)
        report = message.number if isinstance(message, Asked) else None
        if message is Stop:
            break
        number += 1
        time.sleep(0.002)
    return number


def failing(error):
    yield Progress(0, 1)
    raise error


def test_result_and_progress_arrive_in_the_main_thread(runner, until):
    results, seen, threads = [], [], set()

    def on_progress(progress):
        seen.append(progress)
        threads.add(threading.current_thread())

    assert runner.start(
        lambda: counting(0.3), title="C", on_progress=on_progress,
        on_result=results.append,
    )  # fmt: skip
    until(lambda: not runner.running)
    assert len(results) == 1 and results[0] > 5
    assert threads == {threading.main_thread()}
    assert all(a.done <= b.done for a, b in pairwise(seen))


def test_stop_is_sent_and_what_the_job_keeps_is_delivered(runner, until):
    results = []
    runner.start(counting, title="C", on_result=results.append)
    until(lambda: runner.running)
    began = time.monotonic()
    runner.stop()
    until(lambda: bool(results))
    assert time.monotonic() - began < 3
    assert not runner.running


def test_requests_reach_the_job_and_stop_is_not_lost_behind_them(runner, until):
    answers, results = [], []
    runner.start(
        counting, title="C", on_result=results.append,
        on_progress=lambda p: answers.append(p.report),
    )  # fmt: skip
    runner.send(Asked(7))
    until(lambda: 7 in answers)
    runner.stop()
    runner.send(Asked(8))
    until(lambda: bool(results))


def test_mailbox_keeps_the_latest_of_each_type_and_stop_first():
    box = Mailbox()
    box.put(Asked(1))
    box.put(Asked(2))
    box.put("other")
    box.put(Stop)
    assert box.take() is Stop
    assert box.take().number == 2
    assert box.take() == "other"
    assert box.take() is None


def test_one_job_at_a_time(runner, until):
    runner.start(counting, title="Training")
    assert not runner.start(counting, title="Prediction")
    assert runner.busy_sentence.startswith("Training is still running")
    runner.stop()
    until(lambda: not runner.running)
    assert runner.start(lambda: counting(0.05), title="Prediction")
    until(lambda: not runner.running)


def test_who_is_handed_a_result_may_ask_for_the_next_job(runner, until):
    told, said, heard = [], [], []
    runner.started.connect(lambda title: heard.append(f"{title} begins"))
    runner.finished.connect(lambda: heard.append("end"))

    def next_one(_):
        told.append(runner.running)
        assert runner.start(lambda: counting(0.05), title="B", on_result=told.append)
        raise ValueError("broken")

    runner.start(
        lambda: counting(0.05), title="A", on_result=next_one, on_error=said.append
    )
    until(lambda: len(told) == 2)
    assert told[0] is False
    assert len(said) == 1 and "broken" in said[0]  # where A is shown
    until(lambda: heard == ["A begins", "end", "B begins", "end"])
    assert not runner.running
    runner.start(counting, title="C")
    runner.stop()  # nor is the end of another one taken for its own
    until(lambda: not runner.running)
    assert heard[4:] == ["C begins", "end"]


def test_a_topiary_error_is_its_own_sentence(runner, until):
    sentences = []
    runner.start(
        lambda: failing(TopiaryError("Mark something first.")),
        title="Training", on_error=sentences.append,
    )  # fmt: skip
    until(lambda: bool(sentences))
    assert sentences == ["Mark something first."]


def test_any_other_error_is_a_readable_sentence_and_in_the_log(runner, until, caplog):
    sentences = []
    runner.start(
        lambda: failing(RuntimeError("no\nmore")),
        title="Training", on_error=sentences.append,
    )  # fmt: skip
    until(lambda: bool(sentences))
    assert sentences == ["Training did not work: no (the log has the details)."]
    assert "RuntimeError" in caplog.text


def test_an_error_while_the_job_is_made_is_a_sentence_too(runner, until):
    sentences = []

    def make():
        raise TopiaryError("There is no such network.")

    runner.start(make, title="Training", on_error=sentences.append)
    until(lambda: bool(sentences))
    assert sentences == ["There is no such network."]
    until(lambda: not runner.running)


def test_closing_stops_and_delivers(runner, until):
    results = []
    runner.start(counting, title="C", on_result=results.append)
    until(lambda: runner.running)
    assert runner.close(5.0)
    assert len(results) == 1 and not runner.running


def test_closing_does_not_wait_forever_for_a_deaf_job(runner, until):
    begun = threading.Event()

    def deaf():
        begun.set()
        for _ in range(20):
            yield Progress(0, 0)
            time.sleep(0.1)

    results = []
    runner.start(deaf, title="C", on_result=results.append)
    until(begun.is_set)
    began = time.monotonic()
    runner.close(0.3)
    assert time.monotonic() - began < 1.5
    assert not runner.running and results == []


def test_a_flood_of_progress_is_thinned_but_reports_are_all_there(runner, until):
    reports, beats = [], []

    def flood():
        for number in range(3000):
            yield Progress(number, 3000, report=number)
        return None

    runner.progressed.connect(beats.append)
    runner.start(flood, title="C", on_progress=lambda p: reports.append(p.report))
    until(lambda: not runner.running)
    assert reports == list(range(3000))
    assert len(beats) < 300


def test_a_closed_window_is_told_nothing(qapp, until, monkeypatch):
    told, heard, owner = [], [], QObject()
    gone = in_background(lambda: 1, title="A", on_result=told.append, owner=owner)
    monkeypatch.setattr(jobs, "isalive", lambda one: one is not owner)
    in_background(lambda: 2, title="B", on_result=heard.append)
    until(lambda: heard == [2] and not gone.running)
    assert told == []


def test_in_background_gives_result_or_sentence(qapp, until):
    got, sentences = [], []
    in_background(lambda: 6 * 7, title="Reckoning", on_result=got.append)
    in_background(lambda: {}["x"], title="Reading", on_error=sentences.append)
    until(lambda: bool(got) and bool(sentences))
    assert got == [42]
    assert sentences[0].startswith("Reading did not work")


def test_a_result_that_cannot_be_shown_is_a_sentence_too(runner, until):
    sentences = []

    def show(_):
        raise MemoryError("Unable to allocate 8 GiB")

    runner.start(
        lambda: counting(0.05),
        title="Predicting",
        on_result=show,
        on_error=sentences.append,
    )
    until(lambda: not runner.running)
    assert "the memory is not enough" in sentences[0]
