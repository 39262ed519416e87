"""Turns of the event loop: who is the only one, and what waits until the answers are written."""

import asyncio

from service.turn import Turns


def test_one_after_the_other() -> None:
    """Who comes in a turn of its own is the only one."""

    async def story() -> list[bool]:
        turns = Turns()
        alone = []
        for _ in range(3):
            alone.append(turns.enter())
            await asyncio.sleep(0)
        return alone

    assert asyncio.run(story()) == [True, True, True]


def test_together() -> None:
    """The second of a turn is not the only one, nor is the first of the next until a turn brought no other."""

    async def story() -> list[bool]:
        turns = Turns()
        alone = [turns.enter(), turns.enter()]
        for _ in range(2):
            await asyncio.sleep(0)
            alone.append(turns.enter())
        return alone

    assert asyncio.run(story()) == [True, False, False, True]


def test_what_is_left_for_later() -> None:
    """What is left is done in the next turn, in its order, also where no request came, and once."""

    async def story() -> list[str]:
        turns = Turns()
        done: list[str] = []
        turns.leave(lambda: done.append("a"))
        turns.leave(lambda: done.append("b"))
        assert not done
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return done

    assert asyncio.run(story()) == ["a", "b"]


def test_a_quiet_turn_tells_nothing() -> None:
    """What is left in a turn without a request does not change who is expected to come alone."""

    async def story() -> bool:
        turns = Turns()
        turns.enter()
        turns.enter()
        await asyncio.sleep(0)
        turns.leave(lambda: None)
        await asyncio.sleep(0)
        return turns.enter()

    assert asyncio.run(story()) is False
