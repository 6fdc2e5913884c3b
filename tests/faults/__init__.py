"""The whole system while something is killed, paused or cut off."""
