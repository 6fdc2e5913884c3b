"""The rules of a task's life: pure functions and values, no input or output, no clock, standard library only."""
