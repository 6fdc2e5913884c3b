"""The gRPC edge: translates requests and answers, and nothing else."""
