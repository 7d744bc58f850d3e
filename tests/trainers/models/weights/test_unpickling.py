"""Torch files that hold more than tensors: a training checkpoint's weights are read, and nothing of it is run."""

import argparse
import datetime
import operator
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from infra.errors import UserError
from tests.trainers.tiny import tiny_model
from trainers.models.weights import tvtsv2
from trainers.models.weights.files import load_start, read_file, read_weights


class Config:
    """What a training run keeps of itself; pickled as a class of a module that is not there when it is read."""

    def __init__(self, **values: object) -> None:
        self.__dict__ |= values


class Options(dict):  # type: ignore[type-arg]
    """A mapping with a name of its own, as configs often are."""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """The classes above under a module's name that exists only while the file is written."""
    module = types.ModuleType("parse_config")
    for kind in (Config, Options):
        monkeypatch.setattr(kind, "__module__", "parse_config")
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "parse_config", module)
    return "parse_config"


def checkpoint(**more: object) -> dict[str, object]:
    """What TVTSv2's trainer saves (section 15), of a small model, optimiser state included."""
    model = tiny_model(seed=1)
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    entries = tvtsv2.export(model, sorting_head=True)
    named = OrderedDict((f"module.{name}", value) for name, value in entries.items())
    named._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    state = optimizer.state_dict()
    return {
        "arch": "TVTSv2",
        "epoch": 3,
        "state_dict": named,
        "optimizer": state,
        "monitor_best": 0.1,
        **more,
    }


def config() -> Config:
    nested = OrderedDict(trainer=OrderedDict(epochs=10), data=[{"path": Path("/data")}, ("a", 1)])
    return Config(
        _config=nested,
        _save_dir=Path("exps/tvtsv2"),
        args=argparse.Namespace(schedule=[6, 8], local_rank=0),
        started=datetime.datetime(2023, 5, 1, 12, 0),
        options=Options(reader="decord"),
        kinds={1, 2},
        rate=np.float64(1e-4),
    )


def test_a_training_checkpoint_is_read_without_its_config(
    tmp_path: Path, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint-epoch3.pth"
    torch.save(checkpoint(config=config()), path)
    monkeypatch.delitem(sys.modules, elsewhere)
    model, source = tiny_model(seed=2), tiny_model(seed=1)
    assert load_start(model, read_weights(str(path))) == "tvtsv2"
    assert elsewhere not in sys.modules
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)  # why it takes a reader of its own
    optimizer = torch.optim.AdamW(source.parameters())
    for parameter in source.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_parameters_and_shared_storages_come_out_as_they_went_in(tmp_path: Path, elsewhere: str) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    entries = {
        "parameter": torch.nn.Parameter(table.clone()),
        "view": table[1:, ::2],
        "transposed": table.T,
        "half": table.half(),
        "integer": torch.tensor(3),
    }
    torch.save({"state_dict": entries, "config": Config()}, tmp_path / "a.pth")
    found = read_file(str(tmp_path / "a.pth"))
    assert all(torch.equal(found[name], value) for name, value in entries.items())
    assert {name: value.dtype for name, value in found.items()} == {n: v.dtype for n, v in entries.items()}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that code of the checkpoint would make."""
    return tmp_path / "code_ran"


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


CALLS: dict[str, Callable[[str], object]] = {
    "posix.system": lambda path: Call(os.system, f"touch {path}"),
    "builtins.eval": lambda path: Call(eval, f"open({path!r}, 'w')"),
    "builtins.exec": lambda path: Call(exec, f"open({path!r}, 'w')"),
    "builtins.getattr": lambda path: Call(getattr, Path(path), "touch"),
    "builtins.setattr": lambda path: Call(setattr, Path(path), "x", 1),
    "torch.hub.load": lambda path: Call(torch.hub.load, "owner/name", "model"),
    "torch.serialization.load": lambda path: Call(torch.load, path),
    "torch.storage._load_from_bytes": lambda path: Call(torch.storage._load_from_bytes, b""),
    f"{open.__module__}.open": lambda path: Call(open, path, "w"),
    "operator.attrgetter": lambda path: Call(operator.attrgetter, "system"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("place", ["config", "state_dict", "entry"])
def test_a_call_is_refused_by_its_name_and_does_not_happen(
    tmp_path: Path, marker: Path, elsewhere: str, name: str, place: str
) -> None:
    hostile = CALLS[name](str(marker))
    good = {"x": torch.zeros(2)}
    contents = {
        "config": {"state_dict": good, "config": Config(inner=[hostile])},
        "state_dict": {"state_dict": hostile},
        "entry": {"state_dict": {**good, "y": hostile}},
    }[place]
    torch.save(contents, tmp_path / "hostile.pth")
    with pytest.raises(
        UserError, match=rf"hostile\.pth wants to call {name} when it is read, so it is refused"
    ):
        read_file(str(tmp_path / "hostile.pth"))
    assert not marker.exists()


def zipped(path: Path, program: bytes) -> Path:
    """A torch file whose data.pkl is this program."""
    torch.save({"state_dict": {"x": torch.zeros(2)}}, path)
    with zipfile.ZipFile(path) as whole:
        members = {info.filename: whole.read(info) for info in whole.infolist()}
    with zipfile.ZipFile(path, "w") as written:
        for name, data in members.items():
            written.writestr(name, program if name.endswith("/data.pkl") else data)
    return path


def test_objects_made_in_every_other_way_stay_inert_or_are_refused(tmp_path: Path, marker: Path) -> None:
    command = f"touch {marker}".encode()
    argument = b"\x8c" + bytes([len(command)]) + command
    system = b"\x8c\x05posix\x8c\x06system\x93"
    programs = {
        "newobj": b"\x80\x04" + system + argument + b"\x85\x81.",
        "newobj_ex": b"\x80\x04" + system + argument + b"\x85}\x92.",
        "inst": b"(S'" + command + b"'\niposix\nsystem\n.",
        "obj": b"(cposix\nsystem\nS'" + command + b"'\no.",
        "extension": b"\x80\x02\x82\x01" + b".",
        "setstate": b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93)\x81" + argument + b"b.",
        "fill a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}q\x00X\x01\x00\x00\x00aK\x01sb.",
        "fill a tensor type": b"\x80\x02ctorch\nSize\n}b.",
        "reduce by name": b"\x80\x04" + system + argument + b"\x85R.",
    }
    inert = {
        "newobj",
        "newobj_ex",
        "setstate",
    }  # what a class would have made is a stand-in, which is no weight
    for name, program in programs.items():
        path = zipped(tmp_path / f"{name}.pth", program)
        with pytest.raises(UserError, match="it holds a Inert" if name in inert else "so it is refused"):
            read_file(str(path))
        assert not marker.exists(), name
    assert not hasattr(torch._utils._rebuild_tensor_v2, "a")


def test_modules_that_a_file_names_are_not_imported(tmp_path: Path) -> None:
    program = b"\x80\x04\x8c\x0eantigravity_no\x8c\x01x\x93\x8c\x04this\x8c\x01s\x93\x86."
    with pytest.raises(UserError):
        read_file(str(zipped(tmp_path / "a.pth", program)))
    assert "this" not in sys.modules


def test_a_class_that_would_set_itself_up_is_not_called(
    tmp_path: Path, elsewhere: str, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, "__setstate__", lambda self, state: marker.touch(), raising=False)
    torch.save({"state_dict": {"x": torch.ones(1)}, "config": Config(a=1)}, tmp_path / "a.pth")
    assert read_file(str(tmp_path / "a.pth")).keys() == {"x"}  # the module is there, and still not used
    assert not marker.exists()


def test_a_cut_off_training_checkpoint_and_one_of_old_torch_are_refused(
    tmp_path: Path, elsewhere: str
) -> None:
    whole = checkpoint(config=config())
    torch.save(whole, tmp_path / "new.pth")
    data = (tmp_path / "new.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UserError, match=r"cut\.pth is cut off"):
        read_file(str(tmp_path / "cut.pth"))
    torch.save(whole, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"old\.pth holds more than weights"):
        read_file(str(tmp_path / "old.pth"))
    torch.save(
        {"state_dict": {"x": torch.ones(1)}}, tmp_path / "plain.pth", _use_new_zipfile_serialization=False
    )
    assert read_file(str(tmp_path / "plain.pth")).keys() == {"x"}


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "clip.pt")
    with pytest.raises(UserError, match=r"clip\.pt is a TorchScript program"):
        read_file(str(tmp_path / "clip.pt"))
