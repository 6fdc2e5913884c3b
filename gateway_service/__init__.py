"""The gateway: takes tasks in, tells of them, and sees to it that no recorded task is forgotten."""
