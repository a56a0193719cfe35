"""Python reads this before tempest: tests that are marked as hitting a known bug of Cinder run all the same."""

import tempest.lib.decorators


def skip_because(*_, **__):
    return lambda test: test


tempest.lib.decorators.skip_because = skip_because
