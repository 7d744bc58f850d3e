import pytest

from infra import cpus
from infra.errors import UserError


def test_training_leaves_a_cpu_to_the_readers_or_is_refused() -> None:
    assert cpus.plan_cpus(4, workers=1, streams=2, cores=2) == cpus.CpuPlan(0.0, 1.0, 0.25, 2, 2)
    assert cpus.plan_cpus(16, workers=1, streams=2, cores=16).reader == 1.0
    assert cpus.plan_cpus(16, workers=4, streams=2, cores=16).threads == 4
    with pytest.raises(
        UserError, match="4 training workers leave no CPU to read data: they need 5 CPUs or more"
    ):
        cpus.plan_cpus(4, workers=4)


def test_a_trial_and_its_worker_share_one_cpu() -> None:
    plan = cpus.plan_cpus(4, workers=1, streams=2, search=True)
    assert plan.driver + plan.worker == 1.0
    assert plan.driver > 0


def test_most_workers_leave_a_cpu_to_the_readers() -> None:
    alone, search = cpus.plan_cpus(4, workers=1), cpus.plan_cpus(4, workers=1, search=True)
    assert [cpus.most_workers(total, alone) for total in (1, 4, 64)] == [0, 3, 63]
    assert cpus.most_workers(4, search) == 3  # 0.1 + 3 x 0.9


def test_trials_that_fit_leave_each_a_cpu_for_its_readers_and_its_workers_their_gpus() -> None:
    def fit(num_cpus: float, num_gpus: float, workers: int) -> int:
        return cpus.most_trials(num_cpus, num_gpus, workers)

    assert [fit(count, 0, 1) for count in (2, 4, 8)] == [1, 2, 4]  # 0.1 + 0.9 + 1 each
    assert cpus.plan_cpus(4 / fit(4, 0, 1), workers=1, streams=2, search=True).readers == 1
    assert fit(64, 4, 2) == 2
    assert fit(1, 0, 1) == 1  # plan_cpus then says that it is none
    assert cpus.most_trials(64, 1, 1, gpu=0.25) == 4
