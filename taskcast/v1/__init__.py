"""The generated stubs of `protos/taskcast/v1/`."""
