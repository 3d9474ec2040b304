"""Many checks: in this process, in workers of this machine, or on an executor; nothing that was computed is lost."""
