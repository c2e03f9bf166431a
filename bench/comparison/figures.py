"""What is made of measurements: medians with intervals, ratios, steadiness, the order of a round. No I/O."""

import math
import statistics

COVERAGE_MIN = 0.95
STEADY_WINDOWS = 3


def interval(values):
    """(median, low, high, coverage) of the values by order statistics.

    Between the k-th smallest and the k-th largest of n values lies the median of what they are drawn from with a probability of
    1 - 2 P(Binomial(n, 1/2) < k), whatever its distribution. The narrowest with 95 % is taken; where even the whole range
    has less (fewer than six values), it is the whole range, with the coverage that it has.
    """
    ordered = sorted(values)
    count = len(ordered)
    best = None
    for k in range(1, (count + 1) // 2 + 1):
        coverage = 1 - 2 * sum(math.comb(count, i) for i in range(k)) / 2**count
        if best is None or coverage >= COVERAGE_MIN:
            best = ordered[k - 1], ordered[-k], max(coverage, 0.0)
    return (statistics.median(ordered), *best)


def steady(windows, fraction):
    """Whether each figure of the last three windows is within that fraction of its mean, from the least to the most."""
    last = windows[-STEADY_WINDOWS:]
    if len(last) < STEADY_WINDOWS:
        return False
    for figures in zip(*last):
        mean = statistics.mean(figures)
        if not mean > 0 or max(figures) - min(figures) > fraction * mean:
            return False
    return True


def shuffled(systems, random):
    """The systems in the order of one round: what a system leaves behind then meets each of the others alike."""
    order = list(systems)
    random.shuffle(order)
    return order


def ratios(rounds, others, name):
    """A figure divided by another system's in the same round, for each round that has both."""
    pairs = zip(rounds, others)
    figures = [(mine.get("figures", {}).get(name), theirs.get("figures", {}).get(name)) for mine, theirs in pairs]
    return [mine / theirs for mine, theirs in figures if mine is not None and theirs]


def pairs(durabilities):
    """Which systems are divided by which: (dividend, divisor, what they have in common).

    `durabilities`: by system, "disk" if an acknowledged record is on disk, else "memory".
    """
    found = []
    for mine, theirs in ((a, b) for a in durabilities for b in durabilities):
        if not mine.startswith("klamm") or mine == "klamm-base" or mine == theirs:
            continue
        if theirs == "klamm-base":
            if mine == "klamm":
                found.append((mine, theirs, "two builds"))
        elif theirs.startswith("klamm"):
            continue
        elif durabilities[mine] == durabilities[theirs]:
            found.append((mine, theirs, {"disk": "both durable", "memory": "neither durable"}[durabilities[mine]]))
        elif mine == "klamm":
            found.append((mine, theirs, "UNEQUAL: durable against not durable"))
    return found
