"""The tensors of a torch file that holds more than tensors, read without importing or calling what it names.

TVTSv2's training checkpoints carry a pickled `config` of a class that does not exist here (TVTSv2, section 15). A
pickle is a program: it imports names and calls them. Here every name of the file stays a name, save the handful that
tensors are made of; an object of a named class becomes an `Inert` that swallows its state; a call of a named
function is refused, but for a few kinds of data that configs hold, which become inert too.
"""

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor


class CallError(Exception):
    """The file wants to call something; the text is its name."""


@dataclass(frozen=True)
class Name:
    """A class or function that the file names. It is not imported."""

    path: str

    @property
    def is_data(self) -> bool:
        """Whether a call of it makes plain data."""
        return self.path in _DATA or self.path.startswith(_DATA_MODULES)


class Inert:
    """Stands for an object of a named class: takes whatever it is filled with and keeps nothing."""

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """An item of a list."""

    def extend(self, items: object) -> None:
        """Items of a list."""

    def add(self, item: object) -> None:
        """An item of a set."""


def _tensor(storage: torch.storage.TypedStorage, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    """What `torch._utils._rebuild_tensor_v2` makes, without its gradients and hooks."""
    return torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage, offset, size, stride)


def _parameter(tensor: Tensor, *_: object) -> Tensor:
    return tensor


_CALLED = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": OrderedDict,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
}
_VALUES = {
    **{f"torch.{name}": kind for name, kind in vars(torch).items() if isinstance(kind, torch.dtype)},
    "torch.storage.UntypedStorage": torch.UntypedStorage,
}
_DATA_MODULES = ("pathlib.", "datetime.", "numpy.core.multiarray.", "numpy._core.multiarray.")
_DATA = {
    *("argparse.Namespace", "collections.Counter", "collections.defaultdict", "uuid.UUID"),
    *("numpy.dtype", "numpy.ndarray", "_codecs.encode", "copyreg._reconstructor", "copy_reg._reconstructor"),
    *(
        f"{module}.{kind}"
        for module in ("builtins", "__builtin__")  # the latter is what protocol 2 writes
        for kind in ("set", "frozenset", "bytes", "bytearray", "complex")
    ),
}
"""What pickles call to make plain data."""


class Unpickler(pickle._Unpickler):
    """Python's own unpickler with another answer wherever a pickle can reach out of itself.

    It is the one written in Python, whose steps can be replaced one by one.
    """

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        """The few things tensors are made of; else a `Name`."""
        path = f"{module}.{name}"
        return _CALLED.get(path) or _VALUES.get(path) or Name(path)

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack[-1]
        if any(function is known for known in _CALLED.values()):
            self.stack[-1] = function(*arguments)
        elif isinstance(function, Name) and function.is_data:
            self.stack[-1] = Inert()
        else:
            _refuse(function)

    def _create(self) -> None:
        self.stack.pop()  # the arguments
        if not isinstance(self.stack[-1], Name):
            _refuse(self.stack[-1])
        self.stack[-1] = Inert()

    def _create_with_names(self) -> None:
        self.stack.pop()  # the named arguments
        self._create()

    def _fill(self) -> None:
        self.stack.pop()  # the state; of an OrderedDict that is a state_dict: the versions of its modules
        if not isinstance(self.stack[-1], (Inert, OrderedDict)):
            _refuse(type(self.stack[-1]))

    def _reach_out(self) -> None:
        _refuse(Name("an old-style class or an entry of the extension registry"))

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _create,
        pickle.NEWOBJ_EX[0]: _create_with_names,
        pickle.BUILD[0]: _fill,
        pickle.INST[0]: _reach_out,
        pickle.OBJ[0]: _reach_out,
        pickle.EXT1[0]: _reach_out,
        pickle.EXT2[0]: _reach_out,
        pickle.EXT4[0]: _reach_out,
    }


def _refuse(what: object) -> NoReturn:
    path = what.path if isinstance(what, Name) else getattr(what, "__name__", type(what).__name__)
    raise CallError(path.replace("__builtin__.", "builtins.", 1))


def load_inert(file: Path | io.BytesIO) -> Any:
    """What a torch zip file holds, tensors real and all else inert. CallError if it wants to call something.

    Only for files of which `torch.load(weights_only=True)` said that they hold more than weights: a TorchScript
    archive would go past this unpickler, and that call refuses it.
    """
    here = sys.modules[__name__]  # torch takes the `Unpickler` of the module that it is given
    mmap = isinstance(file, Path)  # then the optimiser's moments are never read
    return torch.load(file, map_location="cpu", mmap=mmap, weights_only=False, pickle_module=here)
