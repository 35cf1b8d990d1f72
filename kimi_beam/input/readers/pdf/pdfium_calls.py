"""Functions of PDFium that are called for each character or object of a page, thousands of times.

A function that is told the types of its arguments has ctypes convert each of them at each call, which takes longer than
what PDFium does. Those here are not told. So an address must be made a parameter (`address`), once for all the
calls that take it, and a whole number must fit into 32 bits. The loop over the calls runs in `map`, and the answers are
written straight into arrays, which takes a tenth of the time of a loop in Python.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2.raw as pdfium_raw

_ROWS = 2_048
"""How many answers a page has at most, usually."""
Address = Any
"""An address as a parameter: ctypes does not show the type of what its `from_param` gives."""


def function(name: str, result: Any = ctypes.c_int) -> Callable[..., Any]:
    """A function of PDFium that takes addresses that `address` has made, and whole numbers of at most 32 bits.

    Args:
        name: Its name.
        result: The type of what it returns. An address is a ``c_size_t``: a whole number, 0 if there is none.
    """
    found = ctypes.cast(getattr(pdfium_raw, name), ctypes.c_void_p).value
    assert found, name
    return ctypes.PYFUNCTYPE(result)(found)


address: Callable[[int], Address] = ctypes.c_void_p.from_param
"""Makes an address a parameter; 0 is no address. What stands there has to outlive the calls."""


def address_of(opened: Any) -> Address:
    """The address of a page or of its text, as a parameter.

    Args:
        opened: What pypdfium2 has opened.
    """
    return address(ctypes.cast(opened.raw, ctypes.c_void_p).value or 0)


def addresses(numbers: Iterable[int]) -> list[Address]:
    """Addresses as parameters.

    Args:
        numbers: The addresses; 0 is none.
    """
    return list(map(address, numbers))


class Answers:
    """An array into which functions write their answers, one row each, and the addresses that they are given for it.

    It is used for one page after the other, because to make the addresses parameters takes a while.

    Args:
        columns: The numbers of an answer.
        kind: Their type.
    """

    def __init__(self, columns: int, kind: npt.DTypeLike) -> None:
        self._array = np.zeros((0, columns), kind)
        self._cells: list[list[Address]] = [[] for _ in range(columns)]

    def empty(self, count: int) -> tuple[npt.NDArray[Any], list[list[Address]]]:
        """Rows of zeros, which are good until the next call, and the addresses of each column of them, or of more rows.

        Args:
            count: How many.
        """
        if count > len(self._array):
            array = np.zeros((max(count, _ROWS), self._array.shape[1]), self._array.dtype)
            first, size, step = array.ctypes.data, array.itemsize, array.strides[0]
            end = first + array.nbytes
            places = [addresses(range(first + offset, end, step)) for offset in range(0, step, size)]
            if count > _ROWS:
                return array, places  # what a rare page needs is not kept
            self._array, self._cells = array, places
        found = self._array[:count]
        found[:] = 0
        return found, self._cells


def run_all(calls: Iterable[Any]) -> None:
    """Runs calls whose results are not wanted."""
    deque(calls, maxlen=0)
