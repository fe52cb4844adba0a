"""Discrete-event simulation of streams over nodes and links, with dispatch and planning in the loop.

    from flowedge.simulate.reading import load
    from flowedge.simulate.running import simulate

    scenario = load(Path("tools/scenarios/street.toml"))
    results = simulate(scenario, "power-of-two")
    results.share("success"), results.quantiles("crossing")

`reading` describes the files, `scenario` the same as data, `dispatching` a simulation that can be stepped and
copied, `planning` one whose workers a strategy chooses.
"""
