"""Webhooks on their way: found in the record, signed, sent, tried again, given up visibly."""
