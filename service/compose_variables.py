"""Variables of docker-compose that begin as settings do: who exports its ``.env`` has them, and they set nothing."""

COMPOSE_VARIABLES = frozenset(
    f"ADAVAE_{name}"
    for name in (
        *("API_KEYS_SECRET", "BALANCER_IMAGE", "BUILD_IMAGE", "EXTRAS", "PUBLISH", "REDIS_IMAGE"),
        *("REDIS_PASSWORD_SECRET", "REPLICAS", "RUNTIME_IMAGE", "SECRETS_GROUP", "SERVICE_CPUS", "SERVICE_GPU"),
        *("STORE", "STORE_SECRET", "TORCH", "VERSION", "WORKER_CPUS", "WORKER_GPU"),
    )
)
