"""The reference app: site inspections, filled in where there may be no network."""
