"""The networks, as tables that read like the papers."""
