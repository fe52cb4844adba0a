"""The planner: pure functions over data, without I/O, clock or globals.

What comes in is a `Problem` (cluster, camera classes, applications with goals, profiles), what comes out is a
`Plan`; `flowedge.planner.model.checker` verifies any plan from scratch, whoever made it.
"""
