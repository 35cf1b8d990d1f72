"""Functions of PDFium that are called for each character or object of a page, thousands of times.

A function that is told the types of its arguments has ctypes convert each of them at each call, which takes longer than
what PDFium does. Those here are not told. So an address must be made a parameter (`address`), once for all the
calls that take it, and a whole number must fit into 32 bits. The loop over the calls runs in `map`, and the answers are
written straight into arrays, which takes a tenth of the time of a loop in Python.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy.typing as npt
import pypdfium2.raw as pdfium_raw

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


def rows(array: npt.NDArray[Any]) -> Iterator[Address]:
    """The address of each row of an array, for functions that write their answer there.

    Args:
        array: An array of two dimensions in the order of C.
    """
    first, step = array.ctypes.data, array.itemsize * array.shape[1]
    return map(address, range(first, first + step * len(array), step))


def cells(array: npt.NDArray[Any]) -> list[Iterator[Address]]:
    """The addresses of each column of an array, for functions that write each number of their answer to another place.

    Args:
        array: An array of two dimensions in the order of C.
    """
    first, size = array.ctypes.data, array.itemsize
    step, end = size * array.shape[1], array.nbytes
    return [map(address, range(first + offset, first + end, step)) for offset in range(0, step, size)]


def run_all(calls: Iterable[Any]) -> None:
    """Runs calls whose results are not wanted."""
    deque(calls, maxlen=0)
