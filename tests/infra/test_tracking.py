import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.errors import UserError
from infra.tracking import TrackedRun, Tracking, flat, tracking_for


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        return tracking_for(str(tmp_path_factory.mktemp("output")))


def test_the_same_name_continues_its_run_and_another_parent_begins_its_own(tracking: Tracking) -> None:
    parent = tracking.start_run("search", params={"steps": 3})
    parent.finish()
    assert tracking.start_run("search", params={"steps": 4, "more": "x"}) == parent
    child = tracking.start_run("depth 2", parent.run_id)
    assert child != parent
    assert tracking.start_run("depth 2", parent.run_id) == child
    assert tracking.start_run("depth 2") not in (child, parent)


def test_metrics_are_read_back_by_step_and_a_repeated_step_counts_once(tracking: Tracking) -> None:
    run = tracking.start_run("metrics")
    run.log(1, {"loss": 3.0})
    run.log(2, {"loss": 2.0})
    run.log(2, {"loss": 1.0, "undefined": float("nan")})
    assert run.history("loss") == [(1, 3.0), (2, 1.0)]
    assert run.metrics() == {"loss": 1.0}


def test_a_stream_has_delivered_everything_when_it_closes(tracking: Tracking) -> None:
    run = tracking.start_run("stream")
    with run.stream() as metrics:
        for step in range(500):
            metrics.log(step, {"loss": float(step), "rate": 1.0})
    assert run.history("loss") == [(step, float(step)) for step in range(500)]


def test_a_handle_works_in_another_process(tracking: Tracking) -> None:
    run = tracking.start_run("elsewhere")
    code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read()).log(7, {'loss': 0.5})"
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(run), check=True)
    assert run.history("loss") == [(7, 0.5)]


def test_a_tracker_that_fails_stops_neither_the_loop_nor_the_end(caplog: pytest.LogCaptureFixture) -> None:
    run = TrackedRun("http://name:secret@127.0.0.1:9", "run")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with run.stream() as metrics:
            metrics.log(1, {"loss": 1.0})
    assert "1 metrics were lost" in caplog.text
    assert "secret" not in caplog.text
    assert threading.active_count() < 50


def test_an_unreachable_server_is_one_sentence_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://name:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 failed \(it cannot be reached\)") as refusal:
        tracking_for("unused").start_run("any")
    assert "secret" not in str(refusal.value)


def test_a_file_is_kept_with_its_run(tracking: Tracking, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>")
    run = tracking.start_run("report")
    run.log_artifact(page)
    assert tracking.artifacts is not None
    assert [path.name for path in Path(tracking.artifacts).rglob("report.html")] == ["report.html"]


def test_nested_parameters_become_dotted_names() -> None:
    nested = {"model": {"width": 8}, "stages": [{"steps": 3}, {"steps": 4}], "seeds": [1, 2]}
    assert flat(nested) == {"model.width": 8, "stages.0.steps": 3, "stages.1.steps": 4, "seeds": [1, 2]}
