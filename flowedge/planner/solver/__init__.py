"""`flowedge`, the default strategy, on one page.

In goes a problem (`flowedge.planner.model.problem`): graphs with goals, cameras, profiles, a cluster. Out comes
a plan that the checker has nothing against, with a number that no plan can be below. The steps, and their
modules:

    problem ----> compact programme (exact.exact) ------------------- proven best ----> plan
       |            only where it is easy
       v
    groups of cameras, choices of each stage                     instance
       |
       v
    column generation                                            column_generation      ----> bound
       |   restricted master problem  --- prices --->            master_problem
       |   label setting              <-- columns ---            label_setting
       v
    rounding: whole cameras on columns                           rounding
       |
       v
    insertion and repair: room for the others                    insertion, repair
       |
       v
    local search on a partial plan                               local_search, partial_plan, replica_sizing
       |
       v
    plan (and back, from the plan in force)                      translate              ----> plan

1. Settings that others beat (`flowedge.planner.options.offers`) and services that others replace
   (`flowedge.planner.model.profiles`) are left out. Cameras at one node with one rate and one application are
   a group.
2. A small problem is solved as one mixed-integer programme; where its plan is proven the best, that is the
   answer.
3. Column generation solves a relaxation. A *column* is one assignment of all stages of a group to nodes and
   services; the restricted master problem spreads the cameras over the columns generated so far, and label
   setting finds further ones that its prices (duals) ask for. Its optimum is the bound.
4. Rounding puts whole cameras on columns. These are *assignments* in a *partial plan*, which counts whole
   replicas in *pools* (all replicas of one service of a stage on a node) and keeps every wait within its limit.
5. Insertion places further cameras at the least marginal cost, by label setting again; repair removes others
   near them first. Prices of scarce resources, from the master problem, steer both. This is tried a few times.
6. Local search removes and inserts assignments, moves stages of them, and sizes pools anew, on the true waits.
7. The assignments become the *routes* of a plan, one for each class, and the checker verifies it.

What the bound ignores: that replicas are whole (but not that one is needed at all, where groups are few), that
frames wait, and that cameras of a class cannot be divided. So a gap is not an error: on problems of few cameras
the optimum itself may be some percent above the bound.

Effort. All steps are bounded by work (`Budget`: pairs of a label and a choice), and the compact programme by
the nodes of its branch and bound and by a measure of its difficulty before it begins. No step looks at a clock:
the same problem, effort and seed give the same plan on an idle and on a busy machine. (Only the reason that is
given where no plan exists is searched with a time limit, see `flowedge.planner.exact.infeasibility`; that there
is none does not depend on it.) The numbers are in `tuning`, in two modes: `FEW_GROUPS`, where each group is
worth a closer look, and `MANY_GROUPS`.
"""
