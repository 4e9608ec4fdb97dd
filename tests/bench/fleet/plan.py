"""What a fleet costs and what bounds it, by division alone."""

from tests.bench.fleet.measured import Constants

_MILLION = 1_000_000
_HOUR_S = 3600


def cost_of_a_million(constants: Constants, utilisation: float, fetched_share: float) -> dict[str, float]:
    """Prices of a million encodes, in the currency of the constants, at that utilisation.

    Args:
        constants: Speeds and prices.
        utilisation: Share of the time that replicas compute.
        fetched_share: Share of requests whose set comes from the store.
    """
    core_hours = _MILLION * constants.service_s * constants.cores / _HOUR_S / utilisation
    core_hours_124m = _MILLION / constants.encodes_per_s_124m * constants.cores / _HOUR_S / utilisation
    gpu_hours = _MILLION * constants.tokens_per_text / constants.gpu_tokens_per_s / _HOUR_S / utilisation
    return {
        "bundled backbone, cores": core_hours * constants.vcpu_hour,
        "GPT-2 124M, cores": core_hours_124m * constants.vcpu_hour,
        "GPT-2 124M, one GPU": gpu_hours * constants.gpu_hour,
        "reads from the store": _MILLION * fetched_share / 1000 * constants.gets_price,
    }


def replicas_of_one_redis(constants: Constants, utilisation: float) -> float:
    """Replicas whose cache one Redis can be: each text is one look-up, and where it is new one more command."""
    return constants.redis_commands_per_s / (2 * constants.encodes_per_s * utilisation)


def replicas_of_one_bucket(constants: Constants, fetches_per_s: float, num_replicas: int) -> float:
    """Replicas that one prefix of a bucket can feed, when ``num_replicas`` fetch so many sets a second."""
    return num_replicas * constants.bucket_gets_per_s / fetches_per_s if fetches_per_s else float("inf")
