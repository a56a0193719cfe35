"""docs/tempest.md: what is expected of each test stands there and nowhere else."""

from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tempest.md"
FIGURES_BEGIN, FIGURES_END = "<!-- figures -->\n", "<!-- end of figures -->\n"
OUTCOMES = ["passed", "skipped", "failed"]
# What the figures tell apart, by the beginning of the tests' names: the first that fits.
SUITES = {
    "tempest.api.volume": "tempest.api.volume.",
    "tempest.api.compute.volumes": "tempest.api.compute.volumes.",
    "tempest.api.compute, what else speaks of volumes": "tempest.",
    "cinder-tempest-plugin": "cinder_tempest_plugin.",
}


class Row:
    """A line `| test, or a pattern | identity or both | skipped or failed | reason |`."""

    def __init__(self, line):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        test, identity, self.outcome, self.reason = cells
        self.pattern = test.strip("`")
        self.identities = ["local", "keystone"] if identity == "both" else [identity]
        assert self.outcome in ["skipped", "failed"] and self.reason, f"{PAGE}: {line}"

    def matches(self, test, identity):
        return identity in self.identities and fnmatchcase(test, self.pattern)


def rows():
    """Every test that does not pass, by the page."""
    lines = PAGE.read_text().splitlines()
    return [Row(line) for line in lines if line.startswith(("| `tempest.", "| `cinder_tempest_plugin."))]


def surprises(outcomes, identity):
    """What differs from the page, one line each."""
    expected = rows()
    used = set()
    for test, outcome in sorted(outcomes.items()):
        matching = [row for row in expected if row.matches(test, identity)]
        used.update(map(id, matching))
        if len(matching) > 1:
            yield f"{test}: several lines of the page"
        wanted = matching[0].outcome if matching else "passed"
        if outcome != wanted:
            yield f"{test}: {outcome}, expected {wanted}"
    for row in expected:
        if identity in row.identities and id(row) not in used:
            yield f"{row.pattern}: there is no such test"


def figures(outcomes, identity):
    """The lines of the page's table for this identity."""
    left = dict(outcomes)
    for suite, prefix in SUITES.items():
        found = [left.pop(test) for test in outcomes if test in left and test.startswith(prefix)]
        counts = " | ".join(str(found.count(outcome)) for outcome in OUTCOMES)
        yield f"| {suite} | {identity} | {len(found)} | {counts} |\n"


def figures_write(lines):
    """Puts the figures of a whole run into the page."""
    head = "| Suite | Identity | Tests | Passed | Skipped | Failed |\n|---|---|---|---|---|---|\n"
    before, rest = PAGE.read_text().split(FIGURES_BEGIN)
    after = rest.split(FIGURES_END)[1]
    PAGE.write_text(before + FIGURES_BEGIN + head + "".join(lines) + FIGURES_END + after)
