"""Control of running graphs: the settings that keep a graph at its goal, and who runs when not all fit."""
