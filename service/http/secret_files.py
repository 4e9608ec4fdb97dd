"""Files that hold secrets: who else on this machine could read them."""

import stat
from collections.abc import Iterator

from adavae.service.settings import Settings


def exposed_secrets(settings: Settings) -> Iterator[str]:
    """What to say of each file of keys or passwords that everybody on this machine may read."""
    for variable, path in (
        ("ADAVAE_API_KEYS_FILE", settings.api_keys_file),
        ("ADAVAE_REDIS_PASSWORD_FILE", settings.redis_password_file),
        ("ADAVAE_CACHE_SECRET_FILE", settings.cache_secret_file),
    ):
        if path is not None and path.stat().st_mode & stat.S_IROTH:
            mode = stat.S_IMODE(path.stat().st_mode)
            yield (
                f"{variable} ({path}) has mode {mode:03o}, which lets everybody on this machine read it: `chmod 640` "
                "it and let the service be in its group"
            )
