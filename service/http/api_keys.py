"""API keys and what each may do. Kept as SHA-256 from the start, compared in constant time, never logged."""

import hashlib
import hmac
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from starlette.datastructures import Headers

from adavae.service.errors import ServiceError
from adavae.service.settings import Settings, SettingsError

Scope = Literal["infer", "train", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_LEAST_CHARACTERS, _LEAST_DIFFERENT = 16, 6
_NAME, _LABEL = "name=", re.compile(r"(?!key-)[a-z0-9][a-z0-9._-]{0,63}")
_HOW_TO_SEND = "send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key's hash and scopes.

    Attributes:
        label: The name that it was given; keys of one name own the same things, so that a key can be replaced.
    """

    digest: bytes
    scopes: frozenset[Scope]
    label: str = ""

    @property
    def name(self) -> str:
        """The name under which its files, jobs and sets are kept."""
        return self.label or f"key-{self.digest.hex()[:12]}"

    @property
    def client_id(self) -> str:
        """Tells clients apart without showing the key."""
        return f"key:{self.digest.hex()[:16]}"


class ApiKeys:
    """All keys of this server; none means that everyone who reaches it may do everything."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def authenticate(self, sent: bytes | None) -> ApiKey:
        """The key that a request carries, as ``sent_key`` finds it.

        Raises:
            ServiceError: 401, it carries none or an unknown one.
        """
        if sent is None:
            raise ServiceError(401, "missing_api_key", f"this server wants an API key: {_HOW_TO_SEND}")
        digest = hashlib.sha256(sent).digest()
        found = None
        for key in self._keys:  # all of them, always: how long it takes tells nothing
            if hmac.compare_digest(digest, key.digest):
                found = key
        if found is None:
            raise ServiceError(401, "wrong_api_key", f"the API key is not one of this server's: {_HOW_TO_SEND}")
        return found


def load_api_keys(settings: Settings) -> ApiKeys:
    """Keys from ``ADAVAE_API_KEYS`` and from the file.

    Raises:
        SettingsError: The file cannot be read or everybody can write to it, a source holds no key, a key could be
            guessed, or a scope does not exist. Names no key.
    """
    keys: dict[bytes, ApiKey] = {}
    for source, text in _sources(settings):
        entries = [entry for entry in re.split(r"[\s;]+", text) if entry]
        if not entries:
            raise SettingsError(f"{source} holds no key: put 'KEY:infer,train,admin' there, or unset it")
        for number, entry in enumerate(entries, start=1):
            key = _parse(entry, where := f"key {number} of {source}")
            keys[key.digest] = _merge(keys.get(key.digest), key, where)
    return ApiKeys(keys.values())


def _sources(settings: Settings) -> Iterable[tuple[str, str]]:
    if inline := settings.api_keys.get_secret_value():
        yield "ADAVAE_API_KEYS", inline
    if settings.api_keys_file is not None:
        yield f"ADAVAE_API_KEYS_FILE ({settings.api_keys_file})", _read(settings.api_keys_file)


def _read(path: Path) -> str:
    """The file without its comment lines."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"ADAVAE_API_KEYS_FILE ({path}) cannot be read: {type(exc).__name__}") from exc
    if mode & stat.S_IWOTH:
        raise SettingsError(
            f"ADAVAE_API_KEYS_FILE ({path}) has mode {stat.S_IMODE(mode):03o}, so that everybody on this machine can "
            "add a key: `chmod 640` it"
        )
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _merge(known: ApiKey | None, key: ApiKey, where: str) -> ApiKey:
    """A key that is given twice has the scopes of both."""
    if known is None:
        return key
    if known.label and key.label and known.label != key.label:
        raise SettingsError(f"{where} was there before with the name {known.label!r}: give it one name")
    return ApiKey(key.digest, known.scopes | key.scopes, known.label or key.label)


def _parse(entry: str, where: str) -> ApiKey:
    key, colon, named = entry.rpartition(":")
    if not colon:
        key, named = entry, "infer"
    if not key:
        raise SettingsError(f"{where} is empty: write it as KEY:infer,train,admin")
    _refuse_guessable(key, where)
    label, listed = _label(set(named.split(",")), where)
    scopes = frozenset(scope for scope in SCOPES if scope in listed)
    if len(scopes) != len(listed):
        raise SettingsError(f"{where} has scopes that do not exist: the scopes are {', '.join(SCOPES)}")
    return ApiKey(hashlib.sha256(key.encode()).digest(), scopes, label)


def _label(listed: set[str], where: str) -> tuple[str, set[str]]:
    """The name among what is written after a key, and the rest of that: its scopes."""
    names = {each for each in listed if each.startswith(_NAME)}
    label = ",".join(names).removeprefix(_NAME)
    if names and not _LABEL.fullmatch(label):
        rule = "must be one, of 1 to 64 of a-z, 0-9, '.', '_' and '-', and may not begin with 'key-'"
        raise SettingsError(f"{where} has the name {label[:64]!r}: {rule}, as in KEY:infer,train,name=alice")
    return label, listed - names


def _refuse_guessable(key: str, where: str) -> None:
    num, num_different = len(key), len(set(key))
    if num < _LEAST_CHARACTERS or num_different < _LEAST_DIFFERENT:
        raise SettingsError(
            f"{where} has {num} characters, {num_different} of them different, the least is {_LEAST_CHARACTERS} and "
            f"{_LEAST_DIFFERENT}, for others could guess it: make one with `openssl rand -hex 32`"
        )


def sent_key(headers: Headers) -> bytes | None:
    """A request's key, its bytes as they came."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip().encode("latin-1")
    sent = headers.get("x-api-key", "").strip()
    return sent.encode("latin-1") if sent else None
