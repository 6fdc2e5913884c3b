"""Handlers that do real work: `WORKER_HANDLERS=examples.files,examples.images,examples.demo`."""
