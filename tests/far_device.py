"""A device that is not there: tensors that are computed on the CPU, but may not be mixed with those that lie there.

They say that they lie on a GPU, so the mixes that one would refuse show where there is none. Fake tensors have no
values, and scikit-learn, by which scorers are fitted, needs some.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("cuda", 0)

_aten = torch.ops.aten
# A GPU takes these arguments from the CPU, too.
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
_COPIES = {_aten.copy_.default}


class FarTensor(Tensor):
    """A tensor that says it lies on `FAR`; `near` holds its values."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        """Of the same shape."""
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype, device=FAR
        )
        made.near = near
        return made  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:
        """The values, too."""
        return f"FarTensor({self.near})"

    def tolist(self) -> Any:
        """As of any device."""
        return self.near.tolist()

    def __deepcopy__(self, memo: Any) -> FarTensor:
        """With values of its own."""
        return FarTensor(self.near.clone())

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """By it, modules take such tensors as parameters."""
        return ["near"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> FarTensor:
        """Its inverse."""
        return FarTensor(inner["near"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What `PretendedDevice` does; outside it, too."""
        return _done(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """Within it there is `FAR`."""

    def __init__(self) -> None:
        super().__init__()
        # As fake tensors say it, so that nothing looks for the device itself.
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE
        if not torch.cuda.is_available():
            torch._C._ensureCUDADeviceGuardSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute with the values, and wrap what lies on the device."""
        return _done(func, args, kwargs or {})


def _done(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    far = any(isinstance(one, FarTensor) for one in tensors)
    if far and func not in _COPIES:
        _check(func, args, tensors)
    device = kwargs.get("device")
    if device is not None:
        far = torch.device(device).type == FAR.type
        kwargs = {**kwargs, "device": torch.device("cpu")} if far else kwargs
    elif func in _COPIES:
        far = isinstance(args[0], FarTensor)
    copied = device is not None and func is _aten._to_copy.default
    found = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    if func._schema.name[-1:] == "_":
        return args[0]
    if copied and any(found is one for one in tree_map(_near, args)):
        found = found.clone()
    return tree_map(lambda one: FarTensor(one) if isinstance(one, Tensor) else one, found) if far else found


def _near(one: Any) -> Any:
    return one.near if isinstance(one, FarTensor) else one


def _check(func: Any, args: Any, tensors: list[Tensor]) -> None:
    if func in _INDEXED and isinstance(args[0], FarTensor):
        tensors = [args[0], *(one for one in args[2:] if isinstance(one, Tensor))]
    mixed = [one for one in tensors if not isinstance(one, FarTensor) and one.dim() > 0]
    if mixed:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found cuda:0 and cpu")
