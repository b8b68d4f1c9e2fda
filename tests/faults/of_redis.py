"""Redis is away, lies still, or forgets everything."""

import time

import redis
from tests.faults.fault import AWAY_S, Fault
from tests.faults.stage import Stage

_FLUSHES = 40


def _kill_redis(stage: Stage) -> None:
    stage.redis.kill()
    time.sleep(AWAY_S)
    stage.redis.start()
    time.sleep(AWAY_S)


def _hang_redis(stage: Stage) -> None:
    stage.redis.hang()
    time.sleep(AWAY_S)
    stage.redis.go_on()


def _flush_redis(stage: Stage) -> None:
    with redis.Redis.from_url(stage.redis.url) as client:
        for _ in range(_FLUSHES):
            client.flushall()
            time.sleep(AWAY_S / _FLUSHES)


OF_REDIS = (
    Fault("redis-killed", "Nobody notices", f"kill -9 of Redis, {AWAY_S:.0f} s away", _kill_redis),
    Fault("redis-hangs", "Nobody notices", f"Redis lies still for {AWAY_S:.0f} s", _hang_redis),
    Fault("redis-flushed", "Nobody notices", f"FLUSHALL {_FLUSHES} times in {AWAY_S:.0f} s", _flush_redis),
)
