import pytest

from infra import session
from infra.errors import UserError


def test_training_leaves_a_cpu_to_the_readers_or_is_refused() -> None:
    assert session.plan_cpus(4, workers=1, streams=2, cores=2) == session.CpuPlan(0.0, 1.0, 0.25, 2, 2)
    assert session.plan_cpus(16, workers=1, streams=2, cores=16).reader == 1.0
    assert session.plan_cpus(16, workers=4, streams=2, cores=16).threads == 4
    with pytest.raises(
        UserError, match="4 training workers leave no CPU to read data: they need 5 CPUs or more"
    ):
        session.plan_cpus(4, workers=4)


def test_a_trial_and_its_worker_share_one_cpu() -> None:
    plan = session.plan_cpus(4, workers=1, streams=2, search=True)
    assert plan.driver + plan.worker == 1.0
    assert plan.driver > 0


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:9", r"no Ray answers at 127\.0\.0\.1:9 \(Connection refused\)"),
        ("nowhere", "'nowhere' is not host:port"),
        ("ray://10.0.0.1:10001", "Ray Client is not supported"),
    ],
)
def test_a_wrong_address_is_one_sentence_at_once(address: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        session.check_address(address)


@pytest.mark.usefixtures("ray_local")
def test_a_ray_that_is_joined_already_is_kept() -> None:
    joined = session.start()
    assert (joined.num_cpus, joined.num_nodes, joined.local) == (4.0, 1, True)


def test_most_workers_leave_a_cpu_to_the_readers() -> None:
    alone, search = session.plan_cpus(4, workers=1), session.plan_cpus(4, workers=1, search=True)
    assert [session.most_workers(total, alone) for total in (1, 4, 64)] == [0, 3, 63]
    assert session.most_workers(4, search) == 3  # 0.1 + 3 x 0.9


def test_trials_that_fit_leave_each_a_cpu_for_its_readers_and_its_workers_their_gpus() -> None:
    def fit(cpus: float, gpus: float, workers: int) -> int:
        return session.most_trials(session.Session(cpus, gpus, 1, local=True), workers)

    assert [fit(cpus, 0, 1) for cpus in (2, 4, 8)] == [1, 2, 4]  # 0.1 + 0.9 + 1 each
    assert session.plan_cpus(4 / fit(4, 0, 1), workers=1, streams=2, search=True).readers == 1
    assert fit(64, 4, 2) == 2
    assert fit(1, 0, 1) == 1  # plan_cpus then says that it is none
    assert session.most_trials(session.Session(64, 1, 1, local=True), 1, gpu=0.25) == 4
