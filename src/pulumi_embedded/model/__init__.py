"""The values that the whole engine shares: resources, steps, goals, events, options, plans and URNs."""
