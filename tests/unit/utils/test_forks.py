"""Tasks that copies of a process share give what one process gives, in its order, and end with it."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from asd.errors import UserError
from asd.utils.forks import each
from tests.forked import in_its_own_process

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="one process elsewhere")
PROCESSES = [1, pytest.param(2, marks=only_linux)]


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


@only_linux
def test_copies_have_one_thread_each() -> None:
    def threads(number: int) -> list[int]:
        return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]

    assert all({*found} == {1} for found in each(threads, 2, 2))


def alone_with_scikit_learn() -> None:
    os.environ.update(OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2", MKL_NUM_THREADS="2")
    assert "sklearn" not in sys.modules

    def threads(number: int) -> list[tuple[str, int]]:
        before = {library["filepath"] for library in threadpool_info()}
        import sklearn.cluster  # noqa: F401

        return [(one["filepath"], one["num_threads"]) for one in threadpool_info() if one["filepath"] not in before]

    for found in each(threads, 2, 2):
        assert found, "it brings libraries with threads of their own"
        assert {count for _, count in found} == {1}, found


@only_linux
def test_what_a_copy_loads_itself_has_one_thread_as_well(tmp_path: Path) -> None:
    in_its_own_process(alone_with_scikit_learn, log=tmp_path / "log")


def interrupted(task_begun: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupts(number: int) -> None:
        if number == 0:
            task_begun.touch()
            os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(each(interrupts, 4, 2))
    assert task_begun.exists()
    assert time.monotonic() - begin < 20, "it waits for no task, begun or not"


@only_linux
def test_an_interruption_ends_the_copies_with_what_they_do(tmp_path: Path) -> None:
    in_its_own_process(interrupted, tmp_path / "begun", log=tmp_path / "log")


@only_linux
def test_a_copy_that_is_killed_ends_the_work_in_one_line() -> None:
    with pytest.raises(UserError, match="ended before its time, as where memory runs out; give --processes 1"):
        list(each(lambda number: os._exit(9), 4, 2))
