"""What the scripts share: waiting for conditions and expecting errors. No test framework: the first failure ends the script."""

import contextlib
import time

PATIENCE = 60


def eventually(what, look, holds):
    """Looks until holds(look()) is true; the value that held."""
    end = time.monotonic() + PATIENCE
    while True:
        value = look()
        if holds(value):
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE} s, last seen {value!r}")
        time.sleep(0.05)


@contextlib.contextmanager
def refused(kind, *words):
    """The block must raise exactly this kind of error, with these words in its text."""
    try:
        yield
    except kind as error:
        if type(error) is not kind:
            raise AssertionError(f"{type(error).__name__} instead of {kind.__name__}: {error}") from error
        for word in words:
            assert word in str(error), f"{word!r} is not in {error}"
    else:
        raise AssertionError(f"{kind.__name__} was expected")


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"
