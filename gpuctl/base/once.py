"""A property that is worked out once for each object, with a lock for each object.

``functools.cached_property`` has one lock for all objects of a class before Python 3.12: whoever waits for the answer of one cluster
would hold up all the others.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - a decorator, written as ``property`` is
    """The value of a method that takes nothing: asked for once, by whoever needs it first; others wait for that answer.

    It lies in the object's ``__dict__`` under the method's name; taken out there, it is asked for again. An error is not kept.
    """

    def __init__(self, ask: Callable[[Any], T]) -> None:
        self._ask = ask
        self._name = ask.__name__
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> "Self": ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> "Self | T":
        if instance is None:
            return self
        held = instance.__dict__
        with held.setdefault(f"{self._name} (lock)", threading.RLock()):
            if self._name not in held:
                held[self._name] = self._ask(instance)
            value: T = held[self._name]
            return value
