"""Settings from the environment, prefix ``ADAVAE_``: this is the only file that reads it.

Built by ``load_settings`` when a command or the server starts, never on import. What a value leads to (opening weights,
choosing a device) is for those who use it.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from adavae.model.errors import AdaVAEError
from adavae.model.spelling import did_you_mean
from adavae.service.compose_variables import COMPOSE_VARIABLES
from adavae.service.service_links import explain_service_links, is_service_link
from adavae.service.store_address import StoreAddress, address_in

_KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
_KEPT_KERNELS = "256"  # what the steps of a run over sentences have between them
_SPINS = "10000"  # about ten microseconds: longer than the pause between two operations
PREFIX = "ADAVAE_"
_LEAST_SECRET = 16
MOST_ENTRIES = 50_000
"""Of a list in a request, whatever the limits say: a body is checked on the event loop."""
BUNDLED_BACKBONE = "bundled"
_FOR_CHILDREN = (
    *("PATH", "PYTHON", "VIRTUAL_ENV", "HOME", "XDG_CACHE_HOME", "TMPDIR", "LANG", "LC_", "TZ"),
    *("LD_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "TORCH", "PYTORCH_"),
    *("HF_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_", "REQUESTS_CA_BUNDLE"),  # a backbone from the hub
)
_FOR_STORES = ("AWS_", "GOOGLE_", "AZURE_")
_ENDPOINTS = (
    *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    *("GOOGLE_BASE_URL", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
)


class SettingsError(AdaVAEError):
    """The environment asks for something that does not exist or is out of range."""


def _default_weights() -> Path:
    """``service/bundled_weights`` where a wheel is installed, the checkout's ``weights/`` otherwise."""
    package = Path(__file__).resolve().parent
    bundled = package / "bundled_weights"
    return bundled if bundled.is_dir() else package.parent / "weights"


def _default_data() -> Path:
    """``$XDG_DATA_HOME/adavae``; the variable counts only where it is absolute (XDG base directory specification).

    A user without a home, as containers have, is taken for a daemon's (Filesystem Hierarchy Standard, /var/lib).
    """
    home = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        return (home if home.is_absolute() else Path.home() / ".local" / "share") / "adavae"
    except RuntimeError:  # no HOME, and nobody knows the user
        return Path("/var/lib/adavae")


def _default_cache() -> Path:
    """``$XDG_CACHE_HOME/adavae``, as ``_default_data``."""
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (home if home.is_absolute() else Path.home() / ".cache") / "adavae"
    except RuntimeError:
        return Path("/var/cache/adavae")


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as exc:
        raise ValueError("has a ~, and nobody knows the home directory: write the whole path") from exc


def _absolute_or_address(path: Path) -> Path:
    return path if address_in(path) is not None else _absolute(path)


Directory = Annotated[Path, AfterValidator(_absolute)]
DirectoryOrAddress = Annotated[Path, AfterValidator(_absolute_or_address)]


class _WithoutServiceLinks(EnvSettingsSource):
    """The environment without what Kubernetes puts there."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {
            name: value for name, value in super()._load_env_vars().items() if not is_service_link(name, value or "")
        }


class Settings(BaseSettings):
    """Every setting, with its unit; the variable is the field's name in capitals after ``ADAVAE_``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; nothing else."""
        return init_settings, _WithoutServiceLinks(settings_cls)

    weights: Directory = Field(
        default_factory=_default_weights,
        description="Directory of the bundled backbone and adapter sets; never written.",
    )
    backbone: str = Field(
        default=BUNDLED_BACKBONE,
        min_length=1,
        description="Backbone: 'bundled', a checkpoint directory in the Hugging Face layout, or a hub id.",
    )
    default_adapter: str = Field(
        default="yelp", min_length=1, description="Adapter set used where none is named: name or name@version."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where tensors live; 'auto' takes the GPU where there is one."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Number format of the backbone in memory."
    )
    weight_format: Literal["float16", "int8"] = Field(
        default="float16",
        description="What the compiled code computes texts and encodings from on a CPU: float16 (float32 where that is "
        "not exact), or int8: near to the same results, and two to three times as fast where the processor has VNNI or "
        "AMX; with AVX2 alone a text at a time is written faster, and texts are encoded more slowly.",
    )
    data: DirectoryOrAddress = Field(
        default_factory=_default_data,
        description="Directory of users' own adapter sets and training runs, created if missing; or an object store "
        "for what is shared, as s3://bucket/prefix.",
    )
    store_cache: Directory = Field(
        default_factory=_default_cache,
        description="Directory for what was fetched from an object store and for what is being made; used where "
        "ADAVAE_DATA is one.",
    )
    store_cache_bytes: int = Field(
        default=10 * 1024**3,
        ge=1024**2,
        description="Bytes that fetched adapter sets may take in ADAVAE_STORE_CACHE, and uploads likewise; the least "
        "recently used go.",
    )
    store_timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="Seconds that an object store has for an answer; it is asked again for twice as long at most.",
    )
    threads: int = Field(default=0, ge=0, le=1024, description="CPU threads of torch; 0 leaves the choice to torch.")

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; only loopback without keys."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_keys: SecretStr = Field(
        default=SecretStr(""),
        description="Keys as 'KEY:infer,train,name=alice' (scopes, name), separated by blanks or ';'; empty: no keys.",
    )
    api_keys_file: Path | None = Field(
        default=None, description="File with keys in the form of ADAVAE_API_KEYS, one a line (a mounted secret)."
    )
    rate_limit: str = Field(
        default="",
        description="Requests a client may make, as '600/minute'; empty: no limit. Clients are keys, else IPs.",
    )
    failed_key_limit: str = Field(
        default="30/minute",
        description="Wrong API keys of one IP that are answered 401, further ones 429; right ones are let in all the "
        "same; empty: any.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Prefix are believed; "
        "empty: nobody's are.",
    )
    root_path: str = Field(
        default="",
        description="Path a proxy serves all of this under, as '/texts'; it may cut it off or leave it.",
    )
    cors_origins: str = Field(
        default="",
        description="Origins whose pages may use the service from a browser, as 'https://tool.example'; '*' (with keys "
        "only): any; empty: none.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="redis://[:password@]host:port/db of the encoding cache; unset: cache in this process.",
    )
    queue_redis_url: SecretStr | None = Field(
        default=None,
        description="As ADAVAE_REDIS_URL, of the queue of training jobs; unset: where the cache is. It must not evict.",
    )
    redis_password_file: Path | None = Field(
        default=None,
        description="File with the password for ADAVAE_REDIS_URL and ADAVAE_QUEUE_REDIS_URL (a mounted secret).",
    )
    cache_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that seals what is kept in Redis, so that nobody else who writes there changes an answer; "
        "the same for every service, at least 16 characters.",
    )
    cache_secret_file: Path | None = Field(
        default=None, description="File with the secret of ADAVAE_CACHE_SECRET (a mounted secret)."
    )
    cache_bytes: int = Field(
        default=256 * 1024**2,
        ge=0,
        description="Bytes of the in-process encoding cache; 0 turns caching off, Redis too.",
    )
    cache_ttl_s: int = Field(default=7 * 86400, ge=1, description="Seconds that an encoding stays in Redis.")
    cache_timeout_ms: int = Field(
        default=100, ge=1, le=10_000, description="Milliseconds after which a look-up in Redis counts as a miss."
    )

    max_texts: int = Field(default=256, ge=1, le=MOST_ENTRIES, description="Texts a request may hold.")
    max_embedding_texts: int = Field(
        default=2048,
        ge=1,
        le=MOST_ENTRIES,
        description="Texts a request to /v1/embeddings may hold; clients send up to 2048.",
    )
    max_map_texts: int = Field(default=5000, ge=3, le=MOST_ENTRIES, description="Texts a map may have.")
    max_text_tokens: int = Field(default=0, ge=0, description="Tokens a text may have; 0: what the backbone takes.")
    max_steps: int = Field(default=64, ge=2, description="Sentences an interpolation or a traversal may have.")
    max_samples: int = Field(
        default=64,
        ge=1,
        le=MOST_ENTRIES,
        description="Texts one decode may ask for, an analogy for each c, variations for each text.",
    )
    max_candidates: int = Field(default=32, ge=1, description="Candidates a request may have for each text.")
    max_rows: int = Field(
        default=2304,
        ge=1,
        description="Texts that one request may have decoded, each candidate and two tries for each variation counted "
        "(not what analogies and walks try besides); no more than may be queued.",
    )
    max_tokens: int = Field(default=128, ge=1, description="Tokens a decoded text may have.")
    max_body_bytes: int = Field(default=4 * 1024**2, ge=1024, description="Bytes a request body may have.")
    max_queued_rows: int = Field(
        default=2048,
        ge=1,
        description="Rows of a client that may wait for the device; beyond it, or four times it of all: 429.",
    )
    max_queued_characters: int = Field(
        default=8 * 1024**2,
        ge=1,
        description="Characters of long texts that may wait for the tokenizer; a client has a quarter; beyond it: 429.",
    )
    max_bodies_bytes: int = Field(
        default=128 * 1024**2,
        ge=1024,
        description="Bytes that the bodies of all requests under way may have, uploads apart; a client has a quarter.",
    )
    max_connections: int = Field(
        default=1024, ge=1, description="Connections at once; fewer where the process may open too few files."
    )
    max_connections_per_address: int = Field(
        default=512, ge=1, description="Connections of one IP at once; trusted proxies have as many as there are."
    )
    header_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds that a request's line and headers have to come in; then 408."
    )
    write_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds in which a client has to take 16 KiB of its answer; then it is cut off.",
    )
    keep_alive_s: int = Field(
        default=5, ge=1, description="Seconds that a connection stays open after an answer, for the next request."
    )
    deadline_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds, from the first byte of a request on, after which it is given up with 504.",
    )
    body_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds that a request's body has to come in, and one more for every 8 KiB of it; then 408.",
    )
    shutdown_s: float = Field(
        default=30.0, gt=0, description="Seconds that running requests have to finish on SIGTERM."
    )

    bank_slots: int = Field(default=16, ge=1, le=4096, description="Adapter sets in memory at once.")
    bank_bytes: int = Field(
        default=1536 * 1024**2,
        ge=1024**2,
        description="Bytes that adapter sets may take in memory; what does not fit beside others waits or is refused.",
    )
    encode_batch_tokens: int = Field(
        default=4096, ge=1, description="Tokens of one encode micro-batch, padding included."
    )
    decode_rows: int = Field(default=64, ge=1, le=4096, description="Rows that are decoded side by side.")
    refresh_s: float = Field(
        default=1.0, gt=0, le=60, description="Seconds between looks for new, changed and deleted adapter sets."
    )
    training: Literal["auto", "embedded", "queued", "ray", "off"] = Field(
        default="auto",
        description="Who trains: 'embedded' a child of this process, 'queued' a worker, 'ray' tasks of a Ray cluster; "
        "'off' nobody; 'auto': queued with Redis, ray on a cluster, else embedded.",
    )
    training_threads: int = Field(
        default=0, ge=0, le=1024, description="CPU threads of a training run; 0 leaves the choice to torch."
    )
    training_silence_s: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Seconds without a sign of life after which a training process is killed and its job tried again.",
    )
    max_upload_bytes: int = Field(default=64 * 1024**2, ge=1024, description="Bytes an uploaded data file may have.")
    max_line_bytes: int = Field(default=256 * 1024, ge=1024, description="Bytes a line of a data file may have.")
    check_timeout_s: float = Field(default=60.0, gt=0, description="Seconds that checking a data file may take.")
    max_files: int = Field(default=1000, ge=1, description="Data files that may be stored.")
    max_files_per_key: int = Field(default=250, ge=1, description="Data files that may be stored of one key.")
    max_open_jobs: int = Field(default=100, ge=1, description="Training jobs that may wait, run or be paused at once.")
    max_open_jobs_per_key: int = Field(default=25, ge=1, description="Of these, how many may be of one key.")
    lease_s: float = Field(
        default=15.0,
        ge=0.5,
        le=3600,
        description="Seconds without a sign of life after which a worker's job goes to another.",
    )
    min_replicas: int = Field(default=1, ge=1, le=10_000, description="Replicas on a Ray cluster, at least.")
    max_replicas: int = Field(
        default=1, ge=1, le=10_000, description="Replicas on a Ray cluster, at most; more than at least: as load asks."
    )
    replica_cpus: float = Field(
        default=1.0, ge=0, description="CPU cores that a replica on a Ray cluster reserves; whole ones above 1."
    )
    replica_gpus: float = Field(
        default=0.0, ge=0, description="GPUs that a replica on a Ray cluster reserves, as 0.5; whole ones above 1."
    )
    training_processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that share a job's steps; they share its threads, or have a GPU each.",
    )
    training_cpus: float = Field(default=1.0, ge=0, description="CPU cores that a job on a Ray cluster reserves.")
    training_gpus: float = Field(default=0.0, ge=0, description="GPUs that a job on a Ray cluster reserves.")
    training_memory_bytes: int = Field(
        default=0, ge=0, description="Bytes of memory that a job on a Ray cluster reserves; 0: none."
    )
    server_url: str = Field(
        default="http://127.0.0.1:8000", min_length=1, description="The service that `adavae jobs` talks to."
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key that `adavae jobs` and `adavae train --remote` send; needs the scope train."
    )
    traces_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Where traces of requests go (OTLP over HTTP), as http://collector:4318/v1/traces; empty: nowhere.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Log lines as JSON or for people; 'auto': for people on a terminal."
    )

    @property
    def queue_url(self) -> SecretStr | None:
        """Where the queue of training jobs is; None for a queue inside this process."""
        return self.queue_redis_url or self.redis_url

    @property
    def backbone_source(self) -> str:
        """What ``model.storage.pretrained.load_backbone`` is given: a directory or a hub id."""
        return str(self.weights / "backbone") if self.backbone == BUNDLED_BACKBONE else self.backbone

    @property
    def bundled_adapters(self) -> Path:
        """Adapter sets that ship with the project, ``<name>/<version>/``; read only."""
        return self.weights / "adapters"

    @property
    def shared(self) -> StoreAddress | None:
        """The object store that holds what is shared; None where ``data`` is a directory."""
        return address_in(self.data)

    def need_directory(self, what: str) -> None:
        """Raises SettingsError where ``data`` is an object store and ``what`` works on a directory alone."""
        if self.shared is not None:
            raise SettingsError(
                f"ADAVAE_DATA is {str(self.shared)!r}, and {what} needs a directory: set ADAVAE_DATA to one for "
                "it, and bring sets into the object store with `adavae adapters import`; or train there, with `adavae "
                "train --remote`"
            )

    @property
    def directory(self) -> Path:
        """``data`` itself, or what this machine keeps of the object store that it names."""
        if self.shared is None:
            return self.data
        return self.store_cache / hashlib.sha256(str(self.shared).encode()).hexdigest()[:16]

    @property
    def own_adapters(self) -> Path:
        """Adapter sets that were trained or imported here, ``<name>/<version>/``."""
        return self.directory / "adapters"

    @property
    def files(self) -> Path:
        """Uploaded data, one directory a file."""
        return self.directory / "files"

    @property
    def jobs(self) -> Path:
        """Training jobs, one directory each: record, events, attempts with their checkpoints."""
        return self.directory / "jobs"

    @property
    def set_owners(self) -> Path:
        """Whose each trained adapter set is, one file a name."""
        return self.directory / "owners"

    @property
    def runs(self) -> Path:
        """Training runs, one directory each: checkpoints and ``metrics.jsonl``."""
        return self.directory / "runs"


def load_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Reads and checks the environment; what is ``given``, by field, goes before it.

    Raises:
        SettingsError: A variable is misspelt or its value is outside its rule.
    """
    given = given or {}
    _refuse_unknown(
        name for name, value in os.environ.items() if name not in COMPOSE_VARIABLES and not is_service_link(name, value)
    )
    _refuse_unknown(_variable(field) for field in given)
    try:
        return _with_cache_secret(_with_redis_password(Settings(**given)))
    except ValidationError as exc:
        raise SettingsError(
            "; ".join(_explain(error["loc"], error["input"], error["msg"]) for error in exc.errors())
        ) from exc


def ignored_variables() -> str | None:
    """What to say of variables that look like settings and are Kubernetes' own; None where there are none."""
    return explain_service_links(os.environ, map(_variable, Settings.model_fields))


def environment_of_child(*, uses_store: bool = False) -> dict[str, str]:
    """What a process that computes needs of the environment: no setting of ours, hence no key and no address.

    The variables of an object store's own tools go with it where it ``uses_store``.
    """
    passed = (*_FOR_CHILDREN, *_FOR_STORES) if uses_store else _FOR_CHILDREN
    return {name: value for name, value in os.environ.items() if name.upper().startswith(passed)}


def store_endpoint() -> str | None:
    """The address at which an object store is asked, where the environment names one instead of the usual."""
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)


def _with_redis_password(settings: Settings) -> Settings:
    """The Redis URLs with the password of its file, where there is one."""
    path = settings.redis_password_file
    if path is None:
        return settings
    given = {name: getattr(settings, name) for name in ("redis_url", "queue_redis_url")}
    urls = {name: url for name, url in given.items() if url is not None}
    if not urls:
        raise SettingsError(
            f"ADAVAE_REDIS_PASSWORD_FILE is {str(path)!r} without ADAVAE_REDIS_URL or ADAVAE_QUEUE_REDIS_URL: set one "
            "of them too"
        )
    password = _read_secret("ADAVAE_REDIS_PASSWORD_FILE", path)
    return settings.model_copy(update={name: _with_password(name, url, password) for name, url in urls.items()})


def _with_password(name: str, url: SecretStr, password: str) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
    except ValueError:
        raise SettingsError(f"{_variable(name)} is no address: give it as redis://HOST:PORT/0") from None
    if parts.password is not None:
        raise SettingsError(f"{_variable(name)} holds a password, and ADAVAE_REDIS_PASSWORD_FILE too: give one of them")
    host = parts.netloc.rpartition("@")[2]
    changed = parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{host}")
    return SecretStr(urlunsplit(changed))


def _with_cache_secret(settings: Settings) -> Settings:
    """The cache's secret from its file, where there is one."""
    secret, path = settings.cache_secret.get_secret_value(), settings.cache_secret_file
    if path is not None:
        if secret:
            raise SettingsError("ADAVAE_CACHE_SECRET and ADAVAE_CACHE_SECRET_FILE are both set: give one of them")
        secret = _read_secret("ADAVAE_CACHE_SECRET_FILE", path)
    if (path is not None or secret) and len(secret) < _LEAST_SECRET:
        raise SettingsError(
            f"ADAVAE_CACHE_SECRET has {len(secret)} characters, the least is {_LEAST_SECRET}: make one with "
            "`openssl rand -hex 32`"
        )
    return settings.model_copy(update={"cache_secret": SecretStr(secret)})


def _read_secret(variable: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{variable} is {str(path)!r}: cannot be read ({exc})") from exc


def let_threads_wait_briefly() -> None:
    """Sets how long torch's CPU threads spin while they wait, unless the environment does; before torch is imported.

    OpenMP's default is milliseconds. Where another program wants the same cores, such as a training run beside the
    service, every small operation then lasts until the scheduler's next tick: a service of tiny weights was seven times
    slower. Without any spinning they are woken for each operation, and small steps take twice as long.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def keep_few_kernels() -> None:
    """Sets how many compiled matrix products torch keeps on a CPU, unless the environment does; before the first one.

    Each shape of a bfloat16 product is compiled and kept, up to 1,024 of them in each of two caches, and every step of
    a training run has shapes of its own: its memory grew by 80 MB a step, to ten gigabytes in some hundred steps.
    """
    for name in _KERNEL_CACHES:
        os.environ.setdefault(name, _KEPT_KERNELS)


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _refuse_unknown(names: Iterable[str]) -> None:
    fields = list(Settings.model_fields)
    for name in sorted(names):
        field = name.lower().removeprefix(PREFIX.lower())
        if name.upper().startswith(PREFIX) and field not in fields:
            remedy = did_you_mean(field, fields, "settings", as_shown=_variable)
            raise SettingsError(f"{name} is not a setting: {remedy}")


def _explain(location: tuple[int | str, ...], value: object, rule: str) -> str:
    return f"{_variable(str(location[0]))} is {value!r}: {rule[:1].lower()}{rule[1:]}"
