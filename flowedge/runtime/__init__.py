"""Running a graph: in one process, with workers where these help, and with settings that follow its goal.

The process of the command is the *home* of its cameras. It reads them, and keeps the account of every frame
from there to its sinks (`ledger`), so counts are exact whatever dies.

    camera --> [ledger: admitted on route 3] --> Resize --> Detect --> Track --> sink --> [ledger: ended]
                                                   |          |
                                                 here      workers a, b:  value --> answer

- A step is run by a `runner` in a thread of its own; `wiring` joins runners as the graph says, `steps` has one
  for each kind of step, `regions` says where live frames go through whole.
- A frame is admitted on a *route*, a number that stands for a configuration: the values of the knobs, and which
  operators work on which workers (`routes`). It keeps to it, through the `copies` of each step that its route
  uses. So a change never meets a frame half-way: new copies are set up beside the old, the next frame of a
  camera takes them, and the state of the camera goes over with it.
- An operator on workers (`workers`), here or on another machine, is a service: a value goes to one copy, its
  answer comes back once, in `order`, and is the acknowledgement. A worker that dies is back at once, and what
  it held is sent again (files) or counted as dropped (live cameras). What a step remembers of a camera is in
  one copy at any time; a second old at most is what goes on after a death. Work leaves a machine that is out
  of reach (`failover`).
- `preempt` makes a run use no cores for a while: its operators are released, each with a checkpoint, and go on
  from there. Where a command runs several graphs (`homes`), each has a process of its own (`home`), and
  `controller.sharing` says which run where they do not fit together (`demand`).
- `controller` looks at what happens (`measuring`), plans with `flowedge.planner`, and switches the routes.
"""
