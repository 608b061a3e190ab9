"""Deliveries of one subscription: when, in what order, how often, and what comes of them."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from arco_emulators.clock import Alarm, Clock
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.identity import Issuer
from arco_emulators.pubsub import filters
from arco_emulators.pubsub.envelope import push_request
from arco_emulators.pubsub.subscription import PushSubscription
from arco_emulators.sender import Answer, HttpRequest, Sender
from arco_emulators.spawned import Spawned

ACKNOWLEDGING = (102, 200, 201, 202, 204)
"""Answers after which a message is done; any other, and none, brings it again."""


@dataclass(slots=True, eq=False)
class Held:
    """A message that is not done yet."""

    message: Any
    ack_id: str
    """Changes when Google's emulator hands the message out again."""
    attempts: int = 0
    """Requests that reached out for the endpoint."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the lanes of a relay share."""

    clock: Clock
    chaos: Chaos
    counters: Counters
    sender: Sender
    issuer: Issuer
    changed: Callable[[], None]
    """Called after each end of a delivery."""


class Lane:
    """Holds the messages of a subscription and delivers them."""

    def __init__(
        self,
        subscription: PushSubscription,
        around: Surroundings,
        done: Callable[[Held], None],
        bury: Callable[[Held], Coroutine[None, None, bool]],
    ) -> None:
        """`done` acknowledges a message; `bury` publishes it as a dead letter, and says whether
        that was possible."""
        self.subscription = subscription
        self.held: dict[str, Held] = {}
        self.busy = 0
        self._around = around
        self._done = done
        self._bury = bury
        self._wanted = filters.parsed(subscription.filter)
        self._lines: dict[str, deque[Held]] = {}
        self._heap: list[tuple[float, int, Held]] = []
        self._pushed = 0
        self._running = Spawned(around.changed)
        self._alarm = Alarm(around.clock, self._run)

    def take(self, message: Any, ack_id: str) -> None:
        """Hold a message and deliver it, unless the filter does not want it."""
        known = self.held.get(message.message_id)
        if known is not None:
            known.ack_id = ack_id
            return
        held = Held(message, ack_id)
        counters = self._around.counters
        counters.add("messages", "received")
        if not self._wanted(message.attributes):
            counters.add("messages", "filtered")
            self._done(held)
            return
        self.held[message.message_id] = held
        key = self._key(held)
        if key:
            self._lines.setdefault(key, deque()).append(held)
        if not key or self._lines[key][0] is held:
            self._deliver_in(held, 0)

    def quiet(self, ahead_seconds: float) -> bool:
        """Whether nothing is under way or due within these seconds."""
        until = self._around.clock.now() + ahead_seconds
        return not self._running and not (self._heap and self._heap[0][0] <= until)

    def forget(self) -> None:
        """Acknowledge all that is held."""
        for held in list(self.held.values()):
            self._done(held)
        self.held.clear()
        self._lines.clear()
        self._heap.clear()
        self._alarm.set(None)

    async def close(self) -> None:
        """Break off what is under way."""
        self._alarm.close()
        self._heap.clear()
        await self._running.close()

    def _key(self, held: Held) -> str:
        """Messages of one key wait for each other; empty where order is not kept."""
        return str(held.message.ordering_key) if self.subscription.ordered else ""

    def _deliver_in(self, held: Held, seconds: float) -> None:
        around = self._around
        late = around.chaos.seconds(around.chaos.faults.delay_ms)
        self._pushed += 1
        heapq.heappush(self._heap, (around.clock.now() + seconds + late, self._pushed, held))
        self._run()

    def _run(self) -> None:
        """Start what is due, and set the timer for what is not."""
        now, most = self._around.clock.now(), self.subscription.concurrency
        while self._heap and self._heap[0][0] <= now and self.busy < most:
            held = heapq.heappop(self._heap)[2]
            self.busy += 1
            self._running.start(self._delivery(held))
        waits = self._heap and self.busy < most
        self._alarm.set(self._heap[0][0] if waits else None)

    async def _delivery(self, held: Held) -> None:
        around, faults = self._around, self._around.chaos.faults
        try:
            if around.chaos.strikes(faults.drop):
                around.counters.add("faults", "dropped")
                self._deliver_in(held, around.chaos.seconds(faults.drop_ms))
                return
            answer = await self._attempt(held)
            if self.held.get(held.message.message_id) is held:
                await self._settle(held, answer)
        finally:
            self.busy -= 1
            self._run()

    async def _attempt(self, held: Held) -> Answer:
        around, faults = self._around, self._around.chaos.faults
        held.attempts += 1
        around.counters.add("deliveries", "sent")
        if held.attempts > 1:
            around.counters.add("deliveries", "retries")
        request = push_request(self.subscription, held.message, held.attempts, around.issuer)
        answer = await around.sender.send(request)
        if around.chaos.strikes(faults.duplicate):
            around.counters.add("faults", "duplicated")
            again = self._duplicate(request, around.chaos.seconds(faults.duplicate_ms))
            # A message that comes again in an ordered subscription holds back those behind it.
            if self._key(held):
                await again
            else:
                self._running.start(again)
        if around.chaos.strikes(faults.lose_answer):
            around.counters.add("faults", "lost answers")
            return Answer(problem="the answer was lost on purpose")
        return answer

    async def _duplicate(self, request: HttpRequest, later_seconds: float) -> None:
        await asyncio.sleep(later_seconds)
        self._around.counters.add("deliveries", "sent")
        await self._around.sender.send(request)

    async def _settle(self, held: Held, answer: Answer) -> None:
        counters, subscription = self._around.counters, self.subscription
        if answer.status in ACKNOWLEDGING:
            counters.add("deliveries", "acknowledged")
            self._end(held)
            return
        counters.add("deliveries", "failed")
        buried = subscription.dead_letter_topic and (
            held.attempts >= subscription.max_delivery_attempts
        )
        if buried and await self._bury(held):
            counters.add("messages", "dead letters")
            self._end(held)
        else:
            self._deliver_in(held, subscription.backoff_seconds(held.attempts))

    def _end(self, held: Held) -> None:
        """It is done: acknowledge it, and let the next of its key go."""
        del self.held[held.message.message_id]
        self._done(held)
        key = self._key(held)
        if not key:
            return
        line = self._lines[key]
        line.popleft()
        if line:
            self._deliver_in(line[0], 0)
        else:
            del self._lines[key]
