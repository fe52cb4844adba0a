"""Control of running graphs: which graph runs when not all fit."""
