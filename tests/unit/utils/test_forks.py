"""Tasks that copies of a process share give what one process gives, in its order, and end with it."""

from __future__ import annotations

import os
import sys
import warnings

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from asd.errors import UserError
from asd.utils.forks import each

PROCESSES = [1, pytest.param(2, marks=pytest.mark.skipif(sys.platform != "linux", reason="one process elsewhere"))]


def cubed(number: int) -> tuple[int, float]:
    warnings.warn("every task says this", stacklevel=1)
    if number == 3:
        warnings.warn("the fourth says this", stacklevel=1)
    rows = torch.full((300, 300), float(number))
    return os.getpid(), float((rows @ rows).mean()) * number + float(np.ones(5) @ np.ones(5))


@pytest.mark.parametrize("processes", PROCESSES)
def test_results_come_in_order_and_warnings_once(processes: int) -> None:
    torch.ones(400, 400) @ torch.ones(400, 400)  # this process has used the threads that its copies must not wait for
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        found = list(each(cubed, 8, processes))
    assert [value for _, value in found] == pytest.approx([300.0 * n**3 + 5 for n in range(8)])
    assert [str(one.message) for one in said] == ["every task says this", "the fourth says this"]
    assert (os.getpid() in {process for process, _ in found}) == (processes == 1)


@pytest.mark.parametrize("processes", PROCESSES)
def test_what_a_task_raises_is_raised(processes: int) -> None:
    def fails(number: int) -> int:
        if number == 2:
            raise UserError("the third cannot be done")
        return number

    found = each(fails, 5, processes)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(UserError, match="the third cannot"):
        next(found)


@pytest.mark.skipif(sys.platform != "linux", reason="one process elsewhere")
def test_copies_have_one_thread_each() -> None:
    def threads(number: int) -> list[int]:
        return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]

    assert all({*found} == {1} for found in each(threads, 2, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="one process elsewhere")
def test_a_copy_that_is_killed_ends_the_work_in_one_line() -> None:
    with pytest.raises(UserError, match="ended before its time, as where memory runs out; give --processes 1"):
        list(each(lambda number: os._exit(9), 4, 2))
