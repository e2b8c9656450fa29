"""Is my graph helping? What leaving out each relation, all links or all texts changes, beside a shuffled graph."""
