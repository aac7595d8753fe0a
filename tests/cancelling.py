"""Cancels a coroutine at each of its awaits, one after the other."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

#: When at an await: as it begins, or when what it waits for has come and the task has not run yet.
MOMENTS = ("early", "late")


@types.coroutine
def _stepped(
    inner: Coroutine[Any, Any, Any], number: int, moment: str, reached: list[int]
) -> Generator[Any, Any, Any]:
    task = asyncio.current_task()
    assert task is not None
    thrown: BaseException | None = None
    while True:
        try:
            waits = inner.send(None) if thrown is None else inner.throw(thrown)
        except StopIteration as end:
            return end.value
        thrown = None
        reached[0] += 1
        if reached[0] == number:
            if moment == "late" and waits is not None:
                waits.add_done_callback(lambda _: task.cancel())
            else:
                task.get_loop().call_soon(task.cancel)
        try:
            yield waits
        except BaseException as error:
            thrown = error


async def cancelled(
    call: Callable[[], Coroutine[Any, Any, Any]], most: int = 60
) -> AsyncIterator[Any]:
    """
    Call it again and again, each time cancelled at another await.

    Returns:
        An iterator: after each call what it returned, or None if it was cancelled.
    """
    for moment in MOMENTS:
        for number in range(1, most + 1):
            reached = [0]

            async def whole(
                number: int = number, moment: str = moment, reached: list[int] = reached
            ) -> Any:
                return await _stepped(call(), number, moment, reached)

            task = asyncio.create_task(whole())
            await asyncio.wait([task])
            yield None if task.cancelled() else task.result()
            if reached[0] < number:
                break
        else:
            raise AssertionError("it has more awaits than expected")
