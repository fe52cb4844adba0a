"""How items travel between the operators of a graph that do not share a process."""
