"""The values that the whole engine uses: resources, steps, goals, events, options, plans and URNs."""
