"""The daemon: every part built from the configuration, run, reloaded, and ended; what is asked without one, too."""
