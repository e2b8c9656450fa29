"""Answers requests that arrive together by one product: those that come in while others are computed wait for them."""

import asyncio
from collections import deque

from kgrec.messages import RecommendBody
from kgrec.service.answering import Listed, answer_block
from kgrec.service.caller import Tenant
from kgrec.service.deployment import Served

_Waiting = tuple[Served, Tenant | None, RecommendBody, asyncio.Future[Listed]]
MOST_AT_ONCE = 32  # requests in one product: the next ones wait some milliseconds for it


class Together:
    """Collects plain requests within one turn of the event loop, and answers them in it.

    An answer takes about as long as it takes to wake a thread, so threads would only add to it.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._is_planned = False

    async def answer(self, body: RecommendBody, served: Served, tenant: Tenant | None) -> Listed:
        """The answer to a plain request.

        Raises:
            KgrecError: as in `Recommender.recommend`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Listed] = loop.create_future()
        self._waiting.append((served, tenant, body, future))
        if not self._is_planned:
            self._is_planned = True
            loop.call_soon(self._work)
        return await future

    def _work(self) -> None:
        self._is_planned = False
        first = self._waiting[0][0]
        taken: list[_Waiting] = []
        while self._waiting and self._waiting[0][0] is first and len(taken) < MOST_AT_ONCE:
            taken.append(self._waiting.popleft())
        if self._waiting:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._work)
        try:
            answers: list[Listed | Exception] = [*answer_block(first, [(body, tenant) for _, tenant, body, _ in taken])]
        except Exception as error:
            answers = [error] * len(taken)
        for (*_, future), answer in zip(taken, answers, strict=True):
            if future.done():
                continue  # the client has gone
            if isinstance(answer, Listed):
                future.set_result(answer)
            else:
                future.set_exception(answer)
