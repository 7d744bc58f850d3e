"""The machine: storage, sessions, tracking; knows nothing about video."""
