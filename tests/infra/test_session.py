import os

import pytest
import ray

from infra import session
from infra.errors import UserError


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


@pytest.mark.usefixtures("ray_local")
def test_processes_of_a_local_ray_know_the_sessions_variables_and_have_no_environment_of_their_own() -> None:
    @ray.remote
    def seen() -> tuple[dict[str, str | None], dict[str, object]]:
        here = {name: os.environ.get(name) for name in session.SESSION_ENV}
        return here, dict(ray.get_runtime_context().runtime_env)

    known, environment = ray.get(seen.remote())
    assert known == {name: os.environ[name] for name in session.SESSION_ENV}
    assert environment == {}
