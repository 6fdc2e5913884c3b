"""The tests of Taskcast."""
