"""Run-time services for all stages: devices, files, records, resuming, logging, the warm server."""
