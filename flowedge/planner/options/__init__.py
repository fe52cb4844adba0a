"""What may be chosen: settings of an operator on a node, delays of the network, routes within a deadline."""
