"""Blocks that open something and end it, for `with` and `async with` alike."""

from types import TracebackType
from typing import Generic, TypeVar

from tallystick.interface.steps import LEAVE_SECONDS, Runner, Steps, log

Plain = TypeVar("Plain")
Awaited = TypeVar("Awaited")


class Block:
    """Opened and ended by steps, once."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._entered = False

    def _open(self) -> Steps[None]:
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> Steps[None]:
        raise NotImplementedError

    def _enter(self) -> Steps[None]:
        if self._entered:
            raise RuntimeError("a block is entered once: make another one")
        self._entered = True
        return self._open()


class PlainBlock(Block, Generic[Plain]):
    """A block of a thread, for `with`."""

    def _plain(self) -> Plain:
        raise NotImplementedError

    def __enter__(self) -> Plain:
        self._runner.run(self._enter())
        return self._plain()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.run(ending(self._end(error), error))


class AwaitedBlock(Block, Generic[Awaited]):
    """A block of a coroutine, for `async with`. A cancellation waits until what it has open has ended."""

    def _awaited(self) -> Awaited:
        raise NotImplementedError

    async def __aenter__(self) -> Awaited:
        await self._runner.run_async(self._enter())
        return self._awaited()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.leave_async(ending(self._end(error), error))


def ending(steps: Steps[None], error: BaseException | None) -> Steps[None]:
    """Steps that end a block. Where it has raised, that is what its program learns; what else failed is noted there."""
    try:
        yield from steps
    except Exception as failed:
        if error is None:
            raise
        error.add_note(f"and what was open could not be ended, which its lease will do: {failed}")
        log.warning("not_ended", error=str(failed), instead="its lease ends it")


def patience(error: BaseException | None) -> float | None:
    """For how many seconds a message that ends something is tried again; None for as long as any."""
    return None if error is None else LEAVE_SECONDS
