import threading

from infra.ticking import each_second


def test_it_is_told_while_the_block_goes_on_and_not_after() -> None:
    told, twice = [0], threading.Event()

    def tell() -> None:
        told[0] += 1
        if told[0] == 2:
            twice.set()

    with each_second(tell):
        assert twice.wait(30)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
