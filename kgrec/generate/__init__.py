"""Next items by generation: semantic ids, a small transformer over them, and beams that reach catalogue items only."""
