"""What the simulation takes for given: figures of tests/bench/RESULTS.md by name, and assumptions, marked as such."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """One replica is two CPU cores with the bundled backbone.

    Attributes:
        encodes_per_s: Texts a replica encodes in a second: "encode texts/s (bundled)", ours_per_s, which is of the
            backbone before 2026-11-26.
        cores: Of a replica: the machine of "Speed".
        cold_s: From a set on the local disk to its first answer: "cold adapter set, disk to first answer", p50. Loading
            takes no time from other requests here: "1,000 sets registered over 8, Zipf traffic" was as fast as one set.
        set_bytes: Of one set: the bundled ones have 10.8 to 23.8 MB.
        bank_slots: Sets in memory: ``ADAVAE_BANK_SLOTS`` as it is by default.
        disk_bytes: Of the local cache of sets. Assumed.
        store_latency_s: To a first byte from the object store. Assumed.
        store_bytes_per_s: Of one download. Assumed.
        bucket_gets_per_s: What a bucket gives under one prefix; the figure that Amazon names for S3.
        redis_commands_per_s: Of one Redis server, which has one thread. Assumed; a round figure of its own benchmark.
        encoding_bytes: Of one encoding in Redis: mu and logvar of 256, float32, and a header.
        vcpu_hour: Price of a core for an hour. Assumed, in whatever currency.
        gpu_hour: Price of a GPU for an hour. Assumed.
        gets_price: Price of a thousand reads from the store. Assumed.
        gpu_tokens_per_s: "encode, 1,024 texts packed" on an H200, GPT-2 124M.
        encodes_per_s_124m: "encode texts/s (124m)", ours_per_s, two cores.
        tokens_per_text: Of the text that is priced: that of "encode 27 texts of 24 tokens".
    """

    encodes_per_s: float = 460.1
    cores: int = 2
    cold_s: float = 0.0236
    set_bytes: int = 20_000_000
    bank_slots: int = 16
    disk_bytes: int = 10_000_000_000
    store_latency_s: float = 0.030
    store_bytes_per_s: float = 100_000_000.0
    bucket_gets_per_s: float = 5_500.0
    redis_commands_per_s: float = 100_000.0
    encoding_bytes: int = 2_100
    vcpu_hour: float = 0.04
    gpu_hour: float = 4.0
    gets_price: float = 0.0004
    gpu_tokens_per_s: float = 2_200_000.0
    encodes_per_s_124m: float = 65.0
    tokens_per_text: int = 24

    @property
    def service_s(self) -> float:
        """A replica's time for one text."""
        return 1 / self.encodes_per_s

    @property
    def disk_sets(self) -> int:
        """Sets that the local cache holds."""
        return self.disk_bytes // self.set_bytes

    @property
    def fetch_s(self) -> float:
        """From the store to the local disk."""
        return self.store_latency_s + self.set_bytes / self.store_bytes_per_s
