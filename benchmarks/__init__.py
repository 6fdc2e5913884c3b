"""Benchmarks: what a submit, a run and a watch cost here, beside a bare gRPC call on the same machine."""
