"""Which units multiply on a torch device: float32, TF32 or bfloat16, as the caller asked and never by a silent global.

Torch keeps the choice for float32 products in global switches. A product sets them for its own duration and puts
them back; where they already say what is wanted, nothing is written. Threads that want different settings take turns.
"""

from contextlib import contextmanager
from threading import Condition
from types import MappingProxyType

import torch

_SHORT = torch.bfloat16
_VERSION = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])


class _Switches:
    """The switches of torch 2.9 and later, one per library."""

    # how float32 products run: (on CUDA, in oneDNN on the CPU). TF32 holds a bfloat16 number exactly.
    wanted = MappingProxyType({"float32": ("ieee", "ieee"), "tf32": ("tf32", "ieee"), "bfloat16": ("tf32", "bf16")})
    as_before = MappingProxyType({"none": "ieee"})  # what "not set" means

    def read(self):
        """The values now."""
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision

    def write(self, values):
        """Set what differs."""
        for owner, value, now in zip(
            (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul), values, self.read(), strict=True
        ):
            if now != value:
                owner.fp32_precision = value


class _OldSwitch:
    """The one switch of earlier versions, for all libraries."""

    wanted = MappingProxyType({"float32": ("highest",), "tf32": ("high",), "bfloat16": ("medium",)})
    as_before = MappingProxyType({})

    def read(self):
        """The value now."""
        return (torch.get_float32_matmul_precision(),)

    def write(self, values):
        """Set it."""
        torch.set_float32_matmul_precision(values[0])


_SWITCHES = _Switches() if _VERSION >= (2, 9) else _OldSwitch()


class _Gate:
    """Lets any number of threads multiply in one precision, and one precision at a time: the switches are global."""

    def __init__(self, switches):
        self._switches, self._turn = switches, Condition()
        self._inside, self._precision, self._saved = 0, None, None

    @contextmanager
    def __call__(self, precision):
        """Products inside run in ``precision``."""
        self._enter(precision)
        try:
            yield
        finally:
            self._leave()

    def _enter(self, precision):
        """Wait for products in another precision to end; the first one in sets the switches."""
        with self._turn:
            self._turn.wait_for(lambda: self._inside == 0 or self._precision == precision)
            if self._inside == 0:
                now, wanted = self._switches.read(), self._switches.wanted[precision]
                effective = tuple(self._switches.as_before.get(value, value) for value in now)
                self._saved = None if effective == wanted else now
                if self._saved is not None:
                    self._switches.write(wanted)
                self._precision = precision
            self._inside += 1

    def _leave(self):
        """The last one out puts the switches back."""
        with self._turn:
            self._inside -= 1
            if self._inside == 0:
                if self._saved is not None:
                    self._switches.write(self._saved)
                self._turn.notify_all()


_GATE = _Gate(_SWITCHES)


def _switched(precision):
    """A product of float32 operands under one setting."""

    def product(a, b):
        with _GATE(precision):
            return a @ b

    return product


_PLAIN = _switched("float32")


def _short_by_switch(a, b):
    """Bfloat16 operands as float32 numbers: units that round to bfloat16 lose nothing, and sums are float32."""
    with _GATE("bfloat16"):
        return a.float() @ b.float()


def _short_on_cuda(a, b):
    """CUDA multiplies bfloat16 operands into a float32 result."""
    return torch.mm(a, b, out_dtype=torch.float32)


_SHORT_PRODUCTS = {"cuda": _short_on_cuda} if _VERSION >= (2, 8) else {}


class Products:
    """Products ``a @ b`` of two operands of one dtype, on the units that a precision names.

    float64 is float64 everywhere. float32 operands are multiplied as float32 ("float32"), with operands rounded to
    TF32 where the device has it ("tf32"), or to bfloat16 ("bfloat16"); two bfloat16 operands give their float32
    product, never rounded to bfloat16. Sums are float32 at least.
    """

    def __init__(self, precision, device):
        self.precision = precision
        self._short = _SHORT_PRODUCTS.get(device.type, _short_by_switch)
        rounded = {"float32": _PLAIN, "tf32": _switched("tf32"), "bfloat16": self._rounded}[precision]
        self._features = {torch.float32: rounded, _SHORT: self._short}
        self._sums = {torch.float32: _switched("tf32") if precision == "tf32" else _PLAIN, _SHORT: self._short}

    def of_features(self, a, b):
        """Return ``a @ b`` for hidden layers: operands may be rounded as the precision says."""
        return self._features.get(a.dtype, torch.matmul)(a, b)

    def of_sums(self, a, b):
        """Return ``a @ b`` for sums over rows: float32 operands are rounded to TF32 at most, where that was asked."""
        return self._sums.get(a.dtype, torch.matmul)(a, b)

    def _rounded(self, a, b):
        """float32 operands rounded to bfloat16 first."""
        return self._short(a.to(_SHORT), b.to(_SHORT))
