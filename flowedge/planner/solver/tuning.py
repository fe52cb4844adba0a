"""The solver's numbers in one place, in two modes: few groups of cameras, and many.

Unless said otherwise they were found with `python -m tools.bench.exactness` (few groups, 200 random problems:
the least time at which the default strategy was within 1 % of the exact optimum in all but a handful) and with
`python -m tools.bench.planner` (many groups: cities of up to 1000 nodes and 10 000 cameras, by the gap to the
bound). Most results hardly change when one of them is halved or doubled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

TOLERANCE = 1e-9
"""Share of a limit by which floating point may miss it, and of a value by which a change must be better."""


@dataclass
class Budget:
    """Work that may be done, in pairs of a label and a choice: so results do not depend on a clock.

    >>> budget = Budget(100.0)
    >>> budget.spend(60)
    >>> budget.left, budget.spent, budget.over
    (40.0, 60.0, False)
    """

    left: float
    _total: float = field(init=False)

    def __post_init__(self) -> None:
        self._total = self.left

    def spend(self, work: float) -> None:
        """Take work off what is left."""
        self.left -= work

    @property
    def spent(self) -> float:
        """What was taken off so far."""
        return self._total - self.left

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How the solver spends its work; `few` says whether groups are so few that each is worth a closer look.

    With few groups pools have variables of their own in the master problem, rounding dives, replicas are sized
    for all pools together, and a local search descends after every step. With many, each counts for little.

    Work per second, and the work that a step counts as (`work_...`), in pairs of a label and a choice, were
    measured on one core of 2024.
    """

    few: bool

    # How much work there is, and for what.
    work_per_second: float = 1.0e7
    least_effort: float  # seconds, where the caller names no effort
    groups_per_second: float  # that are worth a second of effort; fitted on 1 to 30 and on 30 to 1000 groups
    pricing_share: float  # of all work, for column generation
    start_share: float  # of the work left, for each attempt to construct a plan
    search_share: float  # of all work at most, for local search; with many groups it gains little
    insistence: int = 3  # times the effort once more, where no attempt found a plan

    # The compact programme, which small problems are given to first.
    compact_variables: int = 2000  # up to which it is tried; larger ones are rarely proven optimal at once
    compact_work: float = 3.0e4  # of `IntegerProgramme.work` up to which it is solved at all
    compact_nodes: int = 20  # of branch and bound; more hardly ever close the gap that the root leaves
    conflict_size: int = 3000  # stages x nodes x classes up to which a conflict is searched by solving again

    # Column generation.
    gap: float  # share of the value at which it ends; below what rounding loses anyway
    worthwhile: float = 1e-6  # share of the price of a camera by which a column must lower it
    columns: int  # added for a group in a round
    first_labels: int  # kept at each stage at first; more only where no column is found
    most_labels: int = 400  # and at most
    large: int = 60  # nodes from which only near ones are looked at first
    nearest: int = 16  # of them, by delay
    nearest_of_tier: int = 2  # and of each tier, so that no tier is left out
    missing: float = 1e-6  # cameras without a column that count as none
    missing_cost: float = 10.0  # times the dearest column: the cost of a camera without one
    avoided_cost: float = 1e6  # of a frame on a node that first columns avoid; far above anything else
    work_programme: float = 400.0  # to solve the master problem, for each column
    work_choices: float = 4000.0  # to price the choices of a stage
    work_stage: float = 5000.0  # of label setting for a stage, whatever the number of labels

    # Insertion and construction of a first plan.
    attempts: int  # to construct a plan, even if the first found one
    levels: int = 4  # numbers of replicas that are tried for one load, each with half the wait
    insertion_labels: int = 60  # kept at each stage
    insertion_tries: int = 6  # with dearer prices for what had no room
    insertion_candidates: int = 8  # cheapest labels that are tried for room
    dearer: float = 4.0  # factor of such a price
    free_node: float = 0.03  # price of a node that costs nothing, for each camera, when it had no room
    idle_price: float = 1e-6  # share of a node's price by which idle resources are better than used ones
    wide: int = 64  # nodes that are looked at where the nearest had no room
    repairs: int = 200  # attempts to find room for the last cameras
    work_insertion: float = 6000.0  # to prepare the choices of a stage

    # Sizes of pools.
    replicas_added: int = 60  # one by one, before a pool is given up as too slow
    full: float = 1e-6  # share of a node by which floating point may go beyond it
    work_latency: float = 400.0  # of an assignment's latency
    remembered: int = 100_000  # numbers of replicas, by load and wait limit

    # Local search.
    failures: int = 300  # attempts in a row without a better plan, after which it ends
    removed: int = 8  # assignments at once
    close: float = 1e-5  # gap to the bound at which it ends
    descend_within: float = 0.5  # share of the value by which a neighbour may be worse before it descends
    accept_within: float = 0.05  # and after; threshold accepting
    return_after: int = 20  # attempts without a better plan after which it returns to the best
    freed: int = 5  # replicas that a shift may make superfluous at once
    sums: int = 300  # loads that are told apart to find the least such shift
    shifted: int = 4  # assignments that a shift takes cameras of
    targets: int = 12  # for a shift, the cheapest ones
    work_shift: float = 6000.0  # of a shift that is tried


FEW_GROUPS = Tuning(
    few=True,
    least_effort=0.8,
    groups_per_second=4,
    pricing_share=0.4,
    start_share=0.2,
    search_share=math.inf,
    gap=1e-4,
    columns=3,
    first_labels=30,
    attempts=2,
)
"""For up to `MOST_OF_FEW` groups."""

MANY_GROUPS = replace(
    FEW_GROUPS,
    few=False,
    least_effort=4.0,
    groups_per_second=28,
    pricing_share=0.7,
    start_share=1.0,
    search_share=0.1,
    gap=2e-3,
    columns=1,
    first_labels=8,
    attempts=1,
)
"""For more."""

MOST_OF_FEW = 30
"""Groups; beyond, variables of pools make the master problem slow and its bound hardly better."""


def tuning_for(groups: int) -> Tuning:
    """The mode for so many groups.

    >>> tuning_for(3) is FEW_GROUPS, tuning_for(300) is MANY_GROUPS
    (True, True)
    """
    return FEW_GROUPS if groups <= MOST_OF_FEW else MANY_GROUPS
