"""When a failed attempt is tried again, and after how long.

The waits are Dagster's (1.13): the n-th retry waits `delay`, `n * delay` or `(2**n - 1) * delay`,
and jitter spreads it. Two things are added: a cap on one wait, and a filter on what failed.
"""

from __future__ import annotations

import builtins
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, cast, get_args

from arco_flow.domain.durations import (
    MAX_DURATION_MS,
    Duration,
    format_duration,
    parse_duration_ms,
)
from arco_flow.domain.errors import DefinitionError, InvalidInput, did_you_mean

Backoff = Literal["constant", "linear", "exponential"]
Jitter = Literal["none", "full", "plus_minus"]

MAX_RETRIES: Final = 230
"""A run keeps the number of an attempt in one byte: 1 + 230 retries + 20 losses stay below 256.
More retries are a loop without an end, better written as a schedule or a sensor."""


class ErrorCategory(StrEnum):
    """What kind of thing went wrong in an attempt; the worker says it in its report."""

    USER_CODE = "USER_CODE"
    INFRASTRUCTURE = "INFRASTRUCTURE"
    TIMEOUT = "TIMEOUT"
    DATA_QUALITY = "DATA_QUALITY"
    CONFIGURATION = "CONFIGURATION"
    CANCELLED = "CANCELLED"


RETRIED_BY_DEFAULT: Final = frozenset(
    {ErrorCategory.USER_CODE, ErrorCategory.INFRASTRUCTURE, ErrorCategory.TIMEOUT}
)
"""Failures that another try can mend: bad data, bad settings and a cancel stay what they are."""

RetryOn = str | type[BaseException]
"""An exception class, its name (bare or with modules), or the name of an ErrorCategory."""

_CLASS_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True, init=False)
class RetryPolicy:
    """How often, how late and on what a failed attempt is tried again.

    max_retries: tries after the first one, 0 to 230.
    delay: wait before a retry, as seconds or text (`"10s"`); `delay_ms` holds it.
    backoff: "constant" waits `delay`, "linear" `n * delay`, "exponential" `(2**n - 1) * delay`.
    max_delay: cap of one wait, jitter included; `max_delay_ms` holds it, None is no cap.
    jitter: "full" waits anything from nothing to the whole, "plus_minus" the whole ± `delay`.
    on: retry only what is named here: exception classes or their names, and error categories.
        A class covers its subclasses. A lost worker raises nothing: with exception classes here,
        add "INFRASTRUCTURE" to retry that too. Empty: USER_CODE, INFRASTRUCTURE and TIMEOUT.

    Raises DefinitionError naming the argument, and when the last wait would exceed ten years.
    """

    max_retries: int
    delay_ms: int
    backoff: Backoff
    max_delay_ms: int | None
    jitter: Jitter
    on: tuple[str, ...]

    def __init__(
        self,
        max_retries: int = 1,
        delay: Duration | None = None,
        *,
        backoff: Backoff = "constant",
        max_delay: Duration | None = None,
        jitter: Jitter = "none",
        on: RetryOn | Iterable[RetryOn] = (),
    ) -> None:
        _check_count(max_retries)
        _check_word("backoff", backoff, get_args(Backoff))
        _check_word("jitter", jitter, get_args(Jitter))
        if delay is None and (backoff != "constant" or jitter != "none"):
            given = f"backoff={backoff!r}" if backoff != "constant" else f"jitter={jitter!r}"
            raise _refused(f"{given} without a delay to shape", 'add delay="10s"')
        assign = object.__setattr__
        assign(self, "max_retries", max_retries)
        assign(self, "delay_ms", 0 if delay is None else _milliseconds(delay, "delay"))
        assign(self, "backoff", backoff)
        cap = None if max_delay is None else _milliseconds(max_delay, "max_delay")
        assign(self, "max_delay_ms", cap)
        assign(self, "jitter", jitter)
        assign(self, "on", _names_of(on))
        _check_waits(self)

    def to_wire(self) -> dict[str, Any]:
        """The policy as JSON values, integers and text only; what is unset is left out."""
        wire: dict[str, Any] = {
            "maxRetries": self.max_retries,
            "delayMs": self.delay_ms,
            "backoff": self.backoff,
            "jitter": self.jitter,
        }
        if self.max_delay_ms is not None:
            wire["maxDelayMs"] = self.max_delay_ms
        if self.on:
            wire["on"] = list(self.on)
        return wire


def retry_from_wire(wire: Mapping[str, Any]) -> RetryPolicy:
    """The policy of `RetryPolicy.to_wire`. Fields of a newer writer are passed over.

    Raises InvalidInput naming the field.
    """
    on = wire.get("on", [])
    if not isinstance(on, list | tuple):
        raise InvalidInput("'on' of a retry policy is a list of names")
    cap = _wire_number(wire, "maxDelayMs")
    return RetryPolicy(
        wire.get("maxRetries", 1),
        f"{_wire_number(wire, 'delayMs') or 0}ms",
        backoff=wire.get("backoff", "constant"),
        max_delay=None if cap is None else f"{cap}ms",
        jitter=wire.get("jitter", "none"),
        on=cast("list[RetryOn]", on),
    )


def base_delay_ms(policy: RetryPolicy, retry_number: int) -> int:
    """The wait before retry `retry_number` (from 1), in milliseconds, capped, without jitter."""
    if retry_number < 1:
        raise InvalidInput(f"retry number {retry_number}: the first retry has number 1")
    base = _factor(policy.backoff, retry_number) * policy.delay_ms
    return base if policy.max_delay_ms is None else min(base, policy.max_delay_ms)


def delay_ms(policy: RetryPolicy, retry_number: int, seed: str) -> int:
    """The wait before retry `retry_number` (from 1), in milliseconds, with jitter.

    `seed` is the id of the failed attempt. Jitter comes from its hash and not from a random
    source because the decision that sets the timer is replayed from the ledger: it must come to
    the same time again, while the attempts of many tasks still spread evenly.
    """
    base = base_delay_ms(policy, retry_number)
    if policy.jitter == "none":
        return base
    low, high = 0, base
    if policy.jitter == "plus_minus":
        low, high = max(0, base - policy.delay_ms), base + policy.delay_ms
        if policy.max_delay_ms is not None:
            high = min(high, policy.max_delay_ms)
    digest = hashlib.sha256(f"retry-jitter:{seed}:{retry_number}".encode()).digest()
    return low + int.from_bytes(digest[:8]) % (high - low + 1)


def should_retry(
    policy: RetryPolicy,
    attempt: int,
    category: str | None,
    error_type_names: Iterable[str] = (),
    *,
    retryable: bool | None = None,
    max_retries: int | None = None,
) -> bool:
    """Whether another attempt follows the failed attempt number `attempt` (from 1).

    category: an ErrorCategory; None or an unknown word (no structured report) counts as user code.
    error_type_names: names of the exception's classes as `error_type_names_of` gives them.
    retryable: what the user code said itself; it outweighs everything but the number of tries
    and a cancel. max_retries: the number that it asked for, in place of the policy's; what is
    over MAX_RETRIES counts as that, because it comes from outside.
    """
    allowed = policy.max_retries if max_retries is None else min(max_retries, MAX_RETRIES)
    if attempt > allowed or category == ErrorCategory.CANCELLED:
        return False
    if retryable is not None:
        return retryable
    known = category if category in ErrorCategory.__members__ else ErrorCategory.USER_CODE
    if not policy.on:
        return known in RETRIED_BY_DEFAULT
    if known in policy.on:
        return True
    given = set(error_type_names)
    bare = {name.rpartition(".")[2] for name in given}
    return any(name in given or ("." not in name and name in bare) for name in policy.on)


def error_type_names_of(error_type: type[BaseException]) -> tuple[str, ...]:
    """Names with modules of an exception class and its bases, most derived first."""
    return tuple(_qualified(kind) for kind in error_type.__mro__ if kind is not object)


def _factor(backoff: Backoff, retry_number: int) -> int:
    if backoff == "linear":
        return retry_number
    if backoff == "exponential":
        return int(2**retry_number - 1)
    return 1


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _names_of(on: RetryOn | Iterable[RetryOn]) -> tuple[str, ...]:
    """Sorted, so that the order in which they were written does not change a fingerprint."""
    entries: Iterable[RetryOn] = [on] if isinstance(on, str | type) else on
    return tuple(sorted({_name_of(entry) for entry in entries}))


def _name_of(entry: object) -> str:
    if isinstance(entry, type) and issubclass(entry, BaseException):
        return _qualified(entry)
    if not isinstance(entry, str):
        raise _refused(
            f"on={entry!r} names no error", "give exception classes, names or categories"
        )
    if entry == ErrorCategory.CANCELLED:
        raise _refused("on='CANCELLED': a cancelled attempt is never retried", "leave it out")
    if entry in ErrorCategory.__members__:
        return str(entry)
    if entry.islower() and entry.upper() in ErrorCategory.__members__:
        raise _refused(f"on='{entry}' is no category", f"did you mean '{entry.upper()}'?")
    if not _CLASS_NAME.fullmatch(entry):
        raise _refused(f"on={entry!r} is no name of a class", 'e.g. "TimeoutError", "a.b.MyError"')
    # IOError and its like are other names of a class that calls itself OSError
    alias = getattr(builtins, entry, None)
    return alias.__name__ if isinstance(alias, type) else entry


def _check_count(max_retries: object) -> None:
    if isinstance(max_retries, bool) or not isinstance(max_retries, int):
        raise _refused(f"max_retries={max_retries!r} is no whole number", "e.g. max_retries=3")
    if not 0 <= max_retries <= MAX_RETRIES:
        raise _refused(f"max_retries is not in 0…{MAX_RETRIES}", "e.g. max_retries=3")


def _check_word(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        hint = did_you_mean(str(value), allowed)
        raise _refused(f"{name}={value!r} is not known{hint}", f"one of {', '.join(allowed)}")


def _milliseconds(value: Duration, name: str) -> int:
    try:
        return parse_duration_ms(value, name=name)
    except InvalidInput as error:
        raise _refused(error.message, error.fix or "") from None


def _check_waits(policy: RetryPolicy) -> None:
    cap = policy.max_delay_ms
    if cap is not None and cap < policy.delay_ms:
        texts = f"{format_duration(cap)} is shorter than delay {format_duration(policy.delay_ms)}"
        raise _refused(f"max_delay {texts}", "raise max_delay or lower delay")
    last = max(policy.max_retries, 1)
    if base_delay_ms(policy, last) > MAX_DURATION_MS:
        longest = format_duration(MAX_DURATION_MS)
        raise _refused(f"retry {last} would wait longer than {longest}", 'add max_delay="1h"')


def _wire_number(wire: Mapping[str, Any], field: str) -> int | None:
    value = wire.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"'{field}' of a retry policy is no whole number of milliseconds")
    if not 0 <= value <= MAX_DURATION_MS:
        raise InvalidInput(f"'{field}' of a retry policy is not in 0…{MAX_DURATION_MS}")
    return value


def _refused(problem: str, fix: str) -> DefinitionError:
    return DefinitionError(f"RetryPolicy: {problem}", fix=fix, reason="BAD_RETRY_POLICY")
