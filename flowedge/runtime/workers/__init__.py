"""Workers: processes that run operators for a graph, on this machine and on others.

    run ── hosting ── replicas ──── link ·············· worker     one process, hosting chains of operators
                         │            ·                   │
                       node ── machine (this one, or one in `network` that dials in: `launcher`)

- `hosting` puts chains of operators on workers by name; `replicas` has the copies of one chain: `placement`
  says which is next, `camera_states` and `checkpointing` what they remember; `attendant` does what takes long.
- A `node` keeps the workers of one `machine`: a `process` that has died is back at once, unless too often.
  `shares` keeps workers to the cores that a plan reserves, by `cgroups` where it can.
- A `link` is how one life of a worker is spoken to, in the messages of `plane.transports.requests`; values go
  by `memory`: shared on one host, inside the messages to another.
"""
