"""Scripts that help to try, test and measure FlowEdge; none of them ships in the package."""
