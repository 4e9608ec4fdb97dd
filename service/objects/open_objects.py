"""The object store that the settings ask for, and whether it can be used at all."""

import secrets

from adavae.service.objects.errors import ObjectChanged, StoreError, StoreUnusable
from adavae.service.objects.object_store import ObjectStore
from adavae.service.settings import Settings, store_endpoint

_PROBES = "probes"


def open_objects(settings: Settings) -> ObjectStore | None:
    """Not asked anything yet; None where ``ADAVAE_DATA`` is a directory.

    Raises:
        StoreUnusable: As ``ObjectStore.at``.
    """
    if settings.shared is None:
        return None
    return ObjectStore.at(settings.shared, timeout_s=settings.store_timeout_s, endpoint=store_endpoint())


def check_objects(settings: Settings) -> None:
    """Tries everything that a service or a worker needs of the object store; does nothing for a directory.

    Raises:
        StoreUnusable: It is absent, forbids something, cannot be reached, or keeps no conditions.
    """
    store = open_objects(settings)
    if store is None:
        return
    key = f"{_PROBES}/{secrets.token_hex(16)}"
    try:
        try:
            _try_conditions(store, key)
        finally:
            store.delete([key])
        store.names(_PROBES)
    except StoreError as exc:
        raise StoreUnusable(str(exc)) from exc


def _try_conditions(store: ObjectStore, key: str) -> None:
    """Without them two workers would believe that each has the job."""
    first = store.create(key, b"1")
    try:
        store.create(key, b"2")
    except FileExistsError:
        pass
    else:
        raise StoreUnusable(_ignores(store, "If-None-Match"))
    second = store.replace(key, b"3", first)
    try:
        store.replace(key, b"4", first)
    except ObjectChanged:
        pass
    else:
        raise StoreUnusable(_ignores(store, "If-Match"))
    found = store.read(key, 1)
    if (found.content, found.tag) != (b"3", second):
        raise StoreUnusable(
            f"the object store {store.address} gave back another object than was written last: it must be consistent"
        )


def _ignores(store: ObjectStore, header: str) -> str:
    return (
        f"the object store {store.address} writes objects whatever {header} says, and jobs would be done twice: use "
        "one with conditional writes (Amazon S3, Google Cloud Storage, Azure, MinIO, Ceph, R2), or a shared directory"
    )
