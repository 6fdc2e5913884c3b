"""What clients can ask of the gateway, apart from how they ask it."""
