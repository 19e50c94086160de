"""Floor 2: the networks, as tables that read like the papers."""
