"""A front's way to one shard: what is asked meanwhile goes in one call, and what is answered meanwhile comes in one."""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Awaitable
from typing import Final, Protocol, TypeVar

import msgspec
import structlog

from tallystick.cluster.exchange import GIVE_SECONDS
from tallystick.cluster.frames import Ask, Begin, Elsewhere, Gone, Part, Sent, ToFront, ToShard, encode, to_front

WAIT_SECONDS: Final = 15.0
"""How long a request waits for a shard that is being restarted or moved."""
WAITING_MAX: Final = 10_000
"""So many requests may wait for one shard, asked or not."""
STUCK_SECONDS: Final = 5.0
"""A shard that does not answer a call for so long has stopped."""
_STARTING_SECONDS: Final = 10.0
"""So much longer one is waited for that is being started: to ask it anew puts the question behind the first."""
_AGAIN_SECONDS: Final = 0.1
_BATCH: Final = 1_000
Answer = TypeVar("Answer")
log = structlog.get_logger("tallystick.front")


class ShardCalls(Protocol):
    """A shard somewhere in the cluster; see `Shard`. Each raises `ShardGone` where it does not answer."""

    async def begin(self, session: str, *, waits: bool) -> None:
        """Begin a session; where the shard is being started and ``waits``, as soon as it is there."""

    async def take(self, session: str, data: bytes) -> bool: ...
    async def give(self, session: str) -> bytes | None: ...
    async def restart(self) -> None:
        """End its process, if it is still there, so that it is started anew."""


class ShardGone(Exception):
    """A shard does not answer: its process or its machine has ended, or is cut off."""


class Unavailable(Exception):
    """A request cannot be answered now: the code, and the sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Moved(Exception):
    """The fleet is another shard's: there are ``shards`` now."""

    def __init__(self, shards: int) -> None:
        super().__init__(shards)
        self.shards = shards


class ClientGone(Exception):
    """The client of a request does not wait any more."""


class Asked:
    """A request that waits for its answer."""

    def __init__(self, ask: Ask, until: float) -> None:
        self.ask, self.until = ask, until
        self.is_taken = self.has_begun = False
        self._frames: asyncio.Queue[ToFront | Exception] = asyncio.Queue()

    def hear(self, frame: ToFront | Exception) -> None:
        self._frames.put_nowait(frame)

    async def next(self) -> Begin | Part:
        """The next part of its answer.

        Raises:
            Unavailable: there will be none.
            Moved: another shard must be asked.
            ClientGone: it is not needed any more.
        """
        frame = await self._frames.get()
        if isinstance(frame, Exception):
            raise frame
        if isinstance(frame, Elsewhere):
            raise Moved(frame.shards)
        return frame


class _Head(msgspec.Struct):
    id: str


_one = msgspec.json.Decoder(_Head).decode
_many = msgspec.json.Decoder(list[_Head]).decode


class Link:
    """Asks one shard. While that is away, requests wait; what it may have done already is not done twice."""

    def __init__(self, shard: ShardCalls, name: str) -> None:
        self._shard, self.name = shard, name
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._asked: dict[int, Asked] = {}
        """All that wait, by the ids of their requests."""
        self._out: list[ToShard] = []
        self._there_is_some, self._some_wait = asyncio.Event(), asyncio.Event()
        self._session = ""
        self._has_answered, self._stuck = False, 0
        self._task = self._loop.create_task(self._run())

    @property
    def waiting(self) -> int:
        """How many requests wait for their answers."""
        return len(self._asked)

    def ask(self, ask: Ask) -> Asked:
        """Ask; ``ask.id`` is chosen here.

        Raises:
            Unavailable: too many wait already.
        """
        if len(self._asked) >= WAITING_MAX:
            raise Unavailable("busy", f"{WAITING_MAX} requests wait for this shard already: try again")
        ask = msgspec.structs.replace(ask, id=next(self._ids))
        asked = self._asked[ask.id] = Asked(ask, self._loop.time() + WAIT_SECONDS)
        self._say(ask)
        self._some_wait.set()
        return asked

    def sent(self, asked: Asked) -> None:
        """A part was sent to the client."""
        self._say(Sent(asked.ask.id))

    def leave(self, asked: Asked) -> None:
        """The request is over, or its client has gone."""
        if asked.ask.id in self._asked:
            self._over(asked)
            if asked.is_taken:
                self._say(Gone(asked.ask.id))

    def _over(self, asked: Asked) -> None:
        del self._asked[asked.ask.id]
        if not self._asked:
            self._some_wait.clear()

    async def close(self) -> None:
        """Ask no more."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    # --- one session after the other ----------------------------------------------------------------------------------

    def _say(self, frame: ToShard) -> None:
        self._out.append(frame)
        self._there_is_some.set()

    async def _run(self) -> None:
        while True:
            await self._there_is_some.wait()
            try:
                await self._one_session()
            except ShardGone as gone:
                # Ray knows it, and starts it anew.
                self._has_answered = False
                log.warning("shard_gone", shard=self.name, waiting=len(self._asked), why=str(gone))
            except TimeoutError:
                log.warning("shard_stuck", shard=self.name, waiting=len(self._asked), times=self._stuck + 1)
                await self._note_stuck()
            else:
                self._stuck = 0
            self._forget()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _note_stuck(self) -> None:
        """Have a shard that stands still started anew; not one that has never answered, because it is being started."""
        self._stuck += 1
        if self._has_answered and self._stuck > 1:
            self._stuck, self._has_answered = 0, False
            await self._restart()

    async def _restart(self) -> None:
        with contextlib.suppress(ShardGone, TimeoutError):
            await self._in_time(self._shard.restart())

    async def _one_session(self) -> None:
        """Ask and be answered until the shard does not know us any more.

        Raises:
            ShardGone: it does not answer.
            TimeoutError: the same, and it is not known why.
        """
        self._session = secrets.token_hex(8)
        # One that has answered, and does not now, is not waited for: whether it has gone must be known (`_note_stuck`).
        waits = not self._has_answered
        await self._in_time(self._shard.begin(self._session, waits=waits), _STARTING_SECONDS if waits else 0.0)
        self._has_answered, self._stuck = True, 0
        asking, hearing = self._loop.create_task(self._ask_on()), self._loop.create_task(self._hear_on())
        try:
            done, _ = await asyncio.wait((asking, hearing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (asking, hearing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ShardGone, TimeoutError):
                    await task
        for task in done:
            task.result()

    async def _ask_on(self) -> None:
        while True:
            await self._there_is_some.wait()
            frames, self._out = self._out[:_BATCH], self._out[_BATCH:]
            if not self._out:
                self._there_is_some.clear()
            frames = [frame for frame in frames if not isinstance(frame, Ask) or frame.id in self._asked]
            if not frames:
                continue
            for frame in frames:
                if isinstance(frame, Ask):
                    self._asked[frame.id].is_taken = True
            if not await self._in_time(self._shard.take(self._session, encode(frames))):
                for frame in frames:  # nothing of it was done
                    if isinstance(frame, Ask) and frame.id in self._asked:
                        self._asked[frame.id].is_taken = False
                return

    async def _hear_on(self) -> None:
        while True:
            await self._some_wait.wait()
            data = await self._in_time(self._shard.give(self._session), GIVE_SECONDS)
            if data is None:
                return
            for frame in to_front(data):
                asked = self._asked.get(frame.id)
                if asked is not None:
                    asked.has_begun = True
                    asked.hear(frame)
                    if isinstance(frame, Elsewhere) or not frame.more:
                        self._over(asked)

    async def _in_time(self, call: Awaitable[Answer], more: float = 0.0) -> Answer:
        return await asyncio.wait_for(call, STUCK_SECONDS + more)

    def _forget(self) -> None:
        """After a session: ask again what may be asked again, and say of the rest what is known."""
        self._out = []
        self._there_is_some.clear()
        now = self._loop.time()
        for asked in list(self._asked.values()):
            why = self._why_not_again(asked, now)
            if why is None:
                asked.is_taken = False
                self._say(asked.ask)
            else:
                asked.hear(why)
                self._over(asked)

    def _why_not_again(self, asked: Asked, now: float) -> Unavailable | None:
        if asked.has_begun:
            return Unavailable("unanswered", "the answer broke off")
        if asked.is_taken and not may_be_repeated(asked.ask):
            text = "the machine of the fleet failed, and it may have been carried out: send it again with the same id"
            return Unavailable("unanswered", text)
        if now > asked.until:
            return Unavailable("is_moving", "the fleet's shard is being restarted elsewhere: try again")
        return None


def may_be_repeated(ask: Ask) -> bool:
    """Whether a request may be carried out twice: it only reads, or each of its messages has an id, and counts once."""
    if ask.method in ("GET", "HEAD"):
        return True
    if any(name == b"idempotency-key" for name, _ in ask.headers):
        return True
    for decode in (_one, _many):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
            decode(ask.body)
            return True
    return False
