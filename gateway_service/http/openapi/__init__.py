"""The description of the HTTP interface, made of the contract's descriptors and comments."""
