"""The record on Redis, Valkey or anything that speaks their protocol."""

from shared.adapters.redis.record import RedisRecord

__all__ = ["RedisRecord"]
