"""Parts of the system on real servers, within the test's own process."""
