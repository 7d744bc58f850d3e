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
