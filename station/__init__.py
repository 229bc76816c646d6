"""What the station does: procedures, safety, catalogue, the twin, reports, the command line."""
