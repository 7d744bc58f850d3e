import pytest

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
