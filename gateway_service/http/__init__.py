"""The contract over HTTP: JSON for curl and scripts, Server-Sent Events for browsers."""
