"""The installed versions by name, and which of them ``name`` or ``name@version`` means."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from adavae.model.storage.installed import InstalledVersion, not_found
from adavae.service.results import AdapterState

_NAMES_SHOWN = 10


class Listing:
    """What the last look at the disk found, less what has left since.

    Attributes:
        default: ``name`` or ``name@version`` for requests that name none.
    """

    def __init__(self, default: str, is_loaded: Callable[[str], bool]) -> None:
        """``is_loaded`` tells whether the content of a digest is in the bank."""
        self.default, self._is_loaded = default, is_loaded
        self._versions: dict[str, InstalledVersion] = {}  # by directory
        self._by_name: dict[str, list[InstalledVersion]] = {}  # the best first

    def __iter__(self) -> Iterator[InstalledVersion]:
        return iter(self._versions.values())

    def at(self, path: str) -> InstalledVersion | None:
        """What is listed of a directory."""
        return self._versions.get(path)

    def has(self, version: InstalledVersion) -> bool:
        """Whether that very version is listed, and not what was found in its directory before or since."""
        return self._versions.get(str(version.path)) is version

    def has_name(self, name: str) -> bool:
        return name in self._by_name

    def add(self, version: InstalledVersion) -> None:
        """Lists a version, in place of what was found in its directory before."""
        former = self._versions.get(str(version.path))
        others = [each for each in self._by_name.get(version.name, []) if each is not former and each is not version]
        self._versions[str(version.path)] = version
        self._by_name[version.name] = sorted([version, *others], key=lambda each: each.rank, reverse=True)

    def remove(self, version: InstalledVersion) -> None:
        """Lists a version no longer; does nothing for one that is not listed."""
        if not self.has(version):
            return
        del self._versions[str(version.path)]
        self._by_name[version.name].remove(version)
        if not self._by_name[version.name]:
            del self._by_name[version.name]

    def usable(self) -> list[InstalledVersion]:
        """Versions without a problem, those that the default can mean first."""
        found = [each for versions in self._by_name.values() for each in versions if each.problem is None]
        default = self.versions_of(self.default)
        return sorted(found, key=lambda each: each not in default)

    def versions_of(self, reference: str) -> list[InstalledVersion]:
        """What ``reference`` can mean, the best first; may be nothing."""
        name, _, version = reference.partition("@")
        return [each for each in self._by_name.get(name, []) if not version or each.version == version]

    def named(self, reference: str) -> list[InstalledVersion]:
        """As ``versions_of``, but never empty; raises AdapterSetNotFound."""
        found = self.versions_of(reference)
        if not found:
            raise not_found(reference, (each for versions in self._by_name.values() for each in versions))
        return found

    def resolve(self, reference: str) -> InstalledVersion:
        """The version that ``reference`` means now.

        Raises:
            AdapterSetNotFound: No such set; the message names what comes close and what there is.
            AdapterSetMismatch: None of its versions fits the backbone.
            WeightsCorrupted: None of its versions is whole.
        """
        found = self.named(reference)
        version = self._serving(found)
        if version is None:
            problem = found[0].problem
            assert problem is not None  # or it would serve
            raise problem.kind(f"{found[0].reference} cannot be used: {found[0].public_problem}")
        return version

    def meant(self, reference: str) -> InstalledVersion:
        """As ``resolve``, but the best of them where none can serve; raises AdapterSetNotFound."""
        found = self.named(reference)
        return self._serving(found) or found[0]

    def default_problem(self) -> str | None:
        """Why the default cannot serve, with the names of what could be it; None where it can, or is not installed."""
        versions = self.versions_of(self.default)
        if not versions or self._serving(versions) is not None:
            return None
        serving = sorted(name for name, each in self._by_name.items() if self._serving(each) is not None)
        others = ", ".join(serving[:_NAMES_SHOWN]) or "none yet"
        return (
            f"the default adapter set cannot serve: {versions[0].public_problem}; sets that can, for "
            f"ADAVAE_DEFAULT_ADAPTER: {others}"
        )

    def names_with_labels(self) -> list[str]:
        """Names whose current version can classify."""
        serving = [self._serving(versions) for versions in self._by_name.values()]
        return sorted(each.name for each in serving if each and each.manifest and each.manifest.config.labels)

    def states(self) -> list[AdapterState]:
        """Every version, by name, the best first."""
        return [state for name in sorted(self._by_name) for state in self.states_of(_each_once(self._by_name[name]))]

    def states_of(self, versions: Sequence[InstalledVersion]) -> list[AdapterState]:
        """These versions, as GET /adapters shows them."""
        default = self._serving(self.versions_of(self.default))
        current = {each.name: self._serving(self.versions_of(each.name)) for each in versions}
        return [
            self._state(each, is_default=each is default, is_current=each is current[each.name]) for each in versions
        ]

    def _serving(self, versions: Sequence[InstalledVersion]) -> InstalledVersion | None:
        """The best one that is whole; where none is, one that was loaded before its files were damaged."""
        whole = next((each for each in versions if each.problem is None), None)
        return whole or next((each for each in versions if self._is_loaded(each.digest)), None)

    def _state(self, version: InstalledVersion, *, is_default: bool, is_current: bool) -> AdapterState:
        manifest = version.manifest
        preset = manifest.training.get("preset") if manifest else None
        return AdapterState(
            name=version.name,
            version=version.version,
            latent_size=manifest.config.latent_size if manifest else None,
            labels=tuple(manifest.config.labels) if manifest else (),
            kind=preset if isinstance(preset, str) else None,
            metrics=_numbers(manifest.metrics) if manifest else {},
            backbone_digest=manifest.backbone_digest if manifest else None,
            created_at=manifest.created_at if manifest else None,
            is_bundled=version.is_bundled,
            is_default=is_default,
            is_current=is_current,
            is_loaded=self._is_loaded(version.digest),
            problem=version.public_problem,
        )


def _each_once(versions: Sequence[InstalledVersion]) -> list[InstalledVersion]:
    """Of a bundled version and its copy among the trained ones the copy, unless only the bundled one is whole."""
    once: dict[str, InstalledVersion] = {}
    for version in versions:
        other = once.get(version.version)
        if other is None or (other.problem and not version.problem):
            once[version.version] = version
    return list(once.values())


def _numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """The figures among a manifest's metrics; notes and nested ones are left out."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
