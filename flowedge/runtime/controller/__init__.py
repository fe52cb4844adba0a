"""Control of running graphs: their settings follow the goal, and which of them runs when not all fit."""
