"""Plans as text, SVG and PNG."""
