"""What happens to requests while things go wrong: real processes, real faults, every answer checked and counted."""
