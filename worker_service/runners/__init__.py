"""Where handlers run: on the event loop, in threads, in child processes, as commands. One port, four adapters."""
